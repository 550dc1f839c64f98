"""The model of a run at one of its kept steps, RUN@STEP: a folder like any other, made when it is asked for.

The weights are put together from what training/steps.py kept: coefficients in a basis, adapters, factors, whole tensors.
Numbers are multiplied in float32 by NumPy; imports no torch.
"""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.models.check import INDEX as SHARDS
from llmdemo.models.check import weight_files
from llmdemo.models.files import read_object

FOLDER, MADE = "steps", "at"
INDEX, START = "index.json", "start.safetensors"
LOW, REST, BITS = "|low", "|rest", "|bf16"
"""What ends the names of coefficients in a basis, of what rounding left beside them, and of values that are bfloat16's 16
bits."""
MOST_MADE = 3
"""Steps of one run whose models lie on the disk at a time."""
_PEFT = re.compile(r"\.(base_layer|modules_to_save\.default)(?=\.)")


def file_of(step: int) -> str:
    return f"step-{step:06d}.safetensors"


def plain_name(name: str) -> str:
    """The name of a tensor without what peft puts around it."""
    return _PEFT.sub("", name).removeprefix("base_model.model.")


def steps_of(run_dir: Path) -> list[int]:
    """The steps whose weights are kept, in order; [] where none are."""
    index = _index(run_dir)
    known = [step for step in index.get("steps", []) if type(step) is int and step >= 0]
    folder = run_dir / FOLDER
    return sorted({step for step in known if (folder / (file_of(step) if step else START)).is_file()})


def made_at(run_dir: Path, step: int) -> Path:
    """The folder of the model at `step`, made where it is not there yet. Raises UserError for a step that is not kept."""
    target = run_dir / MADE / f"step-{step:06d}"
    with store.locked(run_dir / f"{MADE}.lock"):
        if (target / "config.json").is_file():
            target.touch()
            return target
        _check(run_dir, step)
        scratch = run_dir / MADE
        scratch.mkdir(exist_ok=True)
        with store.whole_folder(target, scratch) as folder:
            _make(run_dir, step, folder)
        made = sorted(scratch.glob("step-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in made[MOST_MADE:]:
            shutil.rmtree(old, ignore_errors=True)
    return target


def _index(run_dir: Path) -> dict:
    try:
        return read_object(run_dir / FOLDER / INDEX, 2**20)
    except (OSError, UserError):
        return {}


def _check(run_dir: Path, step: int) -> None:
    run_id, known, index = run_dir.name, steps_of(run_dir), _index(run_dir)
    if not known:
        raise UserError("err_no_kept_steps", run_id=run_id)
    if step not in known:
        near = sorted(known, key=lambda each: abs(each - step))[:2]
        told = {"run_id": run_id, "step": step, "near": " or ".join(f"{run_id}@{each}" for each in sorted(near))}
        every, asked = index.get("every"), index.get("asked")
        if every != asked and type(asked) is int and asked and step % asked == 0 and step < known[-1]:
            raise UserError("err_step_thinned", every=every, **told)
        raise UserError("err_step_not_kept", last=known[-1], **told)


def _make(run_dir: Path, step: int, folder: Path) -> None:
    """Writes the model's files: those of the run's model with other weights, in float32."""
    base = run_dir / "model"
    try:
        weights = weights_at(run_dir, step)
        shards = weight_files(base)
        for file in base.iterdir():
            if file.is_file() and file not in shards and file.name != SHARDS:
                shutil.copyfile(file, folder / file.name)
        tensors = _of_template(shards, weights)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError("err_steps_damaged", run_id=run_dir.name, step=step) from error
    if weights:
        raise UserError("err_steps_names", run_id=run_dir.name, name=sorted(weights)[0][:80])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "origin.json"):
        told = json.loads((folder / name).read_text(encoding="utf-8"))
        told |= {key: "float32" for key in ("dtype", "torch_dtype") if key in told}
        told |= {"at_step": step} if name == "origin.json" else {}
        store.write_json(folder / name, told)


def _of_template(shards: list[Path], weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of the run's model, with `weights` in place of theirs; what is taken leaves `weights`."""
    found: dict[str, np.ndarray] = {}
    for shard in shards:
        for name, tensor in _tensors(shard).items():
            own = weights.pop(name, None)
            if own is not None and own.shape != tensor.shape:
                raise ValueError(name)
            found[name] = np.ascontiguousarray(tensor if own is None else own)
    return found


def weights_at(run_dir: Path, step: int) -> dict[str, np.ndarray]:
    """{name: float32 values} of all that the run trained, at a kept step, by the names of the model's files."""
    folder, index = run_dir / FOLDER, _index(run_dir)
    start = _tensors(folder / START)
    if not step:
        return _joined({name: tensor for name, tensor in start.items()}, start, float(index.get("scale") or 1.0))
    path = folder / file_of(step)
    with safe_open(path, "np") as file:
        bases, units = (json.loads((file.metadata() or {}).get(key, "{}")) for key in ("bases", "units"))
    kept, vectors = _tensors(path), _bases(folder, bases)
    for name in bases:
        low, basis, first = kept.pop(f"{name}{LOW}"), vectors[name], start[name]
        # [m, r] × [r, n], or [m, r] × [n, r]ᵀ where the right side was projected.
        moved = basis @ low if low.shape[1] == first.shape[1] and basis.shape[0] == first.shape[0] else low @ basis.T
        kept[name] = first + moved
        kept[name] += _of_4_bits(kept.pop(f"{name}{REST}"), first.shape) * np.float32(units[name])
    return _joined(kept, start, float(index.get("scale") or 1.0))


def _of_4_bits(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What training.steps.in_4_bits packed, in units."""
    counts = np.empty(2 * len(packed), np.float32)
    counts[0::2], counts[1::2] = packed & 15, packed >> 4
    return counts[: math.prod(shape)].reshape(shape) - np.float32(8)


def _bases(folder: Path, names: dict[str, str]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for own in set(names.values()):
        if Path(own).name != own:
            raise ValueError(own)
        with safe_open(folder / own, "np") as file:
            found |= {name: file.get_tensor(name) for name, where in names.items() if where == own}
    return found


def _joined(kept: dict[str, np.ndarray], start: dict[str, np.ndarray], scale: float) -> dict[str, np.ndarray]:
    """Adapters added to their matrices, factors multiplied, names as in the model's files."""
    found: dict[str, np.ndarray] = {}
    for name, tensor in kept.items():
        if name.endswith(".lora_A.default.weight"):
            own = plain_name(name.removesuffix(".lora_A.default.weight")) + ".weight"
            added = kept[name.replace(".lora_A.", ".lora_B.")] @ tensor * np.float32(scale)
            first = start[own]
            found[own] = first + (added if added.shape == first.shape else added.T)
        elif name.endswith(".down"):
            found[name.removesuffix(".down") + ".weight"] = kept[name.removesuffix(".down") + ".up"] @ tensor
        elif not name.endswith((".lora_B.default.weight", ".up")) and plain_name(name) not in found:
            found[plain_name(name)] = tensor
    return found


def _tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file as float32 by their names; 16 bits of bfloat16, kept as such or in the file's type, exactly."""
    found: dict[str, np.ndarray] = {}
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            raw, shape = file.read(end - begin), entry["shape"]
            if entry["dtype"] == "BF16" or name.endswith(BITS):
                values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
            elif entry["dtype"] in ("F32", "F16"):
                values = np.frombuffer(raw, {"F32": np.float32, "F16": np.float16}[entry["dtype"]]).astype(np.float32)
            elif entry["dtype"] == "U8":
                values = np.frombuffer(raw, np.uint8)
            else:
                raise ValueError(entry["dtype"])
            found[name.removesuffix(BITS)] = values.reshape(shape)
    return found
