"""Training on the CPU: tokens/s and peak memory of our GaLore and AdamW against transformers' Trainer.

    python tests/benchmarks/train_cpu.py --data instruction-data.json [--precision fp32|bf16] [--steps 12] [--rounds 3]

Each contender trains the starter model (or --model FOLDER) on the same records in a process of its own, in turns;
medians are shown. All in one precision: fp32, or bf16 by autocast over fp32 weights (Trainer's bf16=True). Trainer runs
with optim="galore_adamw" and its defaults otherwise: random batches padded to their longest record, its galore
arguments as ours (rank, gap, scale). Tokens are real ones, padding does not count. "Later" leaves out the first five
steps: galore_torch decomposes every matrix in the first, ours get their first subspaces over the first four.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import llmdemo  # noqa: F401  # sets how OpenMP's threads wait, for every contender, before torch is imported

FIRST = 5
"""Steps before "later"."""
CONTENDERS = ("ours galore", "ours adamw", "Trainer galore_adamw", "Trainer adamw")


def prepare(data: Path, model: Path, config):
    """(train rows, tokenizer) as a run has them."""
    from llmdemo.core.store import Home
    from llmdemo.data.ingest import add_dataset
    from llmdemo.models.load import load_tokenizer
    from llmdemo.settings import Settings
    from llmdemo.training.prepare import prepare_data

    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).prepare()
        info = add_dataset(home, Settings(home=home.root), data, "data")
        tokenizer = load_tokenizer(model)
        from dataclasses import replace

        return prepare_data(home.tmp, home, replace(config, dataset_id=info.dataset_id), tokenizer), tokenizer


def ours(method, data, model_folder, steps, precision):
    import torch

    from llmdemo.models.load import load_causal
    from llmdemo.training import TrainConfig, build_optimizer
    from llmdemo.training.loop import Loop

    config = TrainConfig("x", method=method, max_steps=steps, warmup_steps=2).resolved()
    run_data, tokenizer = prepare(data, model_folder, config)
    model, _ = load_causal(model_folder, dtype=torch.float32, device="cpu")
    seconds, tokens, last = [], [], [0, time.perf_counter()]

    def report(kind, **fields):
        if kind == "step":
            now = time.perf_counter()
            seconds.append(now - last[1])
            tokens.append(fields["tokens"] - last[0])
            last[:] = [fields["tokens"], now]

    loop = Loop(model, tokenizer, build_optimizer(model, config), run_data, config, precision, report)
    loop._verify_loss()
    last[1] = time.perf_counter()
    for _ in range(steps):
        loop._step()
    return seconds, tokens


def trainer(optim, data, model_folder, steps, precision):
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from llmdemo.models.load import load_causal
    from llmdemo.training import TrainConfig

    run_data, tokenizer = prepare(data, model_folder, TrainConfig("x").resolved())
    model, _ = load_causal(model_folder, dtype=torch.float32, device="cpu")
    rows = [run_data.train.row(i) for i in range(len(run_data.train))]
    records = [{"input_ids": ids.tolist(), "labels": labels.tolist()} for ids, labels in rows]
    seconds, tokens = [], []

    def collate(batch):
        width = max(len(r["input_ids"]) for r in batch)
        tokens.append(sum(len(r["input_ids"]) for r in batch))
        pad = lambda values, fill: values + [fill] * (width - len(values))  # noqa: E731
        return {
            "input_ids": torch.tensor([pad(r["input_ids"], tokenizer.pad_token_id) for r in batch]),
            "attention_mask": torch.tensor([pad([1] * len(r["input_ids"]), 0) for r in batch]),
            "labels": torch.tensor([pad(r["labels"], -100) for r in batch]),
        }

    class Clock(TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            self.started = time.perf_counter()

        def on_step_end(self, *args, **kwargs):
            seconds.append(time.perf_counter() - self.started)

    galore = {"optim_target_modules": ["attn", "mlp"], "optim_args": "rank=128, update_proj_gap=200, scale=1.0"}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, optim=optim, per_device_train_batch_size=8, max_steps=steps, learning_rate=1e-4, use_cpu=True,
            save_strategy="no", report_to=[], disable_tqdm=True, bf16=precision == "bf16", **(galore if "galore" in optim else {}),
        )  # fmt: skip
        Trainer(model, arguments, train_dataset=records, data_collator=collate, callbacks=[Clock()]).train()
    return seconds, tokens[: len(seconds)]


def child(name, args):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kind, _, rest = name.partition(" ")
    action = ours if kind == "ours" else trainer
    optim = rest if kind == "ours" else {"adamw": "adamw_torch"}.get(rest, rest)
    seconds, tokens = action(optim, args.data, args.model, args.steps, args.precision)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "tokens": tokens, "peak": peak, "before": before * 1024}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="folder of a causal model; default: the starter in LLMDEMO_HOME")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.model is None:
        from llmdemo.core.store import Home
        from llmdemo.models.starter import fetch_starter
        from llmdemo.settings import Settings

        args.model = fetch_starter(Home(Settings.from_env().home).prepare())
    if args.child:
        return child(args.child, args)
    found = {name: [] for name in args.contenders}
    for _ in range(args.rounds):
        for name in args.contenders:
            command = [sys.executable, __file__, "--data", str(args.data), "--model", str(args.model)]
            command += ["--precision", args.precision, "--steps", str(args.steps), "--child", name]
            result = subprocess.run(
                command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
            if result.returncode:
                sys.exit(f"{name} failed:\n{result.stderr[-2000:]}")
            found[name].append(json.loads(result.stdout.strip().splitlines()[-1]))
    report(found, args)


def report(found, args):
    figures = {}
    for name, runs in found.items():
        whole = [sum(r["tokens"]) / sum(r["seconds"]) for r in runs]
        later = [sum(r["tokens"][FIRST:]) / sum(r["seconds"][FIRST:]) for r in runs]
        figures[name] = {
            "tokens_per_second": statistics.median(whole),
            "tokens_per_second_later": statistics.median(later),
            "first_steps_seconds": statistics.median(sum(r["seconds"][:FIRST]) for r in runs),
            "peak_bytes": statistics.median(r["peak"] for r in runs),
        }
    peer = figures.get("Trainer galore_adamw")
    print(f"{'':24}{'tokens/s':>10}{'later':>8}{'first five':>12}{'peak GB':>9}{'x Trainer galore':>18}")
    for name, f in figures.items():
        ratio = f["tokens_per_second_later"] / peer["tokens_per_second_later"] if peer else 0
        print(
            f"{name:24}{f['tokens_per_second']:10.1f}{f['tokens_per_second_later']:8.1f}"
            f"{f['first_steps_seconds']:11.1f}s{f['peak_bytes'] / 1e9:9.2f}{ratio:18.2f}"
        )
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
