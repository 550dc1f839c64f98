"""A model's folder as one GGUF file, weight by weight: f32, f16, q8_0 or q4_0. Never holds more than one matrix.

Matrices are quantised by the gguf package; vectors stay float32. In q4_0 the embedding and the head are q8_0, as they
cost little and matter much. Writes beside the file what Ollama and llama.cpp need to be told.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFWriter, LlamaFileType, get_tensor_name_map, quants
from safetensors import safe_open

from llmdemo.core.errors import UserError
from llmdemo.core.store import read_json
from llmdemo.serving.gguf_shapes import Shape, add_common, rope_factors, shape_of
from llmdemo.serving.gguf_tokenizer import add_tokenizer

_FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q4_0": LlamaFileType.MOSTLY_Q4_0,
}
_TYPES = {
    "f32": (GGMLQuantizationType.F32, GGMLQuantizationType.F32),
    "f16": (GGMLQuantizationType.F16, GGMLQuantizationType.F16),
    "q8_0": (GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0),
}
"""Of matrices inside the layers, of the embedding and the head."""
_OUTER = ("token_embd.weight", "output.weight")
_BLOCK = 32
_LARGEST_HALF = 65504.0


def write_gguf(
    folder: Path, target: Path, quantisation: str, name: str, tell: Callable[[int, int], None] = lambda done, all_: None
) -> None:
    """Writes the model in `folder` (config.json, *.safetensors, tokenizer.json) to `target`.

    `tell(weights written, weights in all)` may raise to stop; what is written then is removed. Raises UserError for
    what cannot be written in GGUF, with the reason.
    """
    config = read_json(folder / "config.json")
    shape = shape_of(config)
    writer = GGUFWriter(target, MODEL_ARCH_NAMES[shape.arch])
    try:
        writer.add_name(name)
        add_common(writer, config)
        shape.more(writer, config)
        writer.add_file_type(_FILE_TYPES[quantisation])
        writer.add_quantization_version(2)
        plan = _plan(folder, config, shape, quantisation)
        rows = next(array_shape[0] for _, gguf_name, array_shape, _ in plan if gguf_name == "token_embd.weight")
        writer.add_vocab_size(rows)
        add_tokenizer(writer, folder, rows)
        _write(writer, folder, config, shape, plan, tell)
    except BaseException:
        writer.close()
        target.unlink(missing_ok=True)
        raise
    writer.close()


Plan = list[tuple[str, str, tuple[int, ...], GGMLQuantizationType]]
"""(name in the folder, name in the file, shape, type)"""


def _plan(folder: Path, config: dict[str, Any], shape: Shape, quantisation: str) -> Plan:
    names = get_tensor_name_map(shape.arch, int(config["num_hidden_layers"]))
    plan: Plan = []
    tied = bool(config.get("tie_word_embeddings"))
    for name, size in _weights(folder):
        if name.endswith("rotary_emb.inv_freq") or name == "lm_head.weight" and tied:
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise UserError("err_gguf_weight", name=name)
        plan.append((name, found, size, _type(found, size, quantisation)))
    return plan


def types_of(folder: Path, quantisation: str) -> dict[str, GGMLQuantizationType]:
    """The type of each weight of a model's folder in its GGUF, by its name in the folder. Raises UserError."""
    config = read_json(folder / "config.json")
    return {name: kind for name, _, _, kind in _plan(folder, config, shape_of(config), quantisation)}


def _type(name: str, size: tuple[int, ...], quantisation: str) -> GGMLQuantizationType:
    if len(size) < 2:
        return GGMLQuantizationType.F32
    kind = _TYPES[quantisation][name in _OUTER]
    return kind if size[-1] % _BLOCK == 0 or kind not in _QUANTISED else GGMLQuantizationType.F16


def _weights(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of each weight in the folder."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - safe_open is no dict
                yield name, tuple(weights.get_slice(name).get_shape())


def _write(
    writer: GGUFWriter, folder: Path, config: dict, shape: Shape, plan: Plan, tell: Callable[[int, int], None]
) -> None:
    """Header, metadata and the list of weights first, then each weight's bytes in that order."""
    factors = rope_factors(config)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    for _, name, size, kind in plan:
        stored = quants.quant_shape_to_byte_shape(size, kind) if kind in _QUANTISED else size
        plain = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}.get(kind, np.uint8)
        count = int(np.prod(stored)) * np.dtype(plain).itemsize
        writer.add_tensor_info(name, stored, np.dtype(plain), count, raw_dtype=kind if kind in _QUANTISED else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    files = {name: file for file in sorted(folder.glob("*.safetensors")) for name in _names(file)}
    for done, (name, _, _, kind) in enumerate(plan):
        tell(done, len(plan))
        with safe_open(files[name], "pt") as weights:
            array = weights.get_tensor(name).to(torch.float32).numpy()
        array = shape.change(name, array, config)
        if kind == GGMLQuantizationType.F16 and not np.abs(array).max() <= _LARGEST_HALF:
            raise UserError("err_gguf_large", name=name)
        writer.write_tensor_data(quants.quantize(np.ascontiguousarray(array), kind))
    tell(len(plan), len(plan))


_QUANTISED = (GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0)


def _names(file: Path) -> list[str]:
    with safe_open(file, "pt") as weights:
        return list(weights.keys())


def modelfile(file: str, settings: dict[str, Any]) -> str:
    """An Ollama Modelfile for the GGUF beside it: the chat template and what ends a text are in the file itself."""
    lines = [f"FROM ./{file}", *(f"PARAMETER {key} {json.dumps(value)}" for key, value in settings.items())]
    return "\n".join(lines) + "\n"
