"""The model of a run at one of its kept steps, RUN@STEP: a folder like any other, made when it is asked for.

The weights are put together from what training/steps.py kept: coefficients in a basis, adapters, factors, whole tensors.
Numbers are multiplied in float32 by NumPy; imports no torch.
"""

import json
import math
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

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
_RAW = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32, "U8": np.uint8}
_THREADS = min(4, os.cpu_count() or 1)
_ONE_RUN = threading.Lock()
"""Held while BLAS is limited to one thread: of two at once, the later would set that back for good."""
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


def files_at(run_dir: Path, step: int) -> list[Path]:
    """The files that hold the weights of a kept step, without the bases."""
    start = run_dir / FOLDER / START
    return [start, run_dir / FOLDER / file_of(step)] if step else [start]


def made_at(run_dir: Path, step: int) -> Path:
    """The folder of the model at `step`, made where it is not there yet. Raises UserError for a step that is not kept."""
    target = run_dir / MADE / f"step-{step:06d}"
    with store.locked(run_dir / f"{MADE}.lock"):
        if (target / "config.json").is_file():
            target.touch()
            return target
        check_kept(run_dir, step)
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


def check_kept(run_dir: Path, step: int) -> None:
    """Raises UserError, which names the nearest that are, unless the step is kept."""
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
    with told_of_damage(run_dir, step):
        weights = KeptSteps(run_dir).weights(step)
        shards = weight_files(base)
        for file in base.iterdir():
            if file.is_file() and file not in shards and file.name != SHARDS:
                shutil.copyfile(file, folder / file.name)
        tensors = _of_template(shards, weights)
    if weights:
        raise UserError("err_steps_names", run_id=run_dir.name, name=sorted(weights)[0][:80])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "origin.json"):
        told = json.loads((folder / name).read_text(encoding="utf-8")) if (folder / name).is_file() else {}
        told |= {key: "float32" for key in ("dtype", "torch_dtype") if key in told}
        told |= {"at_step": step, "dtype": "float32"} if name == "origin.json" else {}
        store.write_json(folder / name, told)


@contextmanager
def told_of_damage(run_dir: Path, step: int) -> Iterator[None]:
    """What reading a damaged step raises is a UserError that says so."""
    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError("err_steps_damaged", run_id=run_dir.name, step=step) from error


def _of_template(shards: list[Path], weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of the run's model, with `weights` in place of theirs; what is taken leaves `weights`."""
    found: dict[str, np.ndarray] = {}
    for shard in shards:
        for name, tensor in _stored(shard).items():
            own = weights.pop(name, None)
            if own is not None and own.shape != tensor.raw.shape:
                raise ValueError(name)
            found[name] = np.ascontiguousarray(tensor.values() if own is None else own)
    return found


@dataclass(frozen=True)
class _Stored:
    """A tensor as its file holds it."""

    raw: np.ndarray
    """Its numbers; of a bfloat16 the 16 bits."""
    kind: str
    """The file's name of its type; BF16 also for 16 bits that were kept as such."""

    def values(self) -> np.ndarray:
        """The numbers as float32, exactly; bytes as they are."""
        if self.kind != "BF16":
            return self.raw if self.kind in ("F32", "U8") else self.raw.astype(np.float32)
        wide = self.raw.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)


class KeptSteps:
    """A run's kept steps; what all of them are told from is read at the first, and stays in memory as it was stored."""

    def __init__(self, run_dir: Path):
        self._folder = run_dir / FOLDER
        self._scale = float(_index(run_dir).get("scale") or 1.0)
        self._start: dict[str, _Stored] | None = None
        self._bases: dict[tuple[str, str], np.ndarray] = {}

    def weights(self, step: int) -> dict[str, np.ndarray]:
        """{name: float32 values} of all that the run trained, at a kept step, by the names of the model's files.

        The arrays may be read-only, and are not to be written to. Raises OSError, ValueError, KeyError or SafetensorError
        for files that are damaged.
        """
        if self._start is None:
            self._start = _stored(self._folder / START)
        start = self._start
        if not step:
            return self._joined({name: tensor.values for name, tensor in start.items()})
        path = self._folder / file_of(step)
        with safe_open(path, "np") as file:
            bases, units = (json.loads((file.metadata() or {}).get(key, "{}")) for key in ("bases", "units"))
        kept = _stored(path)
        self._read_bases(bases)
        made: dict[str, Callable[[], np.ndarray]] = {}
        for name, where in bases.items():
            low, rest = kept.pop(f"{name}{LOW}"), kept.pop(f"{name}{REST}")
            made[name] = partial(_moved, start[name], low, self._bases[where, name], rest, np.float32(units[name]))
        return self._joined({name: tensor.values for name, tensor in kept.items()} | made)

    def _read_bases(self, names: dict[str, str]) -> None:
        wanted = {(where, name) for name, where in names.items()}
        self._bases = {key: self._bases[key] for key in wanted if key in self._bases}
        for own in {where for where, name in wanted if (where, name) not in self._bases}:
            if Path(own).name != own:
                raise ValueError(own)
            with safe_open(self._folder / own, "np") as file:
                self._bases |= {(own, name): file.get_tensor(name) for name, where in names.items() if where == own}

    def _joined(self, kept: "dict[str, Callable[[], np.ndarray]]") -> dict[str, np.ndarray]:
        """Adapters added to their matrices, factors multiplied, names as in the model's files; matrix by matrix, on a few
        threads, as NumPy uses one for all but products. Of products too each takes one: OpenBLAS' own threads wait for one
        another in a busy loop, which beside other programs took four times the CPU's seconds and six times as long."""
        assert self._start is not None
        made: dict[str, Callable[[], np.ndarray]] = {}
        for name, tensor in kept.items():
            if name.endswith(".lora_A.default.weight"):
                own = plain_name(name.removesuffix(".lora_A.default.weight")) + ".weight"
                up = kept[name.replace(".lora_A.", ".lora_B.")]
                made[own] = partial(_adapted, self._start[own], tensor, up, np.float32(self._scale))
            elif name.endswith(".down"):
                up = kept[name.removesuffix(".down") + ".up"]
                made[name.removesuffix(".down") + ".weight"] = partial(_product, up, tensor)
            elif not name.endswith((".lora_B.default.weight", ".up")):
                made.setdefault(plain_name(name), tensor)
        with _ONE_RUN, threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
            return dict(zip(made, pool.map(lambda make: make(), made.values()), strict=True))


def _moved(first: _Stored, low: _Stored, basis: np.ndarray, rest: _Stored, unit: np.float32) -> np.ndarray:
    """first + basis · low + rest: [m, r] × [r, n], or [m, r] × [n, r]ᵀ where the right side was projected."""
    now, factor = first.values(), low.values()
    left = factor.shape[1] == now.shape[1] and basis.shape[0] == now.shape[0]
    moved = basis @ factor if left else factor @ basis.T
    moved += now
    moved += _of_4_bits(rest.raw, unit, now.size).reshape(now.shape)
    return moved


def _of_4_bits(packed: np.ndarray, unit: np.float32, count: int) -> np.ndarray:
    """The `count` values that training.steps.in_4_bits packed, looked up two at a time."""
    every = np.arange(256)
    pairs = np.stack((every & 15, every >> 4), 1).astype(np.float32) - np.float32(8)
    table = (pairs * unit).view(np.complex64)[:, 0]  # a pair of float32 is 8 bytes that are moved at once
    return table[packed].view(np.float32)[:count]


def _adapted(
    first: _Stored, down: "Callable[[], np.ndarray]", up: "Callable[[], np.ndarray]", scale: np.float32
) -> np.ndarray:
    values, added = first.values(), up() @ down() * scale
    return values + (added if added.shape == values.shape else added.T)


def _product(up: "Callable[[], np.ndarray]", down: "Callable[[], np.ndarray]") -> np.ndarray:
    return up() @ down()


def _stored(path: Path) -> dict[str, _Stored]:
    """All tensors of a file by their names, read whole."""
    found: dict[str, _Stored] = {}
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            kind = "BF16" if name.endswith(BITS) else entry["dtype"]
            begin, count = 8 + size + entry["data_offsets"][0], math.prod(entry["shape"])
            if not 0 <= begin <= begin + count * np.dtype(_RAW[kind]).itemsize <= path.stat().st_size:
                raise ValueError(name)
            file.seek(begin)
            raw = np.fromfile(file, _RAW[kind], count)
            found[name.removesuffix(BITS)] = _Stored(raw.reshape(entry["shape"]), kind)
    return found
