"""Would a tuned lens pay? An affine map a layer, fitted by least squares on a few hundred tokens, against the plain logit lens.

    python tests/benchmarks/lens_maps.py MODEL_FOLDER [--tokens 400] [--ridge 0.01]

MODEL_FOLDER: a Llama, such as the starter. Fitted on the sample's training messages; measured on its held-out messages and on
plain English sentences: mean KL divergence from the model's own distribution in nats, and in which share of the places the
layer's likeliest token is the model's.
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch

from llmdemo.models.load import load_causal

ENGLISH = (
    "The capital of France is Paris, which lies on the Seine and has been the seat of government for centuries.",
    "Water boils at one hundred degrees Celsius at sea level, and at lower temperatures high in the mountains.",
    "Once upon a time there was a fox who lived near a river and liked to talk with the hens about the weather.",
    "In mathematics, a prime number is a natural number greater than one that is not a product of two smaller ones.",
    "She opened the door, looked at the rain, and decided that the umbrella would not help her this time.",
)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=400, help="that the maps are fitted on, at least")
    parser.add_argument("--ridge", type=float, default=0.01, help="share of the mean squared state that is added")
    args = parser.parse_args()
    model, tokenizer = load_causal(args.folder, dtype=torch.float32, device="cpu")
    rows = json.loads((ROOT / "assets" / "sample-messages.json").read_text(encoding="utf-8"))
    train, held = (
        [written(row, tokenizer) for row in rows if (row["split"] == "eval") is held] for held in (False, True)
    )
    begun = time.process_time()
    seen = states(model, tokenizer, train, args.tokens)
    forward = time.process_time() - begun
    begun = time.process_time()
    maps = fitted(seen, args.ridge)
    print(
        f"{seen.shape[1]} tokens: {forward:.1f} s of CPU for their states, {time.process_time() - begun:.1f} s for the maps"
    )
    for name, texts in (("sample, held out", held[:5]), ("plain English", ENGLISH)):
        found = states(model, tokenizer, texts, 10**6)
        print(name, found.shape[1], "tokens: layer, then KL and agreement, plain → mapped")
        for layer in (4, 9, 14, 19, 24, 27, 28):
            plain, mapped = measured(model, found, layer, None), measured(model, found, layer, maps)
            print(f"  {layer + 1:2}: {plain[0]:5.2f} → {mapped[0]:5.2f}   {plain[1]:.2f} → {mapped[1]:.2f}")


def written(row: dict, tokenizer) -> str:
    asked = {"role": "user", "content": f"{row['instruction']}\n\n{row['input']}"}
    return tokenizer.apply_chat_template([asked, {"role": "assistant", "content": row["output"]}], tokenize=False)


def states(model, tokenizer, texts, least: int) -> torch.Tensor:
    """(L, N, d) of so many texts that N >= least."""
    found: list[list[torch.Tensor]] = [[] for _ in model.model.layers]
    for each, layer in zip(found, model.model.layers, strict=True):
        layer.register_forward_hook(
            lambda _, __, out, kept=each: kept.append(out[0] if isinstance(out, tuple) else out)
        )
    for text in texts:
        model.model(input_ids=torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"][:256]]))
        if sum(each.shape[1] for each in found[0]) >= least:
            break
    for layer in model.model.layers:
        layer._forward_hooks.clear()
    return torch.stack([torch.cat(each, 1)[0] for each in found])


def fitted(seen: torch.Tensor, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(A (L, d, d), b (L, d)): h + h·A + b is nearest to the last layer's state."""
    mean = seen.mean(1, keepdim=True)  # (L, 1, d)
    centred = seen - mean
    gram = centred.mT @ centred  # (L, d, d)
    size = gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(gram.shape[-1])
    weight = torch.linalg.solve(gram + ridge * size, centred.mT @ (centred[-1:] - centred))
    return weight, (mean[-1:] - mean - mean @ weight)[:, 0]


def measured(model, found: torch.Tensor, layer: int, maps) -> tuple[float, float]:
    """(KL in nats, agreement) of a layer with the model."""
    state = found[layer] if maps is None else found[layer] + found[layer] @ maps[0][layer] + maps[1][layer]
    ours, wanted = (model.lm_head(model.model.norm(each)).float().log_softmax(-1) for each in (state, found[-1]))
    agrees = (ours.argmax(-1) == wanted.argmax(-1)).float().mean()
    return float((wanted.exp() * (wanted - ours)).sum(-1).mean()), float(agrees)


if __name__ == "__main__":
    main()
