"""Pretraining a small Llama on a text at one token budget, by AdamW, GaLore and low-rank factors (W = BA), as the GaLore
paper's table 2 does in the large (arXiv 2403.03507): held-out perplexity against tokens, memory beside it, and what each
model writes.

    python tests/benchmarks/pretrain.py TEXT [--size 1M] [--steps 400] [--rank 32] [--set '{"batch_size": 8}'] [--methods …]

Each run is a process of its own, one after the other, or --together, where only what they learn is of interest: one GPU
has room for several small ones. They share one tokenizer, made before. TEXT may be packed (.gz). Beside the seconds stand
the CPU's, which other work on the machine changes less. After --seconds, runs are asked to stop, and tell how far they came.

Each method at rates of the paper's grid, at 60M and equal tokens, on one H200 (TEXT of about 40 MB, as debian_text.py
makes it; 9.8 million tokens a run, stopped after eight minutes at the latest):

    python tests/benchmarks/pretrain.py TEXT --size 60M --steps 600 --rank 128 --together --seconds 480 --methods \
        adamw:0.0005 adamw:0.001 adamw:0.0025 galore:0.005 galore:0.01 galore:0.02 factors:0.001 factors:0.0025 \
        --set '{"vocabulary_size": 32000, "batch_size": 64, "max_length": 256, "warmup_steps": 60, "eval_records": 128}'
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from llmdemo.core import store
from llmdemo.core.events import read_events
from llmdemo.data.ingest import add_dataset
from llmdemo.settings import Settings

METHODS = {
    "adamw": {"method": "adamw"},
    "galore": {"method": "galore"},
    "factors": {"method": "adamw"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--size", default="1M")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), help="of adamw, galore, factors; adamw:0.001: at a rate"
    )
    parser.add_argument("--set", type=json.loads, default={}, help="other settings of every run, as JSON")
    parser.add_argument("--home", type=Path, help="keep the runs here")
    parser.add_argument("--together", action="store_true", help="all runs at the same time")
    parser.add_argument("--seconds", type=float, default=1e9, help="after which runs are asked to stop")
    parser.add_argument("--eval-steps", type=int, default=0, help="steps between two points of the curve; 0: a quarter")
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        home = store.Home(arguments.home or Path(folder)).prepare()
        settings = Settings(home=home.root, min_free_bytes=0)
        dataset_id = add_dataset(home, settings, arguments.text, arguments.text.name).dataset_id
        common = {"dataset_id": dataset_id, "task": "pretrain", "model_size": arguments.size, **arguments.set}
        common |= {"max_steps": arguments.steps, "eval_steps": arguments.eval_steps or max(1, arguments.steps // 4)}
        end = time.monotonic() + arguments.seconds
        common["tokenizer_from"] = common.get("tokenizer_from") or tokenizer_of(home, common)
        configs = [common | config_of(name, arguments.rank) for name in arguments.methods]
        with ThreadPoolExecutor(len(configs) if arguments.together else 1) as pool:
            for name, found in zip(
                arguments.methods, pool.map(lambda each: run(home, each, end), configs), strict=True
            ):
                tell(name, *found)


def config_of(name: str, rank: int) -> dict:
    """What distinguishes a contender: its method and rank, and the rate behind a colon."""
    method, _, rate = name.partition(":")
    ranks = {"galore": {"rank": rank}, "factors": {"factor_rank": rank}}.get(method, {})
    return METHODS[method] | ranks | ({"learning_rate": float(rate)} if rate else {})


def tokenizer_of(home: store.Home, common: dict) -> str:
    """The folder of a tokenizer that was trained as these runs' would be."""
    before = set(home.runs.iterdir())
    run(home, common | {"model_size": "1M", "max_steps": 1, "batch_size": 1, "eval_records": 1, "eval_steps": 0})
    return str((set(home.runs.iterdir()) - before).pop() / "base")


def run(home: store.Home, config: dict, end: float = float("inf")) -> tuple[list[dict], float, float]:
    """(the run's events, seconds, the CPU's seconds); at `end`, a time.monotonic, it is asked to stop."""
    run_dir = home.runs / store.new_id("run")
    run_dir.mkdir()
    store.write_json(run_dir / "config.json", config)
    begun = time.monotonic()
    command = [sys.executable, "-m", "llmdemo.training.worker", str(run_dir)]
    with open(run_dir / "log.txt", "wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        overdue = threading.Timer(max(0.0, min(end - begun, threading.TIMEOUT_MAX)), (run_dir / "stop").touch)
        overdue.start()
        _, status, used = os.wait4(process.pid, 0)
        overdue.cancel()
    if status:
        raise SystemExit((run_dir / "log.txt").read_text()[-2000:])
    cpu = used.ru_utime + used.ru_stime
    return read_events(run_dir / "events.jsonl")[0], time.monotonic() - begun, cpu


def tell(name: str, events: list[dict], seconds: float, cpu: float) -> None:
    """One line of the table, and what the model writes after each held-out beginning."""

    def of(kind: str) -> list[dict]:
        return [event for event in events if event["type"] == kind]

    if not of("step"):
        return print(f"{name}: stopped before its first step, after {seconds:.0f} s", flush=True)
    step = of("step")[-1]
    each = step["tokens"] / step["step"]
    points = ", ".join(f"{event['step'] * each / 1e3:,.0f}k: {event['perplexity']:.1f}" for event in of("eval"))
    ledger = of("ledger")[-1]
    kept = {part: ledger["predicted"][part] / 1e6 for part in ("weights", "moments", "subspace")}
    measured = ledger.get("measured", {}).get("total", 0) / 1e6  # told where a run comes to its end
    print(
        f"{name}: {of('start')[-1]['trained_parameters']:,} trained weights, {step['tokens']:,} tokens in {seconds:.0f} s "
        f"({step['tokens_per_second']:,.0f}/s), {cpu:.0f} s of CPU\n  perplexity at tokens: {points}\n  predicted MB: "
        + ", ".join(f"{part} {size:.1f}" for part, size in kept.items())
        + f"; measured peak of the process {measured:,.0f} MB"
    )
    for sample in of("sample")[-2:]:
        print(f"  {sample['prompt'][-70:]!r} → {sample['text']!r}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
