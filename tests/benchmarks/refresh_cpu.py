"""Refreshing every subspace of the starter model: power iteration against galore_torch's SVD, on real gradients.

    python tests/benchmarks/refresh_cpu.py [--model FOLDER] [--rank 128] [--text FILE] [--out figures.json]

Gradients are those of one batch of eight pieces of --text (default: the sample data set). Each matrix is refreshed
both ways, one after the other; "first" starts from random numbers, "warm" from the basis of another batch.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch
from galore_torch.galore_projector import GaLoreProjector

from llmdemo.models.load import load_causal
from llmdemo.training.subspace import Subspace, side_of
from llmdemo.training.targets import find_targets


def gradients(model, tokenizer, texts):
    """{name: [m, n]} of all target matrices, of the mean loss over `texts`."""
    batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=96)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    model.zero_grad()
    model(**batch, labels=labels).loss.backward()
    return {target.name: target.module.weight.grad.clone() for target in find_targets(model)}


def clock(action) -> float:
    """The faster of two: the first pays for memory that the other finds."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def from_start(space, start, action, gradient) -> None:
    """`action` from the basis `start`, however often it is done."""
    space.load_state(start)
    action(gradient, "power", torch.Generator().manual_seed(2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--text", type=Path, default=ROOT / "assets" / "sample-messages.json")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.model is None:
        from llmdemo.core.store import Home
        from llmdemo.models.starter import fetch_starter
        from llmdemo.settings import Settings

        args.model = fetch_starter(Home(Settings.from_env().home).prepare())
    text = args.text.read_text(encoding="utf-8")
    pieces = [text[i : i + 400] for i in range(0, 16 * 400, 400)]
    model, tokenizer = load_causal(args.model, dtype=torch.float32, device="cpu")
    before, now = gradients(model, tokenizer, pieces[:8]), gradients(model, tokenizer, pieces[8:])
    totals = {"SVD": 0.0, "first": 0.0, "warm": 0.0, "warm, projected and measured": 0.0}
    shares = {"first": [], "warm": []}
    for name, gradient in now.items():
        norm = gradient.square().sum()
        exact, side = GaLoreProjector(args.rank, update_proj_gap=1), side_of("std", *gradient.shape)
        totals["SVD"] += clock(lambda e=exact, g=gradient, t=side: e.get_orthogonal_matrix(g, args.rank, type=t))
        best = exact.project(gradient, 0).square().sum() / norm
        for kind in ("first", "warm"):
            space = Subspace(tuple(gradient.shape), args.rank)
            if kind == "warm":
                space.find(before[name], "power", torch.Generator().manual_seed(1))
            start = space.state()
            totals[kind] += clock(lambda s=space, g=gradient, b=start: from_start(s, b, s.find, g))
            shares[kind].append((space.project(gradient).square().sum() / norm / best).item())
        whole = "warm, projected and measured"
        totals[whole] += clock(lambda s=space, g=gradient, b=start: from_start(s, b, s.refresh_and_project, g))
    figures = {"matrices": len(now), "rank": args.rank}
    for kind, seconds in totals.items():
        figures[f"{kind}_seconds"] = seconds
        line = f"{kind:30} {seconds:8.2f} s for {len(now)} matrices   {totals['SVD'] / seconds:6.1f} x faster"
        if kind in shares:
            figures[f"{kind}_energy_of_svd"] = sum(shares[kind]) / len(shares[kind])
            figures[f"{kind}_energy_of_svd_worst"] = min(shares[kind])
            line += f"   energy of the SVD's: mean {statistics.mean(shares[kind]):.4f}, worst {min(shares[kind]):.4f}"
        print(line)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
