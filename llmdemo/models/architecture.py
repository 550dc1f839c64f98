"""What a model is made of: its tensors, those of alike layers counted together. Shapes only; no weight is read.

Knows no single architecture: the parts are told by the names that transformers' models share.
"""

import re
from dataclasses import asdict, dataclass

import torch

from llmdemo.core.errors import UserError, first_line
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.load import load_outline

_LAYER = re.compile(r"\.\d+\.")
_EMBEDDINGS = ("embed", "wte", "wpe", "word_embeddings")
_ATTENTION = ("attn", "attention", "mixer", "mamba", "temporal_block", "conv")
_MLP = ("mlp", "feed_forward", "ffn", "fc1", "fc2", "experts", "moe", "dense_h_to_4h", "dense_4h_to_h")


@dataclass(frozen=True)
class Part:
    """A tensor, or one of each layer where they are alike."""

    name: str
    """Its name in a layer, or in the model."""
    block: str
    """embedding, attention, mlp, norm, head or other."""
    shape: tuple[int, ...]
    count: int
    parameters: int
    """Of all `count` together."""
    in_layers: bool


def architecture(entry: ModelEntry) -> dict:
    """{"model_id", "title", "architecture", "parameters", "layers", "tied", "parts": [Part]}, JSON-able, in the model's order.

    tied: whether the head's weights are the embedding's, and not counted again. A preset needs no folder. Raises UserError.
    """
    try:
        model = load_outline(entry, torch.float32, classifies=entry.task == "classify")
    except UserError:
        raise
    except Exception as error:  # an architecture may raise anything where it is made without numbers
        raise UserError("err_no_architecture", title=entry.title, error=first_line(error)) from error
    parts = parts_of(model)
    ask = getattr(model, "get_output_embeddings", None)
    head, first = ask() if ask else None, model.get_input_embeddings()
    return {
        "model_id": entry.id,
        "title": entry.title,
        "architecture": type(model).__name__,
        "parameters": sum(part.parameters for part in parts),
        "layers": getattr(model.config, "num_hidden_layers", None) or getattr(model.config, "n_layer", 0),
        "tied": head is not None and first is not None and getattr(head, "weight", None) is first.weight,
        "parts": [asdict(part) | {"shape": list(part.shape)} for part in parts],
    }


def parts_of(model: torch.nn.Module) -> list[Part]:
    """The parts in the order in which the model names them, each parameter once."""
    found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for name, parameter in model.named_parameters():
        pattern = _LAYER.sub(".*.", name, count=1)
        counts = found.setdefault((pattern, tuple(parameter.shape)), [0, 0])
        counts[0] += 1
        counts[1] += parameter.numel()
    return [
        Part(_short(pattern), block_of(pattern), shape, count, numbers, "*" in pattern)
        for (pattern, shape), (count, numbers) in found.items()
    ]


def _short(pattern: str) -> str:
    own = pattern.removesuffix(".weight")
    return own.partition(".*.")[2] or own.partition(".")[2] or own


def block_of(name: str) -> str:
    """Which block of the picture a parameter of this name is drawn in."""
    inside, own = "*" in name, name.lower()
    last = own.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]
    if "norm" in last or re.fullmatch(r"ln_?\w*", last):
        return "norm"
    if not inside:
        if any(part in own for part in _EMBEDDINGS) and "embed_out" not in own:
            return "embedding"
        return "head" if any(part in own for part in ("lm_head", "embed_out", "score", "classifier")) else "other"
    if any(part in own for part in _MLP):
        return "mlp"
    return "attention" if any(part in own for part in _ATTENTION) else "other"
