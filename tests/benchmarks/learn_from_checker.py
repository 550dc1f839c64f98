"""Learning from a checker on the sample data set: held-out exact match before and after, without one right answer in the loss.

    python tests/benchmarks/learn_from_checker.py --home FOLDER [--supervised 20] [--set policy_loss=rejection] [--seconds 280]

The settings that came to 92 % are in README.md beside this file.

A few supervised steps teach the form of an answer; from there a run of the task grpo draws answers to the training prompts,
and the checker says which are right. --seconds stops after that time; the same command again goes on from there. What is
printed are the run's own held-out figures: greedy answers to the first --held records, letter for letter the right one.
"""

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def main() -> int:
    args = arguments()
    home, sample = opened(args.home)
    started, until = time.time(), time.monotonic() + args.seconds
    first = folder_of(home, "supervised", {"max_steps": args.supervised, "eval_steps": 0}, sample, "starter")
    done = ran(first, until)
    second = folder_of(home, args.name, settings(args), sample, first.name)
    done = done and ran(second, until)
    show(second, started)
    return 0 if done else 3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="home folder, which keeps both runs")
    parser.add_argument("--supervised", type=int, default=20, help="steps of the supervised run before")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the run")
    parser.add_argument("--held", type=int, default=104, help="held-out records that are answered")
    parser.add_argument("--name", default="checker", help="which run of the home folder: another name is another run")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after that long, and go on by the next call")
    return parser.parse_args()


def opened(folder: Path) -> tuple:
    """(the home folder with the starter, the id of the sample there)."""
    from llmdemo.core.store import Home
    from llmdemo.data import add_dataset, list_datasets
    from llmdemo.models.starter import fetch_starter
    from llmdemo.settings import Settings

    home = Home(folder.resolve()).prepare()
    fetch_starter(home)
    path = ROOT / "assets" / "sample-messages.json"
    known = list_datasets(home)
    return home, (known[0] if known else add_dataset(home, Settings.from_env(), path, "sample")).dataset_id


def values_of(given: list[str]) -> dict:
    """Settings from KEY=VALUE: numbers, true and false as JSON, all else as text."""
    found: dict = dict(each.partition("=")[::2] for each in given)
    for key, value in found.items():
        with contextlib.suppress(ValueError):
            found[key] = json.loads(value)
    return found


def settings(args) -> dict:
    values = values_of(args.set)
    own = {
        "task": "grpo",
        "reward": "exact",
        "held_out_check": "exact",
        "eval_records": args.held,
        "max_new_tokens": 64,
    }
    return own | values


def folder_of(home, name: str, config: dict, dataset_id: str, model_id: str) -> Path:
    """The run's folder, made at the first call."""
    from llmdemo.core import store

    folder = home.runs / f"run-{name}"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        store.write_json(folder / "config.json", {"dataset_id": dataset_id, "model_id": model_id, **config})
    return folder


def ran(folder: Path, until: float) -> bool:
    """Whether the run is done; goes on with it until then."""
    from llmdemo.training import worker

    if (folder / "model").is_dir():
        return True
    stop = folder / "stop"
    stop.unlink(missing_ok=True)
    timer = threading.Timer(max(1.0, until - time.monotonic()), stop.touch)
    timer.daemon = True
    timer.start()
    worker.main(folder)
    timer.cancel()
    return (folder / "model").is_dir()


def show(folder: Path, started: float) -> None:
    from llmdemo.core.events import read_events

    events = read_events(folder / "events.jsonl")[0] if (folder / "events.jsonl").is_file() else []
    for event in events:
        if event["type"] in ("step", "eval", "note", "end"):
            values = {key: value for key, value in event.items() if key not in ("type", "t", "memory_bytes", "tokens")}
            print(event["type"], values)
    steps = [event for event in events if event["type"] == "step" and event["t"] >= started]
    if len(steps) > 1:
        seconds = (steps[-1]["t"] - steps[0]["t"]) / (len(steps) - 1)
        print(f"{seconds:.1f} s a step, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")


if __name__ == "__main__":
    sys.exit(main())
