"""The worker as it is launched against transformers' Trainer on one GPU: seconds a step, to the first step, and in all.

    python tests/benchmarks/worker_gpu.py [--shapes 135M 1.7B] [--methods adamw galore lora] [--steps 40] [--rounds 1]
                                          [--waiting] [--alone]

Each contender is a process of its own, imports included, and they take turns; with --waiting, ours has its imports done
before Start, as the worker that the app keeps while the Train form is filled in (jobs/spare.py). Weights are random, records have
about 200 tokens (memory_estimate_check.py makes both). Ours, by the app's own command: batch 8, max_length 256, precision auto, all else by default: hooks,
clipping, events, evaluations, samples, the saved model. Trainer: batch 8, bf16 autocast, adamw_torch_fused, random
batches padded to their longest record, nothing evaluated or saved. A step is the median, and the mean, of the time
between two steps' ends over the second half of the steps, without what lies between two phases.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]


def prepare(folder: Path, shapes: list[str]) -> tuple[Path, str]:
    """(home, id of the data set); the models lie in the folder by their shape's name."""
    import memory_estimate_check

    from llmdemo import data
    from llmdemo.core.store import Home
    from llmdemo.settings import Settings

    home = Home(folder / "home").prepare()
    source = memory_estimate_check.make_data(folder, 256)
    info = data.add_dataset(home, Settings(home=home.root), source, "records")
    for shape in shapes:
        memory_estimate_check.make_model(folder / shape, shape)
    return home.root, info.dataset_id


def ours(
    folder: Path, root: Path, dataset_id: str, shape: str, method: str, steps: int, waiting: bool = False, **more
) -> dict:
    from run_start import events_of, made_ready, new_run

    from llmdemo.jobs import process
    from llmdemo.jobs.spare import Spare

    values = {"dataset_id": dataset_id, "model_id": str(folder / shape), "max_steps": steps, "method": method}
    values |= {"max_length": 256, "batch_size": 8, "eval_records": 8} | ({"rank": 16} if method == "lora" else {})
    run, argv, env = new_run(root, values | more)
    spare = Spare()
    if waiting:
        made_ready(spare, argv, env)
    began = time.time()
    pid, _ = spare.launch(argv, run, env, run / "log.txt", "0" * 32)
    while (status := process.exit_status(pid)) is None:
        time.sleep(0.02)
    total = time.time() - began
    events = events_of(run, status)
    return _figures(events, began, total)


def _figures(events: list[dict], began: float, total: float) -> dict:
    steps, breaks = [e for e in events if e["type"] == "step"], [e["t"] for e in events if e["type"] == "phase"]
    pairs = list(itertools.pairwise(steps))
    seconds = [b["t"] - a["t"] for a, b in pairs if not any(a["t"] < at <= b["t"] for at in breaks)]
    last = seconds[len(seconds) // 2 :]
    return {
        "step": statistics.median(last),
        "mean": statistics.mean(last),
        "first_step": steps[0]["t"] - began,
        "total": total,
        "phases": [(e.get("phase", e["type"]), round(e["t"] - began, 1)) for e in events
                   if e["type"] in ("phase", "start", "end")],
        "notes": [e["message"] for e in events if e["type"] == "note"],
        "peak_GiB": round(max(e.get("peak_memory_bytes", 0) for e in steps) / 2**30, 2),
        "skipped": sum(e["type"] == "skip" for e in events),
        "memory": _memory(events),
        "loss": [steps[0]["loss"], steps[-1]["loss"]],
    }  # fmt: skip


def _memory(events: list[dict]) -> list[float]:
    """GiB predicted and measured."""
    last = [event for event in events if event["type"] == "ledger"][-1]
    return [round(last[key]["total"] / 2**30, 2) for key in ("predicted", "measured") if key in last]


def trainer(folder: Path, shape: str, steps: int) -> dict:
    began = time.time()
    command = [sys.executable, __file__, "--trainer", str(folder / shape), "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    seconds = [b - a for a, b in itertools.pairwise(found["ends"])]
    last = seconds[len(seconds) // 2 :]
    return {
        "step": statistics.median(last),
        "mean": statistics.mean(last),
        "first_step": found["ends"][0] - began,
        "total": time.time() - began,
        "peak_GiB": found["peak_GiB"],
    }


def run_trainer(model: Path, steps: int) -> None:
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.eos_token
    records = json.loads((model.parent / "records-256.json").read_text()) * 5
    rows = [dict(tokenizer(r["instruction"] + r["output"], truncation=True, max_length=256)) for r in records]
    ends, on_gpu = [], torch.cuda.is_available()

    class Clock(TrainerCallback):
        def on_step_end(self, *_, **__):
            if on_gpu:
                torch.cuda.synchronize()
            ends.append(time.time())

    settings = TrainingArguments(
        str(model.parent / "out"), per_device_train_batch_size=8, max_steps=steps, bf16=True, report_to=[],
        save_strategy="no", logging_steps=50, optim="adamw_torch_fused", use_cpu=not on_gpu, disable_tqdm=True,
    )  # fmt: skip
    Trainer(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), settings, train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False), callbacks=[Clock()],
    ).train()  # fmt: skip
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0
    print(json.dumps({"ends": ends, "peak_GiB": round(peak, 2)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", default=["135M", "1.7B"])
    parser.add_argument("--methods", nargs="*", default=["adamw", "galore", "lora"])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="no Trainer beside ours")
    parser.add_argument("--waiting", action="store_true", help="ours has its imports done before it is started")
    parser.add_argument("--set", default="{}", help="changes of our config, as JSON")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--trainer", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.trainer:
        return run_trainer(args.trainer, args.steps)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root, dataset_id = prepare(folder, args.shapes)
        for shape in args.shapes:
            for _ in range(args.rounds):
                for contender in args.methods if args.alone else ("Trainer", *args.methods, "Trainer"):
                    rows.append(_measure(folder, root, dataset_id, shape, contender, args))
                    if args.out:
                        args.out.write_text(json.dumps(rows, indent=1))
    _show(rows)


def _measure(folder: Path, root: Path, dataset_id: str, shape: str, contender: str, args) -> dict:
    try:
        if contender == "Trainer":
            found = trainer(folder, shape, args.steps)
        else:
            more = json.loads(args.set)
            found = ours(folder, root, dataset_id, shape, contender, args.steps, args.waiting, **more)
    except RuntimeError as error:
        found = {"error": str(error)}
    row = {"shape": shape, "contender": contender, **found}
    print(json.dumps(row), flush=True)
    return row


def _show(rows: list[dict]) -> None:
    print(f"\n{'':22}{'step, s':>9}{'mean':>8}{'x Trainer':>11}{'first step':>12}{'in all':>8}{'GiB':>7}")
    for row in (row for row in rows if "error" not in row):
        base = [r["mean"] for r in rows if r["contender"] == "Trainer" and r["shape"] == row["shape"] and "mean" in r]
        ratio = f"{row['mean'] / statistics.mean(base):11.2f}" if base else " " * 11
        print(
            f"{row['shape'] + ' ' + row['contender']:22}{row['step']:9.4f}{row['mean']:8.4f}{ratio}"
            f"{row['first_step']:11.1f}s{row['total']:7.1f}s{row['peak_GiB']:7.2f}"
        )


if __name__ == "__main__":
    main()
