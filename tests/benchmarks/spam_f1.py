"""A classifier with the default settings, from the file to F1 on a held-out fifth, beside what scikit-learn makes of it.

    python tests/benchmarks/spam_f1.py --data sms-spam.tsv [--model FOLDER] [--set '{"method": "adamw"}'] [--out f1.json]
                                       [--folds 5]

The run is the app's own: the settings of prepare.defaults, a worker started through accelerate, its model loaded again
from its folder. "wall" is from the worker's start to its end: loading, evaluations and saving included. scikit-learn's
TF-IDF with logistic regression and Naive Bayes (llmdemo/evaluation/baselines.py) train and answer on the same split.
Without --model: the starter model. --folds: K-fold cross-validation instead, as the page queues it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np

from llmdemo import prepare
from llmdemo.core import store
from llmdemo.core.events import read_events
from llmdemo.core.store import Home
from llmdemo.data.ingest import add_dataset
from llmdemo.data.labels import merge_labels
from llmdemo.data.records import open_records
from llmdemo.data.split import split
from llmdemo.evaluation.baselines import fit_and_predict
from llmdemo.models import catalog
from llmdemo.runs.command import worker_command, worker_environment
from llmdemo.settings import Settings
from llmdemo.training.objectives.classify import class_figures


def train(home: Home, config: dict) -> tuple[Path, float]:
    """(the run's folder, seconds from the worker's start to its end)."""
    run_dir = home.runs / store.new_id("run")
    run_dir.mkdir()
    store.write_json(run_dir / "config.json", config)
    started = time.perf_counter()
    with open(run_dir / "log.txt", "wb") as log:
        command, environment = worker_command(run_dir, config), worker_environment(home.root, config)
        status = subprocess.run(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL).returncode
    if status:
        sys.exit((run_dir / "log.txt").read_text()[-3000:])
    return run_dir, time.perf_counter() - started


def probabilities(entry, texts: list[str], max_length: int) -> tuple[np.ndarray, list[str]]:
    """([texts, classes], names of the classes) of the finished model, as anybody would load it."""
    import torch

    from llmdemo.models.load import load_classifier

    model, tokenizer = load_classifier(entry, device="cpu")
    found = np.zeros((len(texts), model.config.num_labels))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        batch = tokenizer(
            [texts[i] for i in part], return_tensors="pt", padding=True, truncation=True, max_length=max_length
        )
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        found[part] = logits.softmax(-1).numpy()
    return found, [model.config.id2label[i] for i in range(found.shape[1])]


def cross_validated(home: Home, settings: Settings, values: dict, folds: int) -> dict:
    """{who: {figure: {"mean", "sd", "values"}}} of the app's own cross-validation."""
    from llmdemo.evaluation import Evaluations
    from llmdemo.evaluation.folds import start_folds
    from llmdemo.jobs import Jobs
    from llmdemo.runs import Runs

    with Runs(Jobs(home, settings)) as runs:
        evaluations = Evaluations(runs.jobs, runs)
        evaluation_id = start_folds(home, runs, evaluations, values, folds)
        while (status := evaluations.status(evaluation_id))["state"] in ("queued", "running"):
            time.sleep(5)
    if status["state"] != "completed":
        sys.exit(f"{status['state']}: {status['message']}")
    return evaluations.result(evaluation_id)["spread"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--set", default="{}", help="JSON of settings other than the defaults")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folds", type=int, default=0)
    args = parser.parse_args()
    if args.model is None:
        from llmdemo.models.starter import fetch_starter

        args.model = fetch_starter(Home(Settings.from_env().home).prepare())
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).prepare()
        settings = Settings(home=home.root, min_free_bytes=0)
        info = add_dataset(home, settings, args.data, "messages", task="classify")
        values = {"dataset_id": info.dataset_id, "model_id": str(args.model), **json.loads(args.set)}
        if args.folds:
            for who, figures in cross_validated(home, settings, values, args.folds).items():
                for name, found in figures.items():
                    each = " ".join(f"{value:.4f}" for value in found["values"])
                    print(f"{who:10} {name:12} {found['mean']:.4f} ± {found['sd']:.4f}  ({each})", flush=True)
            return
        config = prepare.checked(home, values)[0]
        run_dir, seconds = train(home, config.to_dict())
        records = open_records(home, info.dataset_id)
        classes = merge_labels(records.labels())
        texts = [record["text"] for record in records]
        numbers = np.array([classes.index[label] for label in records.labels()])
        inside, outside = split(records, config.seed, config.eval_share)
        asked, truth = [texts[i] for i in outside], numbers[outside]
        positive = int(np.argmin(np.bincount(numbers[inside])))
        found, names = probabilities(catalog.resolve(home, run_dir.name), asked, config.max_length)
        if names != classes.names:
            sys.exit(f"The model's classes are {names}.")
        rows = {
            f"{config.method}, {config.max_steps} steps": {**class_figures(found, truth, positive), "wall": seconds}
        }
        for name in ("logistic", "bayes"):
            found, spent = fit_and_predict(name, [texts[i] for i in inside], numbers[inside], asked, len(classes.names))
            rows[f"scikit-learn {name}"] = {**class_figures(found, truth, positive), "wall": spent}
        events = read_events(run_dir / "events.jsonl")[0]
    print(f"{len(outside):,} held out of {len(texts):,}; f1 is of {classes.names[positive]!r}")
    for name, row in rows.items():
        print(f"{name:28}" + "  ".join(f"{key} {value:.4f}" for key, value in row.items()))
    if args.out:
        steps = [event for event in events if event["type"] in ("step", "eval")]
        args.out.write_text(json.dumps({"config": config.to_dict(), "rows": rows, "events": steps}, indent=1))


if __name__ == "__main__":
    main()
