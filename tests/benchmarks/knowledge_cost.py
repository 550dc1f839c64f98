"""What a probe's questions take of a run: `python tests/benchmarks/knowledge_cost.py --model FOLDER`.

The real worker, run after run in turns: without questions; with those of a probe, before the first step and after the last;
without them for a third of the steps. The second less the first is what the questions take, the first less the third what the
steps do. CPU seconds of the worker's process. The probe's folder is written here, its records' classes by turns, as an answer
takes what it takes in any class. Printed beside it: what the form foretells (prepare.predict), in the same tokens learned.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llmdemo import prepare
from llmdemo.core.events import EventWriter, read_events
from llmdemo.core.store import Home, write_json
from llmdemo.data import DatasetInfo, add_dataset, get_dataset
from llmdemo.knowledge.classes import CLASSES, counted
from llmdemo.knowledge.found import RECORDS, RESULT
from llmdemo.models import catalog
from llmdemo.models.load import load_tokenizer
from llmdemo.runs.command import worker_environment
from llmdemo.settings import Settings
from tests.benchmarks.knowledge_planted import mixed

PROBE = "probe-20260101-000000-abcdef"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--method", default="adamw", help="GaLore's first steps find subspaces, which is not a token's")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).prepare()
        info = facts(home, args.model)
        probe(home, info, args.model)
        values = {"dataset_id": info.dataset_id, "model_id": str(args.model), "eval_steps": 0, "eval_share": 0.33}
        values |= {"best_by": "last", "split_version": 2, "max_steps": args.steps, "method": args.method}
        kinds = {
            "without": {"probe_id": "none"},
            "with": {},
            "short": {"probe_id": "none", "max_steps": args.steps // 3},
        }
        took: dict[str, list[float]] = {kind: [] for kind in kinds}
        questions = 0
        for turn in range(args.rounds):
            for kind, own in kinds.items():
                seconds, asked = cpu_seconds(home, f"run-{turn}-{kind}", values | own)
                took[kind].append(seconds)
                questions = max(questions, asked)
                print(f"{kind:8} {seconds:6.1f} s of CPU, {asked} questions at each evaluation", flush=True)
        without, asks, short = (statistics.median(took[kind]) for kind in kinds)
        plain = prepare.predict(home, values | kinds["without"])["work"]
        told = prepare.predict(home, values)
        token = (without - short) / (plain.step_tokens * (args.steps - args.steps // 3))
        found, foretold = (asks - without) / token, told["work"].tokens - plain.tokens
        print(f"a token learned {1000 * token:.1f} ms of CPU; the questions {asks - without:.1f} s")
        each = f"{found / 2 / questions:.0f} a question, foretold {foretold / 2 / told['asked']:.0f}"
        print(f"in tokens learned: {found:.0f}, foretold {foretold:.0f}; {each}")


def facts(home: Home, model: Path) -> DatasetInfo:
    rows = [{"instruction": f"What is the capital of {land}?", "output": town} for land, town in mixed()]
    (home.tmp / "facts.json").write_text(json.dumps(rows), encoding="utf-8")
    tokenizer = load_tokenizer(catalog.resolve(home, str(model)))
    added = add_dataset(home, Settings(home=home.root), home.tmp / "facts.json", "facts", tokenizer=tokenizer)
    return get_dataset(home, added.dataset_id)


def probe(home: Home, info: DatasetInfo, model: Path) -> None:
    """A finished probe of these records, as the probe's worker leaves it."""
    folder = home.root / "probes" / PROBE
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"spec": {"dataset_id": info.dataset_id, "model_id": str(model)}})
    found = [
        {"index": n, "class": CLASSES[n % len(CLASSES)], "greedy": [], "sampled": 0, "drawn": 0, "answer": ""}
        for n in range(info.kept)
    ]
    writer = EventWriter(folder / RECORDS)
    for line in found:
        writer.write("record", **line)
    told = {"content_hash": info.content_hash, "asked": len(found), "records": len(found), "counts": counted(found)}
    write_json(folder / RESULT, told)


def cpu_seconds(home: Home, name: str, values: dict) -> tuple[float, int]:
    """(CPU seconds of the worker's process, questions at an evaluation) of a run with these settings."""
    shutil.rmtree(home.root / "untouched", ignore_errors=True)  # else the first evaluation is another run's
    folder = home.runs / name
    folder.mkdir()
    write_json(folder / "config.json", values)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "llmdemo.training.worker", str(folder)]
    subprocess.run(command, env=worker_environment(home.root, values), check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    asked = [len(each["records"]) for each in read_events(folder / "events.jsonl")[0] if each["type"] == "asked"]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, sum(asked)


if __name__ == "__main__":
    main()
