"""The real worker with several processes, as the app launches it, against one process.

    python tests/benchmarks/worker_processes.py exact|kill|speed [--shape tiny|135M|1.7B] [--methods galore adamw lora]
                                                [--processes 2] [--set '{}'] [--out processes.json]

One process a GPU over NCCL where there are GPUs, else over gloo. Weights are random, records have about 200 tokens.

- exact: fp32, eight steps of the same global batch in one process (by accumulation) and in several, all at once; the largest
  difference of their weights (the bar is 1e-5).
- kill: the last process of several is killed after its first checkpoint; how the run ends, how soon, and what is left of it;
  then it is resumed, and its weights are compared with those of a run that nobody touched.
- speed: auto precision, batch 8 a process; the mean step between evaluations, bytes of memory predicted and measured on
  the first GPU, one process after several.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]


class Bench:
    """A home with a data set and a model."""

    def __init__(self, folder: Path, args):
        import memory_estimate_check

        from llmdemo import data
        from llmdemo.core.store import Home
        from llmdemo.settings import Settings

        self.home, self.model, self.args = Home(folder / "home").prepare(), folder / args.shape, args
        source = memory_estimate_check.make_data(folder, 256)
        self.dataset = data.add_dataset(self.home, Settings(home=self.home.root), source, "records").dataset_id
        memory_estimate_check.make_model(self.model, args.shape)

    def start(self, **changes) -> tuple[Path, subprocess.Popen]:
        """(the run's folder, its launcher), under way."""
        from llmdemo.core.store import new_id, write_json
        from llmdemo.training import TrainConfig

        values = {"dataset_id": self.dataset, "model_id": str(self.model), "max_length": 256, "eval_records": 8}
        if self.args.shape == "tiny":
            values["rank"] = 16  # its matrices have 64 rows
        config = TrainConfig.from_dict(values | changes | json.loads(self.args.set)).to_dict()
        run = self.home.runs / new_id("run")
        run.mkdir()
        write_json(run / "config.json", config)
        return run, self.launch(run)

    def launch(self, run: Path) -> subprocess.Popen:
        from llmdemo.core.store import read_json
        from llmdemo.runs.command import worker_command, worker_environment

        config = read_json(run / "config.json")
        with open(run / "log.txt", "ab") as log:
            return subprocess.Popen(
                worker_command(run, config), env=worker_environment(self.home.root, config), cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip


def events(run: Path) -> list[dict]:
    from llmdemo.core.events import read_events

    path = run / "events.jsonl"
    return read_events(path, 0)[0] if path.exists() else []


def weights(run: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(sorted((run / "checkpoints").iterdir())[-1] / "weights.safetensors")


def distance(first: dict, second: dict) -> float:
    return max((first[name].float() - second[name].float()).abs().max().item() for name in first)


def done(run: Path, process: subprocess.Popen) -> None:
    if process.wait(timeout=280):
        raise RuntimeError(f"{events(run)[-1:]} {(run / 'log.txt').read_text()[-3000:]}")


def method_values(method: str) -> dict:
    return {"method": method} | ({"rank": 16} if method == "lora" else {})


def exact(bench: Bench, args) -> list[dict]:
    same = {
        "precision": "fp32",
        "max_steps": 8,
        "eval_steps": 0,
        "update_proj_gap": 4,
        "refresh": "svd",
        "best_by": "last",
    }
    runs = {}
    for method in args.methods:
        values = same | method_values(method)
        runs[method] = (
            bench.start(**values, batch_size=4, gradient_accumulation_steps=args.processes),
            bench.start(**values, batch_size=4, num_processes=args.processes),
        )
    rows = []
    for method, pair in runs.items():
        for run, process in pair:
            done(run, process)
        one, several = (weights(run) for run, _ in pair)
        losses = [[e["loss"] for e in events(run) if e["type"] == "step"] for run, _ in pair]
        notes = [e["message"] for e in events(pair[1][0]) if e["type"] == "note"]
        rows.append({"what": "exact", "method": method, "distance": distance(one, several),
                     "losses": max(abs(a - b) for a, b in zip(*losses, strict=True)), "notes": notes})  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def kill(bench: Bench, args) -> list[dict]:
    same = {"precision": "fp32", "max_steps": 200, "eval_steps": 0, "batch_size": 2, "num_processes": args.processes,
            "checkpoint_seconds": 1, "method": args.methods[0], "update_proj_gap": 4, "best_by": "last"}  # fmt: skip
    whole = bench.start(**same)
    done(*whole)
    run, launcher = bench.start(**same)
    while not any(e["type"] == "checkpoint" for e in events(run)):
        time.sleep(0.02)
        assert launcher.poll() is None, (run / "log.txt").read_text()[-2000:]
    family = psutil.Process(launcher.pid).children(recursive=True)
    workers = [p for p in family if p.status() != "zombie" and p.environ().get("RANK")]
    victim = next(p for p in workers if p.environ()["RANK"] == str(args.processes - 1))
    os.kill(victim.pid, signal.SIGKILL)
    began = time.time()
    status = launcher.wait(timeout=200)
    row = {"what": "kill", "status": status, "seconds_to_end": round(time.time() - began, 1),
           "left_over": sum(p.is_running() and p.status() != "zombie" for p in family),
           "step": [e["step"] for e in events(run) if e["type"] == "step"][-1]}  # fmt: skip
    done(run, bench.launch(run))
    row["resumed_from"] = [e["step"] for e in events(run) if e["type"] == "start"][-1]
    row["distance"] = distance(weights(whole[0]), weights(run))
    print(json.dumps(row), flush=True)
    return [row]


def speed(bench: Bench, args) -> list[dict]:
    from worker_gpu import _figures

    rows = []
    for method in args.methods:
        for count in (1, args.processes):
            began = time.time()
            run, process = bench.start(**method_values(method), batch_size=8, max_steps=args.steps, num_processes=count)
            done(run, process)
            found = _figures(events(run), began, time.time() - began)
            rows.append({"what": "speed", "method": method, "processes": count} | found)
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("exact", "kill", "speed"))
    parser.add_argument("--shape", default="135M")
    parser.add_argument("--methods", nargs="+", default=["galore", "adamw", "lora"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--set", default="{}", help="changes of the config, as JSON")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = {"exact": exact, "kill": kill, "speed": speed}[args.what](Bench(Path(name), args), args)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
