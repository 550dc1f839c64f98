"""A run on the CPU as users get it, the worker as launched: tokens/s of its steps, and the seconds of what surrounds them.

    python tests/benchmarks/worker_cpu.py --data instruction-data.json --model FOLDER [--beside CHECKOUT]
                                          [--methods galore adamw lora] [--set '{"max_steps": 6}'] [--rounds 2]

With --beside, the same by another checkout of the project, in turns with this one; a process each, imports included. All is
the page's default but for the method and what --set changes. Tokens/s are those of the later half of the steps. "end" is
what follows the last evaluation: the checkpoint, and the model with its roundings judged.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]


def child(args) -> dict:
    """Figures of one run of `args.methods[0]` by the checkout in the working folder."""
    from run_start import events_of, new_run  # puts its own checkout first

    sys.path.insert(0, os.getcwd())
    from llmdemo.core.store import Home
    from llmdemo.data import add_dataset
    from llmdemo.settings import Settings

    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name)).prepare()
        dataset = add_dataset(home, Settings(home=home.root), args.data, "records").dataset_id
        values = {"dataset_id": dataset, "model_id": str(args.model), "method": args.methods[0]} | json.loads(args.set)
        run, argv, env = new_run(home.root, values)
        began = time.time()
        with (run / "log.txt").open("w") as log:
            status = subprocess.call(argv, stdout=log, stderr=log, env=env)
        ended = time.time()
        events = events_of(run, status)
    return figures(events, began, ended)


def figures(events: list[dict], began: float, ended: float) -> dict:
    steps, breaks = [e for e in events if e["type"] == "step"], [e["t"] for e in events if e["type"] == "phase"]
    pairs = [
        (b["tokens"] - a["tokens"], b["t"] - a["t"])
        for a, b in itertools.pairwise(steps)
        if not any(a["t"] < at <= b["t"] for at in breaks)
    ]
    tokens, seconds = (sum(each) for each in zip(*pairs[len(pairs) // 2 :], strict=True))
    saving = [e["t"] for e in events if e["type"] == "phase" and e.get("phase") == "saving"]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "tokens_per_second": tokens / seconds,
        "first_step": steps[0]["t"] - began,
        "end": ended - saving[-1],
        "seconds": ended - began,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_GB": max(e.get("peak_memory_bytes", 0) for e in steps) / 1e9,
        "precision": [e["precision"] for e in events if e["type"] == "start"][-1],
        "loss": steps[-1]["loss"],
        "written": [{k: e.get(k) for k in ("dtype", "rounding", "loss")} for e in events if e["type"] == "published"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder of a causal model")
    parser.add_argument("--beside", type=Path, help="another checkout of the project")
    parser.add_argument(
        "--methods", nargs="+", choices=("galore", "adamw", "lora"), default=["galore", "adamw", "lora"]
    )
    parser.add_argument("--set", default='{"max_steps": 6}', help="changes of the run's settings, as JSON")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.data, args.model = args.data.resolve(), args.model.resolve()
    if args.child:
        print(json.dumps(child(args)))
        return
    trees = {"here": HERE} | ({"beside": args.beside.resolve()} if args.beside else {})
    found: dict[tuple, list[dict]] = {}
    for _, method, (name, tree) in itertools.product(range(args.rounds), args.methods, trees.items()):
        command = [sys.executable, str(Path(__file__).resolve()), "--child", "--methods", method, "--set", args.set]
        command += ["--data", str(args.data), "--model", str(args.model)]
        done = subprocess.run(
            command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        found.setdefault((method, name), []).append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(method, name, f"load {os.getloadavg()[0]:.1f}", found[method, name][-1], flush=True)
    for (method, name), runs in found.items():
        keys = ("tokens_per_second", "first_step", "end", "seconds", "cpu")
        print(f"{method:8}{name:8}", *(f"{key} {statistics.median(run[key] for run in runs):.1f}" for key in keys))


if __name__ == "__main__":
    main()
