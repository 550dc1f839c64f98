"""Shapes of new models, Llama-shaped, from a million weights up. Sizes and configs only; imports no torch.

From 60M on they are those that the GaLore paper pretrains (arXiv 2403.03507, table 5 and its code's configs), whose names
count a vocabulary of 32,000 with an output head of its own; the smaller ones tie it to the embedding.
"""

import re
from dataclasses import dataclass

from llmdemo.core.errors import UserError
from llmdemo.models.catalog import ModelEntry

KIND = "scratch"
"""The kind of an entry that stands for a model that is yet to be made: it has no folder."""
LEAST_CONTEXT = 256
_ID = re.compile(rf"{KIND}:(\w{{1,8}}):(\d{{1,6}}):(\d{{1,7}})")
SIZES = ("1M", "3M", "10M", "30M", "60M", "130M", "350M", "1B")


@dataclass(frozen=True)
class Shape:
    """Width, layers, heads, and the MLP's width."""

    width: int
    layers: int
    heads: int
    mlp: int
    tied: bool


_SHAPES = {
    "1M": Shape(128, 4, 4, 344, True),
    "3M": Shape(192, 6, 6, 512, True),
    "10M": Shape(320, 8, 5, 864, True),
    "30M": Shape(512, 9, 8, 1376, True),
    "60M": Shape(512, 8, 8, 1376, False),
    "130M": Shape(768, 12, 12, 2048, False),
    "350M": Shape(1024, 24, 16, 2736, False),
    "1B": Shape(2048, 24, 32, 5461, False),
    **{
        # Not offered to be made: Llama's larger sizes, whose memory a lesson shows (70B without grouped heads).
        "3B": Shape(3200, 26, 32, 8640, False),
        "7B": Shape(4096, 32, 32, 11008, False),
        "13B": Shape(5120, 40, 40, 13824, False),
        "34B": Shape(6656, 60, 52, 17920, False),
        "70B": Shape(8192, 80, 64, 24576, False),
    },
}


def config_of(size: str, vocabulary: int, max_length: int, end: int | None = 0) -> dict:
    """config.json of a Llama of this size; `end`: the token that ends a text. Raises UserError for an unknown size."""
    shape = _shape(size)
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "intermediate_size": shape.mlp,
        "vocab_size": vocabulary,
        "max_position_embeddings": max(LEAST_CONTEXT, max_length),
        "tie_word_embeddings": shape.tied,
        "rms_norm_eps": 1e-6,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
    }


def parameters_of(size: str, vocabulary: int) -> int:
    """Weights of such a model: four square matrices and three of the MLP a layer, norms, and one or two vocabularies."""
    shape = _shape(size)
    layer = 4 * shape.width**2 + 3 * shape.width * shape.mlp + 2 * shape.width
    return shape.layers * layer + shape.width + (1 if shape.tied else 2) * vocabulary * shape.width


def entry_of(size: str, vocabulary: int, max_length: int) -> ModelEntry:
    """Stands for the model where its shapes are enough."""
    count = parameters_of(size, vocabulary)
    return ModelEntry(
        f"{KIND}:{size}:{vocabulary}:{max_length}",
        f"Llama {size}, from scratch",
        KIND,
        None,
        parameters=count,
        bytes=4 * count,
        context=max(LEAST_CONTEXT, max_length),
        ready=False,
        task="text",
    )


def entry_of_id(model_id: str) -> ModelEntry:
    """What `entry_of` gave, by its id. Raises UserError for what is no such id."""
    return entry_of(*_parts(model_id))


def config_of_entry(entry: ModelEntry) -> dict:
    """The config of what `entry_of` gave."""
    return config_of(*_parts(entry.id))


def _parts(model_id: str) -> tuple[str, int, int]:
    found = _ID.fullmatch(model_id)
    if not found:
        raise UserError("err_no_new_model", id=repr(model_id[:80]))
    return found[1], int(found[2]), int(found[3])


def _shape(size: str) -> Shape:
    if size not in _SHAPES:
        raise UserError("err_no_size", size=repr(str(size)[:40]), sizes=", ".join(SIZES))
    return _SHAPES[size]
