"""Whole training steps on the CPU by two ways in turns, in one process and on the same records: the ratio of their times.

    python tests/benchmarks/train_turns.py --data instruction-data.json --model FOLDER --method adamw --ways layers|precision

"layers": layers that keep their own gradients by the faster library (llmdemo/training/layers.py) over torch's own way, in
fp32. "precision": bf16 by autocast over fp32. Turns alternate, so that a machine whose speed changes by the minute, or is
shared, treats both alike; the figure is the median of the pairs' ratios, beside that of the least times.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).parent)]
FIRST = 4
"""Steps before the turns, in which GaLore finds its subspaces."""


def made(args):
    import torch
    import train_cpu

    from llmdemo.models.load import load_causal
    from llmdemo.training import TrainConfig, build_optimizer
    from llmdemo.training.adapters import add_adapters
    from llmdemo.training.loop import Loop

    config = TrainConfig("x", method=args.method, max_steps=FIRST + args.pairs, warmup_steps=2).resolved()
    data, tokenizer = train_cpu.prepare(args.data, args.model, config)
    model, _ = load_causal(args.model, dtype=torch.float32, device="cpu")
    if args.method == "lora":
        model = add_adapters(model, config)
    loop = Loop(model, tokenizer, build_optimizer(model, config), data, config, "fp32", lambda *_, **__: None)
    loop._verify_loss()
    return loop


def by_layers(loop):
    """A function that switches to torch's own products (0) or the faster library's (1)."""
    from llmdemo.training import layers

    forwards = [(m, vars(m).get("forward")) for m in loop.model.modules()]
    ours = [(m, forward) for m, forward in forwards if getattr(forward, "func", None) is layers._forward]
    assert ours, "no layer is attached: this processor takes torch's own products"

    def switch(way):
        for module, forward in ours:
            if way:
                module.forward = forward
            else:
                module.__dict__.pop("forward", None)

    return switch


def by_precision(loop):
    """A function that switches to fp32 (0) or bf16 (1)."""

    def switch(way):
        loop.precision = loop._passes._precision = ("fp32", "bf16")[way]
        object.__setattr__(loop.objective.place, "precision", loop.precision)

    return switch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder of a causal model")
    parser.add_argument("--method", choices=("galore", "adamw", "lora"), default="adamw")
    parser.add_argument("--ways", choices=("layers", "precision"), default="layers")
    parser.add_argument("--pairs", type=int, default=12)
    args = parser.parse_args()
    loop = made(args)
    switch = by_layers(loop) if args.ways == "layers" else by_precision(loop)
    for number in range(FIRST):
        switch(number % 2)
        loop._step()
    seconds = ([], [])
    for pair in range(args.pairs):
        for way in (pair % 2, 1 - pair % 2):
            switch(way)
            loop.progress.step = FIRST + pair  # both on the same records
            started = time.perf_counter()
            loop._step()
            seconds[way].append(time.perf_counter() - started)
    ratios = [b / a for a, b in zip(*seconds, strict=True)]
    print(
        f"{args.method}, {args.ways}: {statistics.median(ratios):.2f} × the time (least times {min(seconds[1]) / min(seconds[0]):.2f}),"
        f" medians {statistics.median(seconds[0]):.2f} and {statistics.median(seconds[1]):.2f} s; load {os.getloadavg()[0]:.1f}"
    )
    print("each pair:", *(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
