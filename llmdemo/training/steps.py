"""Keeps a run's weights at many of its steps, so that the model can be looked at as it learned.

A matrix that GaLore projects moves inside of the spans of its bases: what is kept of a step is its coefficients there,
r × n numbers for m × n, where the matrix is that product within fp32 rounding, which is measured at every step; and the
rounding, which adds up over the steps, in 4 bits a value. Adapters and factors are kept as they are, all other tensors
whole. models/steps.py makes models of it again. Knows no
queue and no page.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llmdemo.core import store
from llmdemo.core.sentences import readable_size, say
from llmdemo.models import steps as kept_steps
from llmdemo.models.steps import BITS, INDEX, LOW, REST, START
from llmdemo.settings.training import TrainConfig
from llmdemo.training import best
from llmdemo.training.checkpoint import separate
from llmdemo.training.loop import Loop

EXACT = 1e-6
"""How far a matrix may be from its product, of its largest value: fp32 has 24 bits, 6e-8, and each step rounds again."""
_WHOLE_FROM = 0.75
"""Coefficients in more than this share of a matrix's rank save too little: it is kept whole."""


class StepWriter:
    """Called after each step of `loop`; writes what is due into run_dir/steps. One process only writes."""

    def __init__(self, run_dir: Path, loop: Loop, config: TrainConfig, report: Callable):
        self._folder = run_dir / kept_steps.FOLDER
        self._loop, self._config, self._report = loop, config, report
        self._slots = {f"{slot.name}.weight": slot for slot in loop.optimizer.slots}
        self._limit = int(config.keep_steps_gb * 1e9)
        self._bases: dict[str, tuple[str, Tensor]] = {}
        """By matrix: the file and the orthonormal basis [size, rank] of all its subspaces so far."""
        self._new: set[str] = set()
        index = _read(self._folder / INDEX)
        self._every = int(index.get("every") or config.keep_steps)
        self._steps = [int(step) for step in index.get("steps", [])]
        self._full = bool(index.get("full"))

    # ---- before the run

    def promise(self) -> str:
        """What is kept, and what it takes at the most: said before the first step."""
        each = sum(self._size_of(name, tensor) for name, tensor in best.trained(self._loop.model).items())
        sizes = {"each": readable_size(each), "limit": readable_size(self._limit)}
        return say("note_steps_kept", every=self._every, **sizes)

    def _size_of(self, name: str, tensor: Tensor) -> int:
        slot = self._slots.get(name)
        if slot is None:
            return tensor.numel() * tensor.element_size()
        return math.prod(slot.subspace.low_shape) * tensor.element_size() + tensor.numel() // 2

    def begin(self) -> None:
        """Writes what all steps are told from, and step 0, or goes on after the step that the loop was restored at."""
        step = self._loop.progress.step
        if (self._folder / START).is_file():
            self._steps = [each for each in self._steps if each <= step]
            self._take_bases()
            return
        if step:
            self._full = True  # its beginning is not known any more
            return
        self._folder.mkdir(exist_ok=True)
        start = self._start()
        if sum(t.numel() * t.element_size() for t in start.values()) > self._limit:
            return self._give_up()
        _write(self._folder / START, start, {})
        self._steps = [0]
        self._tell()

    def _start(self) -> dict[str, Tensor]:
        """The values that the run begins from: of the matrices that are projected or adapted, and of whatever is trained."""
        found: dict[str, Tensor] = {}
        for name, parameter in self._loop.model.named_parameters():
            if parameter.requires_grad or ".base_layer." in name:
                found |= _packed(kept_steps.plain_name(name) if ".base_layer." in name else name, parameter)
        return found

    # ---- after each step

    @torch.no_grad()
    def __call__(self, step: int) -> None:
        if self._full:
            return
        for name, _ in self._loop.refreshed:
            self._widen(f"{name}.weight")
        if step % self._every == 0 or step >= self._config.max_steps:
            self._save(step)

    def _widen(self, name: str) -> None:
        """Adds a matrix's newest subspace to the span of those before."""
        slot = self._slots.get(name)
        if slot is None:
            return
        left, right = slot.subspace.left, slot.subspace.right
        basis = left if left is not None else right.T  # type: ignore[union-attr]  # a refreshed one has either
        own = basis.detach().to("cpu", torch.float64)  # [m, r], or [n, r] where the right side is projected
        known = self._bases.get(name)
        if known is not None:
            own = torch.cat([known[1].double(), own], 1)
        if own.shape[1] <= _WHOLE_FROM * min(slot.weight.shape):
            self._bases[name] = "", torch.linalg.qr(own).Q.float()
            self._new.add(name)
        else:
            self._bases[name] = "", own.new_empty(own.shape[0], own.shape[1], dtype=torch.float32)[:, :0]

    def _save(self, step: int) -> None:
        if step in self._steps:
            return
        self._write_bases(step)
        tensors: dict[str, Tensor] = {}
        bases: dict[str, str] = {}
        units: dict[str, float] = {}
        with safe_open(self._folder / START, "pt") as start:
            known = set(start.keys())
            for name, tensor in best.trained(self._loop.model).items():
                low = self._coefficients(name, tensor, start, known)
                if low is None:
                    tensors |= _packed(name, tensor)
                else:
                    tensors[f"{name}{LOW}"], rest = low
                    tensors[f"{name}{REST}"], units[name] = in_4_bits(rest)
                    bases[name] = self._bases[name][0]
        told = {"bases": json.dumps(bases), "units": json.dumps(units)}
        _write(self._folder / kept_steps.file_of(step), tensors, told)
        self._steps.append(step)
        self._thin()
        self._tell()

    def _coefficients(self, name: str, tensor: Tensor, start, known: set[str]) -> tuple[Tensor, Tensor] | None:
        """([rank, n] or [m, rank] of what the matrix moved by, in its basis; [m, n] what rounding left beside it); None
        where more than rounding is beside it."""
        slot, basis = self._slots.get(name), self._bases.get(name)
        if slot is None or basis is None or not basis[1].shape[1] or tensor.dtype != torch.float32:
            return None
        now, vectors = tensor.detach().cpu(), basis[1]
        first = _unpacked(name, start, known)
        moved = now - first
        left = slot.subspace.left is not None
        low = vectors.T @ moved if left else moved @ vectors
        rest = now - (first + (vectors @ low if left else low @ vectors.T))
        return (low.contiguous(), rest) if rest.abs().max() <= EXACT * now.abs().max() else None

    def _write_bases(self, step: int) -> None:
        if self._new:
            file = f"basis-{step:06d}.safetensors"
            _write(self._folder / file, {name: self._bases[name][1] for name in sorted(self._new)}, {})
            self._bases |= {name: (file, self._bases[name][1]) for name in self._new}
            self._new = set()

    def _take_bases(self) -> None:
        """The newest basis of each matrix, as a run that goes on had it at its newest kept step."""
        if not self._steps or not self._steps[-1]:
            return
        with safe_open(self._folder / kept_steps.file_of(self._steps[-1]), "pt") as file:
            bases = json.loads((file.metadata() or {}).get("bases", "{}"))
        for name, own in bases.items():
            with safe_open(self._folder / own, "pt") as file:
                self._bases[name] = own, file.get_tensor(name)

    # ---- the bound

    def _thin(self) -> None:
        """Leaves out every other step, the first and the newest kept, until what is kept is within its bound."""
        while store.folder_bytes(self._folder) > self._limit:
            newest = self._steps[-1]
            self._every *= 2
            left = [step for step in self._steps if step % self._every == 0 or step == newest]
            if left == self._steps and len(left) <= 2:
                left = [0]
            gone = set(self._steps) - set(left)
            self._steps = left
            for step in gone:
                (self._folder / kept_steps.file_of(step)).unlink(missing_ok=True)
            self._drop_unused_bases()
            if left == [0]:
                return self._give_up()

    def _drop_unused_bases(self) -> None:
        used = {file for file, _ in self._bases.values()}
        for step in self._steps[1:]:
            with safe_open(self._folder / kept_steps.file_of(step), "pt") as file:
                used |= set(json.loads((file.metadata() or {}).get("bases", "{}")).values())
        for path in self._folder.glob("basis-*"):
            if path.name not in used:
                path.unlink()

    def _give_up(self) -> None:
        self._full = True
        self._report("note", message=say("note_steps_do_not_fit", limit=round(self._limit / 1e9, 3)))
        self._tell()

    def _tell(self) -> None:
        size = store.folder_bytes(self._folder)
        index = {"steps": self._steps, "every": self._every, "asked": self._config.keep_steps, "full": self._full}
        index |= {"scale": self._config.scale, "bytes": size}
        store.write_json(self._folder / INDEX, index)
        self._report("kept_steps", steps=self._steps, every=self._every, bytes=size)


def in_4_bits(values: Tensor) -> tuple[Tensor, float]:
    """(two values a byte, the first in the lower half, as 1 … 15 around 8; the unit they count).

    What is beyond 7 units counts 7. A unit of 0.335 standard deviations leaves the least squared error of normal values in
    fifteen levels (Max 1960, table I); values that end before that need no larger one than their largest asks for.
    """
    unit = min(values.abs().max().item() / 7, 0.335 * values.square().mean().sqrt().item())
    counts = (values / unit if unit else values).round().clamp(-7, 7).to(torch.int8).add_(8).view(torch.uint8).flatten()
    counts = torch.nn.functional.pad(counts, (0, counts.numel() % 2))
    return counts[0::2] | counts[1::2] << 4, unit


def _packed(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """The tensor as it is, or as the 16 bits of a bfloat16 where these are all of it."""
    tensor = tensor.detach().cpu()
    half = tensor.to(torch.bfloat16)
    if tensor.dtype == torch.bfloat16 or torch.equal(half.to(tensor.dtype), tensor):
        return {f"{name}{BITS}": half.contiguous().view(torch.int16)}
    return {name: tensor.contiguous()}


def _unpacked(name: str, file, known: set[str]) -> Tensor:
    if f"{name}{BITS}" in known:
        return file.get_tensor(f"{name}{BITS}").view(torch.bfloat16).float()
    return file.get_tensor(name).float()


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    aside = path.with_suffix(".part")
    try:
        save_file(separate(tensors), aside, metadata=metadata)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _read(path: Path) -> dict:
    try:
        index = store.read_json(path)
    except (OSError, ValueError, RecursionError, SafetensorError):
        return {}
    return index if isinstance(index, dict) else {}
