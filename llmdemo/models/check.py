"""Whether a folder holds a model that may be loaded: plain safetensors, no code, no pickles. Imports no torch.

Knows nothing of where the folder came from; load.py calls this before every load, because a folder can
change between the listing and the loading.
"""

import importlib.util
import json
import os
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.models.fields import check_counts, check_fields
from llmdemo.models.files import open_plain, read_object, require_plain

_NEEDS = say("needs_model_folder")
_LARGEST_CONFIG = 4 * 2**20
_LARGEST_INDEX = 32 * 2**20
_LARGEST_HEADER = 16 * 2**20
_MOST_HEADERS = 64 * 2**20
"""Bytes of all headers of a model together: 91,000 tensors of the largest open models take 12 MB."""
_MOST_DIMENSIONS = 8
_READERS = ("ForMaskedLM", "ForPreTraining", "ForTokenClassification", "ForQuestionAnswering")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
# What makes transformers read other files than those that are checked here: other weights, pickles among them and names
# that lead out of the folder; another config.
_ELSEWHERE = ("transformers_weights", "configuration_files")
_QUANTISERS = {"gptq": "gptqmodel", "awq": "gptqmodel", "bitsandbytes": "bitsandbytes", "hqq": "hqq", "eetq": "kernels"}
_QUANTISERS |= {"compressed-tensors": "compressed_tensors", "torchao": "torchao", "quanto": "optimum", "aqlm": "aqlm"}
_QUANTISERS |= {"auto-round": "auto_round", "vptq": "vptq", "spqr": "spqr_quant", "fp8": "kernels", "mxfp4": "kernels"}


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
    try:
        return _facts(folder)
    except OSError as error:  # no right to read it, or it went while it was read
        raise UserError(
            "err_folder_unreadable", folder=repr(folder.name[:80]), reason=error.strerror or error
        ) from error


def _facts(folder: Path) -> ModelFacts:
    if not folder.is_dir():
        raise UserError("err_not_a_folder", _NEEDS, folder=repr(str(folder)))
    config = read_config(folder)
    _check_companions(folder)
    require_plain(folder)
    shards = weight_files(folder)
    parameters, dtype, tensors, largest, room = 0, "", 0, 0, _MOST_HEADERS
    for shard in shards:
        header, size = _read_header(shard, room)
        room -= size
        parameters, dtype = (
            parameters + sum(prod(shape) for shape, _ in header),
            dtype or (header[0][1] if header else ""),
        )
        tensors += len(header)
        largest = max([largest, *(number for shape, _ in header for number in shape)])
    check_counts(config, tensors, largest)
    return ModelFacts(
        architecture=_architecture(config),
        model_type=config.get("model_type", "?"),
        parameters=parameters,
        bytes=sum(shard.stat().st_size for shard in shards),
        context=_context(config),
        dtype=dtype,
    )


def read_config(folder: Path) -> dict:
    """config.json of `folder`; raises UserError when missing or broken, when it asks for code or files of its own."""
    path = folder / "config.json"
    if not os.path.lexists(path):
        raise UserError("err_no_config", _NEEDS, name=repr(folder.name))
    config = read_object(path, _LARGEST_CONFIG)
    for key in _ELSEWHERE:
        if _holds(config, key):
            raise UserError("err_odd_config_key", folder=repr(folder.name), key=repr(key))
    if config.get("is_encoder_decoder"):
        raise UserError("err_encoder_decoder", model_type=repr(str(config.get("model_type", "This model"))[:80]))
    if not isinstance(config.get("model_type", ""), str):
        raise UserError("err_model_type")
    if config.get("auto_map"):
        _check_known(folder, config)
    _check_quantiser(config.get("quantization_config"))
    check_fields(config)
    return config


def _check_known(folder: Path, config: dict) -> None:
    """Raises UserError for a model that brings code of its own, unless transformers holds its architecture itself.

    Then the code is left alone: configs and models are only ever read with trust_remote_code=False.
    """
    if not _is_known(config.get("model_type")):
        raise UserError("err_needs_code", folder=repr(folder.name), model_type=str(config.get("model_type"))[:60])


def _is_known(model_type) -> bool:
    """Whether transformers has this architecture; mostly told from its folder, as importing it takes seconds."""
    if not isinstance(model_type, str) or not model_type.replace("-", "_").isidentifier():
        return False
    spec = importlib.util.find_spec("transformers")
    if (
        spec
        and spec.origin
        and (Path(spec.origin).parent / "models" / model_type.replace("-", "_") / "__init__.py").is_file()
    ):
        return True
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return model_type in CONFIG_MAPPING_NAMES


def _holds(config: dict, key: str) -> bool:
    """Whether `key` stands anywhere in it: of a model of several parts, transformers reads one part's config alone."""
    left = [config]
    while left:  # no recursion: a file may nest deeper than Python calls
        value = left.pop()
        if isinstance(value, dict):
            if key in value:
                return True
            left += value.values()
        elif isinstance(value, list):
            left += value
    return False


def _check_quantiser(said) -> None:
    """Raises UserError for quantised weights that need a package which is not here."""
    if said is None:
        return
    method = said.get("quant_method") if isinstance(said, dict) else None
    if isinstance(said, dict) and (said.get("load_in_4bit") or said.get("load_in_8bit")):
        method = "bitsandbytes"
    if not isinstance(method, str):
        raise UserError("err_quant_method")
    package = _QUANTISERS.get(method)
    if package and importlib.util.find_spec(package) is None:
        raise UserError("err_quantised", method=method, package=package)


def _architecture(config: dict) -> str:
    names = config.get("architectures")
    if names is None or names == []:
        return "?"
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError("err_architectures", names=repr(str(names)[:60]))
    return names[0]


def _check_companions(folder: Path) -> None:
    """Raises UserError for files that transformers would read beside, or instead of, the weights that are checked."""
    names = {path.name for path in folder.iterdir()}
    if ADAPTER in names:
        raise UserError("err_adapter", folder=repr(folder.name), file=ADAPTER)
    others = sorted(name for name in names if name.endswith(".safetensors.index.json") and name != INDEX)
    if others:
        raise UserError("err_two_indexes", folder=repr(folder.name), other=repr(others[0][:80]), index=INDEX)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the weights; raises UserError when there are none, or one is missing."""
    index = folder / INDEX
    if index.is_file():
        names = set(_index_names(index))
        # transformers joins these names to the folder unchecked: "../x" would read outside it.
        bad = sorted(n for n in names if not n.endswith(".safetensors") or Path(n).name != n or "\\" in n)
        if bad:
            raise UserError("err_odd_index", index=index.name, file=repr(bad[0][:80]))
    else:
        names = {"model.safetensors"}
    missing = sorted(n for n in names if not (folder / n).is_file())
    if missing:
        raise _why_no_weights(folder, missing)
    return [folder / name for name in sorted(names)]


def _index_names(index: Path) -> list[str]:
    weight_map = read_object(index, _LARGEST_INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise UserError("err_no_weight_map", name=index.name)
    return list(weight_map.values())


def _why_no_weights(folder: Path, missing: list[str]) -> UserError:
    if any(file.suffix in PICKLES for file in folder.iterdir()):
        return UserError("err_pickle_weights", folder=repr(folder.name))
    return UserError("err_no_weights", _NEEDS, folder=repr(folder.name), missing=missing[0])


def _read_header(path: Path, room: int) -> tuple[list[tuple[list[int], str]], int]:
    """([(shape, type) of each tensor], bytes) of the header of a safetensors file, of `room` bytes at the most."""
    broken = UserError("err_no_safetensors", name=path.name)
    handle, length = open_plain(path)
    with os.fdopen(handle, "rb") as file:
        head = file.read(8) if length >= 8 else b""
        size = struct.unpack("<Q", head)[0] if len(head) == 8 else length
        if size > length - 8:
            raise broken
        if size > min(room, _LARGEST_HEADER):
            raise UserError("err_large_header", name=path.name, size=size)
        try:
            header = json.loads(file.read(size))
            tensors = [_tensor(entry) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise broken from error
    if length < 8 + size + max((end for _, _, end in tensors), default=0):
        raise broken
    return [(shape, dtype) for shape, dtype, _ in tensors], size


def _tensor(entry: dict) -> tuple[list[int], str, int]:
    """(shape, type, end of the data) of one tensor in a header; ValueError and the like where it is none."""
    (begin, end), shape, dtype = entry["data_offsets"], entry["shape"], entry["dtype"]
    if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(dtype)
    if not all(type(number) is int and 0 <= number < 2**63 for number in (begin, end, *shape)):
        raise ValueError(begin, end, shape)
    if prod(shape) >= 2**63:
        raise ValueError(shape)
    return shape, dtype, end


def _context(config: dict) -> int:
    for key in ("max_position_embeddings", "n_positions", "n_ctx", "seq_length"):
        if type(config.get(key)) is int and 0 < config[key] < 2**53:
            return config[key]
    return 0
