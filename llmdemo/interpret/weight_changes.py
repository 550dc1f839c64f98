"""How far training moved each weight matrix: ‖ΔW‖/‖W‖, effective rank, and the share inside GaLore's subspaces.

Read from the files of the base model, of the tuned one and of the run's checkpoint, one matrix at a time: memory is bounded
by the largest matrix. Knows no page and no run's settings.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from llmdemo.core.errors import UserError

_MOST_SIDE = 1024
"""Longest side whose singular values are computed; a longer one is first multiplied by a random matrix."""


@dataclass(frozen=True)
class Change:
    """Of one matrix."""

    name: str
    layer: int | None
    """Its layer, from 0; None outside of the layers."""
    kind: str
    """Its name inside of a layer, such as self_attn.q_proj."""
    shape: tuple[int, int]
    relative: float | None
    """‖ΔW‖ / ‖W‖, Frobenius norms, W before training; None where W was zero and moved, or where a value is not finite."""
    effective_rank: float | None
    """exp of the entropy of ΔW's normalised singular values (Roy and Vetterli 2007); None where nothing moved."""
    sketched: bool
    """Whether the effective rank is that of a projection onto _MOST_SIDE random directions: at most that, and on the low
    side."""
    inside: float | None
    """Share of ‖ΔW‖² in the subspace that GaLore had last; None where the matrix was not projected."""
    by_chance: float | None
    """The same share of a random subspace of its rank."""

    def to_dict(self) -> dict:
        return asdict(self)


class Changes:
    """The matrices that both models have in the same shape, in the base model's order."""

    def __init__(self, before: Path, after: Path, checkpoint: Path | None = None):
        """before, after: model folders; checkpoint: of the run, for its subspaces. Raises UserError for folders that do
        not belong together."""
        self._before, self._after = _files_of(before), _files_of(after)
        bases = _files_in([checkpoint / "optimizer.safetensors"]) if checkpoint else {}
        self._bases = {name: file for name, file in bases.items() if name.startswith("basis/")}
        with ExitStack() as stack:
            opened = _Opened(stack)
            self.names = [
                name
                for name in sorted(self._before.keys() & self._after.keys(), key=_in_order)
                if len(shape := opened.shape(self._before[name], name)) == 2
                and shape == opened.shape(self._after[name], name)
            ]
        if not self.names:
            raise UserError("err_no_common_weights")

    def measured(self, start: int = 0) -> Iterator[Change]:
        """Each matrix from the `start`th on, computed when it is asked for."""
        with ExitStack() as stack:
            opened = _Opened(stack)
            for name in self.names[start:]:
                yield self._measure(opened, name)

    def _measure(self, opened: "_Opened", name: str) -> Change:
        before = opened.tensor(self._before[name], name).float()  # (m, n)
        change = opened.tensor(self._after[name], name).float().sub_(before)
        norm, moved = float(before.norm()), float(change.norm())
        layer, kind = layer_of(name)
        shape = (change.shape[0], change.shape[1])
        if not math.isfinite(norm + moved):  # training that diverged: there is nothing to decompose
            return Change(name, layer, kind, shape, None, None, False, None, None)
        rank, sketched = effective_rank(change) if moved else (None, False)
        inside, by_chance = self._share(opened, name, change) if moved else (None, None)
        relative = 0.0 if not moved else moved / norm if norm else None
        return Change(name, layer, kind, shape, relative, rank, sketched, inside, by_chance)

    def _share(self, opened: "_Opened", name: str, change: Tensor) -> tuple[float | None, float | None]:
        """(share of ΔW inside the subspace, share by chance); None, None where it has none."""
        module = name.removesuffix(".weight")
        found, chance = change, 1.0
        sides = [side for side in ("left", "right") if f"basis/{module}/{side}" in self._bases]
        for side in sides:
            basis = self._basis(opened, f"basis/{module}/{side}")
            left = side == "left"
            if basis.shape[0 if left else 1] != change.shape[0 if left else 1]:
                return None, None  # a layer whose weight is kept the other way round (Conv1D)
            found = basis.T @ found if left else found @ basis.T
            chance *= basis.shape[1 if left else 0] / basis.shape[0 if left else 1]
        if not sides:
            return None, None
        return float((found.norm() / change.norm()).square()), chance

    def _basis(self, opened: "_Opened", key: str) -> Tensor:
        basis = opened.tensor(self._bases[key], key).float()
        scale = f"{key}_scale"
        return basis * opened.tensor(self._bases[scale], scale).float() if scale in self._bases else basis


def effective_rank(matrix: Tensor) -> tuple[float, bool]:
    """(exp of the entropy of the normalised singular values of `matrix` [m, n], whether it was sketched)."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    sketched = matrix.shape[0] > _MOST_SIDE
    if sketched:
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn((_MOST_SIDE, matrix.shape[0]), generator=generator)
        matrix = directions @ matrix
    gram = matrix @ matrix.T
    values = (
        torch.linalg.eigvalsh(gram.double()).clamp_min(0).sqrt()
    )  # singular values, of a side of _MOST_SIDE at most
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp()), sketched


def layer_of(name: str) -> tuple[int | None, str]:
    """(layer, name inside of it): model.layers.3.self_attn.q_proj.weight → (3, self_attn.q_proj)."""
    parts = name.removesuffix(".weight").split(".")
    at = next((n for n, part in enumerate(parts) if part.isdigit()), None)
    return (None, parts[-1]) if at is None else (int(parts[at]), ".".join(parts[at + 1 :]))


def _in_order(name: str) -> tuple:
    layer, kind = layer_of(name)
    return (-1 if layer is None else layer, kind)


class _Opened:
    """Files that are read from, each opened once."""

    def __init__(self, stack: ExitStack):
        self._stack = stack
        self._files: dict[Path, Any] = {}

    def _of(self, path: Path):
        if path not in self._files:
            try:
                self._files[path] = self._stack.enter_context(safe_open(path, "pt"))
            except (OSError, SafetensorError) as error:
                raise UserError("err_weights_unreadable", name=path.name) from error
        return self._files[path]

    def keys(self, path: Path) -> list[str]:
        return list(self._of(path).keys())

    def shape(self, path: Path, name: str) -> list[int]:
        return self._of(path).get_slice(name).get_shape()

    def tensor(self, path: Path, name: str) -> Tensor:
        return self._of(path).get_tensor(name)


def _files_of(folder: Path) -> dict[str, Path]:
    return _files_in(sorted(folder.glob("*.safetensors")))


def _files_in(paths: list[Path]) -> dict[str, Path]:
    """{tensor: the file that it is in}."""
    with ExitStack() as stack:
        opened = _Opened(stack)
        return {name: path for path in paths if path.is_file() for name in opened.keys(path)}
