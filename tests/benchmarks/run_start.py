"""From Start to a run's first step: seconds, and the CPU seconds of all its processes, phase by phase.

    python tests/benchmarks/run_start.py --data instruction-data.json [--model FOLDER | --shape 135M] [--ways cold waiting]

"cold": the worker is started as the app does it without a spare one; "waiting": it was started before and has its imports
done (jobs/spare.py), as when somebody has filled in the Train form. The run is the page's default but for its data. CPU
seconds tell a slow start from a busy machine; those of the imports that a waiting worker did before are shown apart.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

SHOWN = ("phase", "start", "dry_step", "eval", "step", "end")


class Tree:
    """CPU seconds and memory of a process and all below it."""

    def __init__(self, pid: int):
        self._root = psutil.Process(pid)
        self._seen: dict[int, float] = {}

    def cpu(self) -> float:
        for each in self._all():
            try:
                self._seen[each.pid] = sum(each.cpu_times()[:2])
            except psutil.Error:
                continue
        return sum(self._seen.values())

    def own_megabytes(self) -> list[int]:
        return [round(each.memory_full_info().uss / 1e6) for each in self._all()]

    def _all(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []


def made_ready(spare, argv: list[str], env: dict[str, str]) -> Tree:
    """Lets `spare` have a worker that waits; its processes, once their imports are done and nothing computes."""
    assert spare.get_ready(argv[:-1], env, 600)
    tree, before = Tree(spare._child.pid), 0.0
    while (now := tree.cpu()) - before > 0.02 or now < 1:
        before = now
        time.sleep(2)
    return tree


def new_run(root: Path, values: dict) -> tuple[Path, list[str], dict[str, str]]:
    """(a run's folder in this home, its worker's command, that one's environment), by the checkout that is imported."""
    from llmdemo.core.store import Home, new_id, write_json
    from llmdemo.runs.command import worker_command, worker_environment
    from llmdemo.training import TrainConfig

    run = Home(root).runs / new_id("run")
    run.mkdir()
    config = TrainConfig.from_dict(values).to_dict()
    write_json(run / "config.json", config)
    return run, worker_command(run, config), worker_environment(root, config)


def events_of(run: Path, status: int) -> list[dict]:
    """The events of a worker that has ended. Raises RuntimeError, with the end of its log, where that was no success."""
    from llmdemo.core.events import read_events

    events = read_events(run / "events.jsonl", 0)[0]
    if status:
        raise RuntimeError(f"{events[-1:]} {(run / 'log.txt').read_text()[-1500:]}")
    return events


def start(home, values: dict, waiting: bool) -> dict:
    from llmdemo.core.events import read_events
    from llmdemo.jobs import process
    from llmdemo.jobs.spare import Spare

    run, argv, env = new_run(home.root, values)
    spare = Spare()
    found: dict = {"way": "waiting" if waiting else "cold"}
    before = 0.0
    if waiting:
        tree = made_ready(spare, argv, env)
        before = tree.cpu()
        found |= {"cpu_before": round(before, 2), "own_megabytes_while_waiting": tree.own_megabytes()}
    token, began = "0" * 32, time.time()
    pid, identity = spare.launch(argv, run, env, run / "log.txt", token)
    tree, told, marks = Tree(pid), 0, []
    while not any(mark[0] in ("step", "end") for mark in marks):
        cpu = tree.cpu() - before
        events = read_events(run / "events.jsonl", 0)[0] if (run / "events.jsonl").exists() else []
        for event in events[told:]:
            if event["type"] in SHOWN:
                what = event.get("phase", "") if event["type"] == "phase" else ""
                marks.append((event["type"], what, round(event["t"] - began, 1), round(cpu, 1)))
        told = len(events)
        assert process.is_alive(pid, identity) or marks, (run / "log.txt").read_text()[-2000:]
        time.sleep(0.05)
    process.send(process.group(pid, identity, token), 9)
    return found | {"marks": marks, "seconds": marks[-1][2], "cpu": marks[-1][3]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "assets" / "sample-messages.json")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--shape", help="a model of this shape with random weights instead (memory_estimate_check.py)")
    parser.add_argument("--ways", nargs="+", choices=("cold", "waiting"), default=["cold", "waiting"])
    parser.add_argument("--set", default="{}", help="changes of the run's settings, as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        from memory_estimate_check import make_data, make_model

        from llmdemo.core.store import Home
        from llmdemo.data import add_dataset
        from llmdemo.settings import Settings

        home, model, data = Home(Path(name) / "home").prepare(), args.model, args.data
        if args.shape:
            model, data = str(Path(name) / args.shape), make_data(Path(name), 256)
            make_model(Path(model), args.shape)
        dataset = add_dataset(home, Settings(home=home.root), data, "records").dataset_id
        values = {"dataset_id": dataset, "model_id": model} | json.loads(args.set)
        for way in args.ways:
            found = start(home, values, way == "waiting")
            for mark in found.pop("marks"):
                print(f"   {mark[0]:9} {mark[1]:12} {mark[2]:7.1f} s {mark[3]:7.1f} CPU s")
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
