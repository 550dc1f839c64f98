"""Two programs that train on the same cores at once: a step's time, with OpenMP's own waiting and with ours.

    python tests/benchmarks/train_beside.py --data instruction-data.json [--steps 4] [--limit 180] [--out beside.json]

Each trains the starter model (or --model FOLDER) as train_cpu.py's "ours galore" does. "alone" is one program, "beside"
are two; "default" has GOMP_SPINCOUNT unset as OpenMP has it (300,000), "ours" what llmdemo/__init__.py sets. A step's
time is the median; where a program has not ended after --limit seconds, that is said.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import llmdemo  # noqa: F401 - it sets what is measured

WAYS = {"default": "300000", "ours": os.environ["GOMP_SPINCOUNT"]}


def measure(args, programs: int, spins: str) -> float | None:
    """The median seconds of a step of `programs` programs that train at once; None if one took too long."""
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "train_cpu.py"), "--data", str(args.data)]
    command += ["--model", str(args.model), "--steps", str(args.steps), "--child", "ours galore"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GOMP_SPINCOUNT": spins}
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
        for _ in range(programs)
    ]
    try:
        printed = [program.communicate(timeout=args.limit)[0] for program in started]
    except subprocess.TimeoutExpired:
        return None
    finally:
        for program in started:
            program.kill()
    # The first step finds a quarter of the subspaces.
    return statistics.median(s for text in printed for s in json.loads(text.strip().splitlines()[-1])["seconds"][1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--limit", type=float, default=180)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.model is None:
        from llmdemo.core.store import Home
        from llmdemo.models.starter import fetch_starter
        from llmdemo.settings import Settings

        args.model = fetch_starter(Home(Settings.from_env().home).prepare())
    figures = {}
    for programs, name in ((1, "alone"), (2, "beside")):
        for way, spins in WAYS.items():
            seconds = figures[f"{name}, {way}"] = measure(args, programs, spins)
            shown = f"over {args.limit:.0f} s for {args.steps} steps" if seconds is None else f"{seconds:.2f} s a step"
            print(f"{name}, {way:8} {shown}", flush=True)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
