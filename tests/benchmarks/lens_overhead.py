"""How long the lens takes beside a plain forward pass over the same tokens: `python tests/benchmarks/lens_overhead.py MODEL_FOLDER`.

Both are timed in turn, so that a load of the machine falls on both; the ratio is that of the medians.
"""

import statistics
import sys
import time
from pathlib import Path

import torch

from llmdemo.interpret.lens import lens
from llmdemo.models.load import load_causal

TOKENS = (32, 64)
TURNS = 5


def timed(act, *given, **named) -> float:
    start = time.perf_counter()
    act(*given, **named)
    return time.perf_counter() - start


def main() -> None:
    model, _ = load_causal(Path(sys.argv[1]), dtype=torch.float32, device="cpu")

    @torch.inference_mode()
    def step(ids: list[int]) -> None:
        model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=1).logits.softmax(-1)

    for tokens in TOKENS:
        ids = [(7 + 97 * n) % model.config.vocab_size for n in range(tokens)]
        pairs = [(timed(step, ids), timed(lens, model, ids, token=5)) for _ in range(TURNS + 1)][1:]
        plain, seen = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(f"{tokens} tokens: step {plain:.3f} s, lens {seen:.3f} s, {seen / plain:.2f} times")


if __name__ == "__main__":
    main()
