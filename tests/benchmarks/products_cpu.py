"""A run's fp32 products on the CPU: oneDNN's time over that of torch's own way (MKL), shape by shape, and how exact they are.

    python tests/benchmarks/products_cpu.py [--rows 24 216 480] [--rounds 40]

The shapes are the starter's: its layers, of as many rows as a step's tokens, forwards and for the gradient of the input,
and the logits. Both ways take turns; the least time of each counts, so that other work on the machine matters little.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
LAYERS = {"gate, up": (1536, 576), "down": (576, 1536), "query, output": (576, 576), "key, value": (192, 576)}
LOGITS = (49152, 576)


def least(ways, rounds):
    """Seconds of each way."""
    best = [float("inf")] * len(ways)
    for _ in range(rounds):
        for number, way in enumerate(ways):
            started = time.perf_counter()
            way()
            best[number] = min(best[number], time.perf_counter() - started)
    return best


def compare(name, rows, shape, rounds):
    from llmdemo.training import products

    x, dy, weight = torch.randn(rows, shape[1]), torch.randn(rows, shape[0]), torch.randn(shape)
    for side, own, other in (
        ("forwards", lambda: functional.linear(x, weight), lambda: products._by_onednn(x, weight, None)),
        ("backwards", lambda: dy @ weight, lambda: products._by_onednn(dy, weight.T, None)),
    ):
        exact = x.double() @ weight.double().T if side == "forwards" else dy.double() @ weight.double()
        errors = [((way() - exact).abs().max() / exact.abs().max()).item() for way in (own, other)]
        seconds = least((own, other), rounds)
        rate = 2e-9 * rows * weight.numel()
        print(
            f"{name:14}{rows:5} rows {side:10}{rate / seconds[0]:6.0f} and {rate / seconds[1]:4.0f} GFLOP/s"
            f"{seconds[1] / seconds[0]:6.2f} × the time, errors {errors[0]:.0e} and {errors[1]:.0e}",
            flush=True,
        )


def main():
    from llmdemo.training import products

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[24, 216, 480])
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads; a run here takes oneDNN: {products.onednn_is_faster()}")
    for rows in args.rows:
        for name, shape in LAYERS.items():
            compare(name, rows, shape, args.rounds)
    compare("logits", 90, LOGITS, args.rounds // 4)


if __name__ == "__main__":
    main()
