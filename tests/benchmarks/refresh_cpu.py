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
from llmdemo.training.subspace import Subspace
from llmdemo.training.targets import find_targets


def gradients(model, tokenizer, texts):
    """{name: [m, n]} of all target matrices, of the mean loss over `texts`."""
    batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=96)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    model.zero_grad()
    model(**batch, labels=labels).loss.backward()
    return {target.name: target.module.weight.grad.clone() for target in find_targets(model)}


def clock(action):
    started = time.perf_counter()
    result = action()
    return time.perf_counter() - started, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--text", type=Path, default=ROOT / "assets" / "sample-messages.json")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.model is None:
        from llmdemo.models.starter import fetch_starter
        from llmdemo.settings import Settings
        from llmdemo.store import Home

        args.model = fetch_starter(Home(Settings.from_env().home).prepare())
    text = args.text.read_text(encoding="utf-8")
    pieces = [text[i : i + 400] for i in range(0, 16 * 400, 400)]
    model, tokenizer = load_causal(args.model, dtype=torch.float32, device="cpu")
    before, now = gradients(model, tokenizer, pieces[:8]), gradients(model, tokenizer, pieces[8:])
    totals, shares = {"SVD": 0.0, "first": 0.0, "warm": 0.0}, {"first": [], "warm": []}
    for name, gradient in now.items():
        norm = gradient.square().sum()
        exact = GaLoreProjector(args.rank, update_proj_gap=1)
        seconds, low = clock(lambda e=exact, g=gradient: e.project(g, 0))
        totals["SVD"] += seconds
        best = low.square().sum() / norm
        for kind in ("first", "warm"):
            space = Subspace(tuple(gradient.shape), args.rank)
            if kind == "warm":
                space.refresh(before[name], "power", torch.Generator().manual_seed(1))
            seconds, report = clock(lambda s=space, g=gradient: s.refresh(g, "power", torch.Generator().manual_seed(2)))
            totals[kind] += seconds
            shares[kind].append(report.energy / best.item())
    figures = {"matrices": len(now), "rank": args.rank}
    for kind, seconds in totals.items():
        figures[f"{kind}_seconds"] = seconds
        line = f"{kind:6} {seconds:8.2f} s for {len(now)} matrices"
        if kind in shares:
            figures[f"{kind}_energy_of_svd"] = sum(shares[kind]) / len(shares[kind])
            figures[f"{kind}_energy_of_svd_worst"] = min(shares[kind])
            line += f"   {totals['SVD'] / seconds:6.1f} x faster   energy of the SVD's: mean {statistics.mean(shares[kind]):.4f}, "
            line += f"worst {min(shares[kind]):.4f}"
        print(line)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
