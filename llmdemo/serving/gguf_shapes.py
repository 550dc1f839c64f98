"""How a model's config and weights are written in GGUF: one `Shape` an architecture. After llama.cpp's converter.

Knows config.json as a dict and arrays by name; no tokenizer, no files. Refuses with a sentence what llama.cpp would
read wrongly.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter, RopeScalingType

from llmdemo.core.errors import UserError

Config = Mapping[str, Any]
Change = Callable[[str, np.ndarray, Config], np.ndarray]
_NORMS = re.compile(r"norm\.weight$")
_QUERY_KEY = re.compile(r"self_attn\.(q|k)_proj\.(weight|bias)$")


@dataclass(frozen=True)
class Shape:
    """One architecture of llama.cpp and what it wants."""

    arch: MODEL_ARCH
    change: Change = field(default=lambda name, array, config: array)
    """Rewrites a weight where llama.cpp's graph expects it otherwise than transformers keeps it."""
    more: Callable[[GGUFWriter, Config], None] = field(default=lambda writer, config: None)
    """Metadata beside what all have."""


def shape_of(config: Config) -> Shape:
    """The shape of a model by its config.json. Raises UserError for one that cannot be written."""
    kind = str(config.get("model_type"))
    if kind not in SHAPES:
        raise UserError("err_gguf_shape", kind=kind, known=sorted(SHAPES))
    window = config.get("sliding_window")
    if kind == "mistral" and window and window < config.get("max_position_embeddings", 0):
        raise UserError("err_gguf_window", window=window)
    if kind == "qwen2" and config.get("use_sliding_window"):
        raise UserError("err_gguf_window", window=window or 0)
    return SHAPES[kind]


def head_size(config: Config) -> int:
    """Numbers of one attention head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def add_common(writer: GGUFWriter, config: Config) -> None:
    """The metadata that every one of these architectures has. Raises UserError for a rope that is not known here."""
    heads = int(config["num_attention_heads"])
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_key_length(head_size(config))
    writer.add_value_length(head_size(config))
    writer.add_rope_dimension_count(head_size(config))
    rope = _rope(config)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    if _rope_kind(rope) == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def rope_factors(config: Config) -> np.ndarray | None:
    """Llama 3's factors of the rotary frequencies, (head size / 2,) float32; None for a model that has none.

    As transformers' modeling_rope_utils computes them; llama.cpp divides the frequencies by these.
    """
    rope = _rope(config)
    if _rope_kind(rope) != "llama3":
        return None
    size, theta = head_size(config), float(rope.get("rope_theta", 10000.0))
    factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    old = float(rope["original_max_position_embeddings"])
    factors = []
    for place in range(0, size, 2):
        length = 2 * math.pi * theta ** (place / size)
        if length < old / high:
            factors.append(1.0)
        elif length > old / low:
            factors.append(factor)
        else:
            smooth = (old / length - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, np.float32)


def _rope(config: Config) -> Mapping[str, Any]:
    """The rope's parameters, from where this or an earlier transformers keeps them; of Gemma 3 those of full attention."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if "full_attention" in rope:
        rope = dict(rope["full_attention"])
    rope.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    return rope


def _rope_kind(rope: Mapping[str, Any]) -> str:
    kind = str(rope.get("rope_type") or rope.get("type") or "default")
    if kind not in ("default", "linear", "llama3"):
        raise UserError("err_gguf_rope", kind=kind)
    return kind


def _permuted(name: str, array: np.ndarray, config: Config) -> np.ndarray:
    """Rows of queries and keys in the order of llama.cpp's rope for this architecture: pairs beside each other."""
    match = _QUERY_KEY.search(name)
    if match is None:
        return array
    heads = int(config["num_attention_heads"])
    if match[1] == "k":
        heads = int(config.get("num_key_value_heads") or heads)
    split = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return split.swapaxes(1, 2).reshape(array.shape)


def _one_more(name: str, array: np.ndarray, config: Config) -> np.ndarray:
    """Gemma's norms multiply by 1 + weight; in GGUF the 1 is in the weight."""
    return array + 1 if _NORMS.search(name) else array


def _gemma2(writer: GGUFWriter, config: Config) -> None:
    writer.add_attn_logit_softcapping(float(config["attn_logit_softcapping"]))
    writer.add_final_logit_softcapping(float(config["final_logit_softcapping"]))
    writer.add_sliding_window(int(config["sliding_window"]))
    _check_scalar(config)


def _gemma3(writer: GGUFWriter, config: Config) -> None:
    writer.add_sliding_window(int(config["sliding_window"]))
    layers = config.get("layer_types") or []
    if [kind == "full_attention" for kind in layers] != [(index + 1) % 6 == 0 for index in range(len(layers))]:
        raise UserError("err_gguf_layers")
    if config.get("final_logit_softcapping") or config.get("attn_logit_softcapping"):
        raise UserError("err_gguf_layers")
    _check_scalar(config)


def _check_scalar(config: Config) -> None:
    """llama.cpp divides the queries by the root of the head's size; the largest Gemmas by another number."""
    if config.get("query_pre_attn_scalar", head_size(config)) != head_size(config):
        raise UserError("err_gguf_layers")


def _phi3(writer: GGUFWriter, config: Config) -> None:
    if float(config.get("partial_rotary_factor") or _rope(config).get("partial_rotary_factor") or 1.0) != 1.0:
        raise UserError("err_gguf_rope", kind="partial")
    window = config.get("sliding_window") or 0
    if window and window < config["max_position_embeddings"]:
        writer.add_sliding_window(int(window))


SHAPES: dict[str, Shape] = {
    "llama": Shape(MODEL_ARCH.LLAMA, _permuted),
    "mistral": Shape(MODEL_ARCH.LLAMA, _permuted),
    "qwen2": Shape(MODEL_ARCH.QWEN2),
    "qwen3": Shape(MODEL_ARCH.QWEN3),
    "gemma": Shape(MODEL_ARCH.GEMMA, _one_more),
    "gemma2": Shape(MODEL_ARCH.GEMMA2, _one_more, _gemma2),
    "gemma3_text": Shape(MODEL_ARCH.GEMMA3, _one_more, _gemma3),
    "phi3": Shape(MODEL_ARCH.PHI3, more=_phi3),
}
