"""What selections do to held-out loss: `python tests/benchmarks/selection_figures.py --data FILE --model FOLDER`.

Of one data set as many records are selected in each way (llmdemo/selection), the model is trained on each selection with the same
settings and the same number of steps, and judged on the same records, none of which any selection could take. Told of each:
mean held-out loss a record after, and its difference from the mean of the random selections with a 95 % bootstrap interval over
the held-out records. That is the scatter of records; how much a draw of the selection itself moves it, the random ones show.
Each is told as soon as it is known.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from llmdemo.core.store import Home, write_json
from llmdemo.data import add_dataset, open_records, split
from llmdemo.evaluation.answers import loaded
from llmdemo.jobs import JobFolder, Jobs
from llmdemo.maps.losses import scores
from llmdemo.maps.service import Maps
from llmdemo.maps.worker import work as make_map
from llmdemo.models import catalog
from llmdemo.models.load import best_device, usable_pad, usual_dtype
from llmdemo.selection import Selection
from llmdemo.settings import Settings
from llmdemo.training import worker

RECIPES = {
    "random, seed 7": {"method": "random"},
    "random, another draw": {"method": "chosen"},
    "length, longest": {"method": "length"},
    "length, middle": {"method": "length", "order": "middle"},
    "perplexity, middle": {"method": "perplexity", "order": "middle"},
    "IFD, highest": {"method": "ifd"},
    "k-centre": {"method": "k_center"},
    "clusters": {"method": "clusters"},
    "LIMA-like": {"method": "lima"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="JSON: a list of records")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=600, help="of the file, from its beginning")
    parser.add_argument("--number", type=int, default=160)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--judged", type=int, default=96)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Home(Path(folder)).prepare())


def measure(args, home: Home) -> None:
    settings = Settings(home=home.root)
    pool = home.tmp / "pool.json"
    write_json(pool, json.loads(args.data.read_text(encoding="utf-8"))[: args.rows])
    info = add_dataset(home, settings, pool, "pool")
    records = open_records(home, info.dataset_id)
    judged = [records[int(n)] for n in split(records, 7, 0.1)[1][: args.judged]]
    mapped(home, info.dataset_id, args.model)
    selection = Selection(home, Maps(Jobs(home, settings)))
    losses = {"before": heldout(home, str(args.model), judged)}
    print(f"{info.kept:,} records, {len(judged)} judged; before: {losses['before'].mean():.4f}", flush=True)
    train = split(records, 7, 0.1)[0]
    for name, recipe in RECIPES.items():
        recipe = {**recipe, "number": args.number}
        if recipe["method"] == "chosen":
            recipe["indices"] = np.random.default_rng(99).permutation(train)[: args.number].tolist()
        chosen = selection.select(info.dataset_id, recipe)
        began, used = time.perf_counter(), time.process_time()
        run = trained(home, chosen.dataset_id, args)
        losses[name] = heldout(home, str(run / "model"), judged)
        shutil.rmtree(run)  # weights and checkpoints of all would be tens of gigabytes
        seconds, used = time.perf_counter() - began, time.process_time() - used
        base = np.mean([losses[each] for each in losses if each.startswith("random")], axis=0)
        gaps = losses[name] - base
        low, high = interval(gaps)
        print(
            f"{name}: {losses[name].mean():.4f}, {gaps.mean():+.4f} against random [{low:+.4f}, {high:+.4f}] "
            f"({seconds:.0f} s, {used:.0f} s of CPU)",
            flush=True,
        )


def mapped(home: Home, dataset_id: str, model: Path) -> None:
    """A finished map with losses, which perplexity, IFD, k-centre and clusters read."""
    folder = JobFolder(home.root / "maps" / "map-20260101-000000-abcdef")
    folder.path.mkdir(parents=True)
    spec = {"dataset_id": dataset_id, "model_id": str(model), "losses": True}
    write_json(folder.path / "config.json", {"spec": spec, "map": {"id": folder.path.name, "name": "x", "created": ""}})
    began = time.perf_counter()
    assert make_map(folder, home) == 0
    print(f"map with losses: {time.perf_counter() - began:.0f} s", flush=True)


def trained(home: Home, dataset_id: str, args) -> Path:
    """The folder of a finished run with the app's defaults but for its steps, evaluated at its ends only."""
    folder = home.runs / f"run-{dataset_id.removeprefix('data-')}"
    folder.mkdir(parents=True)
    values = {"dataset_id": dataset_id, "model_id": str(args.model), "max_steps": args.steps, "eval_steps": 0}
    more = {"best_by": "last", "publish_dtype": "float32", "split_version": 2, "eval_records": 1, "probe_id": "none"}
    write_json(folder / "config.json", values | more)
    assert worker.main(folder) == 0
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the worker takes it for a stop of its run
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return folder


def heldout(home: Home, model_id: str, judged: list[dict]) -> np.ndarray:
    """[records] mean loss of each one's answer tokens."""
    entry = catalog.resolve(home, model_id)
    with loaded(entry, usual_dtype(entry, best_device())) as (model, tokenizer):
        return scores(model, tokenizer, judged, 512, usable_pad(model, tokenizer))[:, 0]


def interval(gaps: np.ndarray, draws: int = 2000) -> tuple[float, float]:
    """95 % of the mean, by drawing records with replacement."""
    generator = np.random.default_rng(0)
    means = gaps[generator.integers(0, len(gaps), (draws, len(gaps)))].mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


if __name__ == "__main__":
    main()
