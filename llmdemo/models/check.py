"""Whether a folder holds a model that may be loaded: plain safetensors, no code, no pickles. Imports no torch.

Knows nothing of where the folder came from; load.py calls this before every load, because a folder can
change between the listing and the loading.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from llmdemo.errors import UserError

_NEEDS = "A model folder holds config.json, a tokenizer and weights in *.safetensors, as save_pretrained writes them."
_LARGEST_JSON = 64 * 2**20
_LARGEST_HEADER = 100 * 2**20
_READERS = ("ForMaskedLM", "ForPreTraining", "ForTokenClassification", "ForQuestionAnswering")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


@dataclass(frozen=True)
class ModelFacts:
    """What the files say about a model."""

    architecture: str
    model_type: str
    parameters: int
    bytes: int
    context: int
    """Longest sequence in tokens; 0 where the config does not say."""
    dtype: str

    @property
    def head(self) -> str:
        """write: a causal language model, or none of those named here; classify: whole texts; encode: reads only."""
        if self.architecture.endswith("ForSequenceClassification"):
            return "classify"
        if self.architecture.endswith(_READERS):
            return "encode"
        return "encode" if self.architecture.endswith("Model") and "LMHead" not in self.architecture else "write"


def check_folder(folder: Path) -> ModelFacts:
    """Facts about the model in `folder`; raises UserError, with the remedy, unless it may be loaded."""
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is not a folder.", _NEEDS)
    config = read_config(folder)
    shards = weight_files(folder)
    parameters, dtype = 0, ""
    for shard in shards:
        count, kind = _count_parameters(shard)
        parameters, dtype = parameters + count, dtype or kind
    return ModelFacts(
        architecture=(config.get("architectures") or ["?"])[0],
        model_type=str(config.get("model_type", "?")),
        parameters=parameters,
        bytes=sum(shard.stat().st_size for shard in shards),
        context=_context(config),
        dtype=dtype,
    )


def read_config(folder: Path) -> dict:
    """config.json of `folder`; raises UserError when missing, broken, or when it asks for code of its own."""
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"The folder {folder.name!r} has no config.json.", _NEEDS)
    config = read_small_json(path)
    if config.get("auto_map"):
        raise UserError(
            f"The model in {folder.name!r} needs Python code from its repository, which this app never runs.",
            "Choose a model of an architecture that transformers itself contains.",
        )
    if config.get("is_encoder_decoder"):
        raise UserError(
            f"{config.get('model_type', 'This model')!r} is an encoder-decoder model.",
            "Choose a causal (decoder-only) model, such as Llama, Qwen, Mistral or GPT-2.",
        )
    return config


def read_small_json(path: Path) -> dict:
    """The JSON object in `path`; raises UserError when it is too large, broken or no object."""
    if path.stat().st_size > _LARGEST_JSON:
        raise UserError(f"{path.name} has {path.stat().st_size:,} bytes; at most {_LARGEST_JSON:,} are read.", _NEEDS)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path.name} is not valid JSON ({str(error)[:80]}).", "Copy the model folder again."
        ) from error
    if not isinstance(value, dict):
        raise UserError(f"{path.name} holds no JSON object.", "Copy the model folder again.")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the weights; raises UserError when there are none, or one is missing."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(_index_names(index))
        # transformers joins these names to the folder unchecked: "../x" would read outside it.
        bad = sorted(n for n in names if not n.endswith(".safetensors") or Path(n).name != n or "\\" in n)
        if bad:
            raise UserError(
                f"{index.name} names {bad[0][:80]!r}, which is not a safetensors file of this folder.",
                "Do not use this model: its index is damaged or made to read other files.",
            )
    else:
        names = {"model.safetensors"}
    missing = sorted(n for n in names if not (folder / n).is_file())
    if missing:
        raise UserError(*_why_no_weights(folder, missing))
    return [folder / name for name in sorted(names)]


def _index_names(index: Path) -> list[str]:
    weight_map = read_small_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise UserError(f"{index.name} has no weight_map.", "Copy the model folder again.")
    return list(weight_map.values())


def _why_no_weights(folder: Path, missing: list[str]) -> tuple[str, str]:
    if any(file.suffix in PICKLES for file in folder.iterdir()):
        return (
            f"The folder {folder.name!r} has its weights only in a pickle file (.bin or .pt), which can run code.",
            "Convert it with save_pretrained(…, safe_serialization=True) where you trust it, and choose that folder.",
        )
    return f"The folder {folder.name!r} has no weights: {missing[0]} is missing.", _NEEDS


def _count_parameters(path: Path) -> tuple[int, str]:
    """Number of values in a safetensors file and the type of the first tensor, from its header alone."""
    broken = UserError(f"{path.name} is not a whole safetensors file.", "Copy the model folder again.")
    with open(path, "rb") as file:
        head = file.read(8)
        size = struct.unpack("<Q", head)[0] if len(head) == 8 else _LARGEST_HEADER + 1
        if size > _LARGEST_HEADER:
            raise broken
        try:
            header = json.loads(file.read(size))
            tensors = [entry for name, entry in header.items() if name != "__metadata__"]
            end = max((entry["data_offsets"][1] for entry in tensors), default=0)
            count = sum(_product(entry["shape"]) for entry in tensors)
        except (ValueError, RecursionError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise broken from error
    if path.stat().st_size < 8 + size + end:
        raise broken
    return count, tensors[0]["dtype"] if tensors else ""


def _product(shape: list[int]) -> int:
    total = 1
    for length in shape:
        total *= int(length)
    return total


def _context(config: dict) -> int:
    for key in ("max_position_embeddings", "n_positions", "n_ctx", "seq_length"):
        if isinstance(config.get(key), int):
            return config[key]
    return 0
