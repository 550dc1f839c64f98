"""What a probe's questions take of a run: `python tests/benchmarks/knowledge_cost.py --model FOLDER`.

One run of the worker in this process, on facts of two lines, which asks a probe's questions again at each evaluation: CPU
seconds of the questions and of the steps between them, by time.process_time. The probe's folder is written here, its
records' classes by turns, as an answer takes what it takes in any class. Printed beside it: what the form foretells
(prepare.predict), in the same tokens learned.
"""

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
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
from llmdemo.settings import Settings
from llmdemo.training import worker as run_worker
from llmdemo.training.loop import Loop
from llmdemo.training.objectives.known import Known
from tests.benchmarks.knowledge_planted import mixed

PROBE = "probe-20260101-000000-abcdef"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--every", type=int, default=4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).prepare()
        info = facts(home, args.model)
        probe(home, info, args.model)
        values = {"dataset_id": info.dataset_id, "model_id": str(args.model), "eval_share": 0.33, "method": "adamw"}
        values |= {"best_by": "last", "split_version": 2, "max_steps": args.steps, "eval_steps": args.every}
        asking, stepping = timed(Known, "observed"), timed(Loop, "_step")
        run = home.runs / "run-1"
        run.mkdir()
        write_json(run / "config.json", values)
        assert run_worker.main(run) == 0
        events = read_events(run / "events.jsonl")[0]
        questions = next(len(each["records"]) for each in events if each["type"] == "asked")
        tokens = [each["tokens"] for each in events if each["type"] == "step"]
        token = sum(stepping[1:]) / (tokens[-1] - tokens[0])
        found = [seconds / questions / token for seconds in asking]
        told = prepare.predict(home, values)
        plain = prepare.predict(home, values | {"probe_id": "none"})
        foretold = (told["work"].tokens - plain["work"].tokens) / told["asked"] / len(asking)
        print(
            f"{questions} questions: {', '.join(f'{each:.1f}' for each in asking)} s of CPU; a step's "
            f"{', '.join(f'{each:.1f}' for each in stepping)}, {1000 * token:.1f} ms a token"
        )
        print(f"a question in tokens learned: {', '.join(f'{each:.0f}' for each in found)}; foretold {foretold:.0f}")


def timed(owner: type, name: str) -> list[float]:
    """CPU seconds of each call of this method from now on; what a generator yields is made at once."""
    plain, took = getattr(owner, name), []

    @functools.wraps(plain)
    def measured(*given):
        began = time.process_time()
        found = plain(*given)
        found = list(found) if isinstance(found, Iterator) else found
        took.append(time.process_time() - began)
        return iter(found) if isinstance(found, list) else found

    setattr(owner, name, measured)
    return took


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


if __name__ == "__main__":
    main()
