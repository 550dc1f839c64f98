"""Speculative decoding with a draft model against greedy decoding, tokens/s by how many drafted tokens are right.

    python tests/benchmarks/speculative_gpu.py [--target 1.7B] [--tokens 256] [--repeats 3]

Nothing is fetched: the models are random, so what each forward costs is real and what it says is planted. In both, layers
add next to nothing to a token's embedding, and the head names the token that follows it by one permutation: each drafted
token would be right. Then a share of them is spoilt, 1 − α each on its own, which is what α is in Leviathan et al.,
arXiv 2211.17192. Two drafts of about a tenth of the target's size: one of SmolLM2-135M's shape (30 narrow layers), one of
one layer as wide as the target's. Greedy is this app's own lane, captured on a GPU; medians.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import torch
from memory_estimate_check import SHAPES
from transformers import LlamaConfig, LlamaForCausalLM

from llmdemo.decoding import DecodeSettings, decode_lanes, prepare
from llmdemo.decoding.speculative import ModelDraft

VOCABULARY = 49152
PROMPT = [(7 + 97 * at) % VOCABULARY for at in range(64)]
SHARES = (0.6, 0.7, 0.8, 0.9, 1.0)


def planted(shape: dict, device: str) -> LlamaForCausalLM:
    """A model of this shape that says after token i the i-th of one permutation."""
    config = LlamaConfig(
        **{"vocab_size": VOCABULARY, **shape, "tie_word_embeddings": False, "max_position_embeddings": 2048}
    )
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    with torch.device(device):
        model = LlamaForCausalLM(config).to(dtype).eval()
    order = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(1)).to(device)
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_()
        model.lm_head.weight[order] = model.model.embed_tokens.weight
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(0.01)
            layer.mlp.down_proj.weight.mul_(0.01)
    model.generation_config.eos_token_id = None
    return model


def speed(model, lane, tokens: int, repeats: int, assistants: dict | None = None) -> tuple[float, object]:
    """(tokens/s, the last result): the median of `repeats`, after one that warms up."""
    settings = DecodeSettings.from_dict({"lanes": [lane], "max_new_tokens": tokens})
    found = []
    for _ in range(repeats + 1):
        torch.cuda.synchronize() if torch.cuda.is_available() else None
        started = time.perf_counter()
        *_, last = decode_lanes(model, PROMPT, settings, eos_token_ids=[], assistants=assistants)
        found.append(tokens / (time.perf_counter() - started))
    return statistics.median(found[1:]), next(iter(last.results.values()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", choices=SHAPES, default="1.7B")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--drafted", type=int, nargs="*", default=[3, 5, 8])
    asked = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    target = planted(SHAPES[asked.target], device)
    print(prepare(target), torch.cuda.get_device_name() if device == "cuda" else f"CPU, load {os.getloadavg()[0]:.1f}")
    greedy, right = speed(target, "greedy", asked.tokens, asked.repeats)
    size = sum(parameter.numel() for parameter in target.parameters())
    print(f"greedy: {greedy:.1f} tokens/s")
    propose, chance, share = ModelDraft.__call__, random.Random(0), 1.0

    def spoilt(self, ids: list[int], most: int) -> list[int]:
        return [token if chance.random() < share else (token + 1) % VOCABULARY for token in propose(self, ids, most)]

    ModelDraft.__call__ = spoilt  # type: ignore[method-assign]
    drafts = {
        "one wide layer": {**SHAPES[asked.target], "num_hidden_layers": 1},
        "135M's shape": SHAPES["135M"] if asked.target != "tiny" else SHAPES["tiny"],
    }
    rows = []
    for name, shape in drafts.items():
        draft = planted(shape, device)
        layers = sum(parameter.numel() for parameter in draft.parameters()) / size
        prepare(draft)
        for most in asked.drafted:
            for share in SHARES:
                lane = {"strategy": "speculative", "assistant_model_id": "draft", "num_assistant_tokens": most}
                got, result = speed(target, lane, asked.tokens, asked.repeats, {"draft": draft})
                assert result.token_ids == right.token_ids, "the text is not greedy's"
                accepted = result.accepted / result.drafted
                rows.append({"draft": name, "size": round(layers, 3), "drafted": most, "alpha": share})
                rows[-1] |= {
                    "accepted": round(accepted, 3),
                    "tokens_per_second": round(got, 1),
                    "ratio": round(got / greedy, 2),
                }
                rows[-1] |= {"tokens_a_forward": round(asked.tokens / result.forwards, 2)}
                print(json.dumps(rows[-1]), flush=True)
        del draft
    best = {name: max(row["ratio"] for row in rows if row["draft"] == name and row["alpha"] <= 0.8) for name in drafts}
    print(json.dumps({"greedy": round(greedy, 1), "best_ratio_at_most_0.8": best, "bar": 1.3}))


if __name__ == "__main__":
    main()
