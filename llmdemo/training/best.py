"""Which evaluation of a run is its best, and the weights that the model had then: one file in the run's folder.

The file holds the trained weights alone (of LoRA: the adapters), in the type that they are trained in, with the step and
its figures in the header and a hash of the tensors, so that a resumed run knows what it has. It is replaced in one go.
Knows nothing of events and of how a model is published.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from llmdemo.core import store
from llmdemo.core.sentences import readable_size
from llmdemo.settings.training import OWN_FIGURES, TrainConfig
from llmdemo.training.checkpoint import separate
from llmdemo.training.quantised import quantised_layers

FOLDER = "best"
_FILE = "weights.safetensors"


@dataclass(frozen=True)
class Best:
    """The best evaluation so far: its step, its figures, and what it is compared by (the lower tuple is better)."""

    step: int
    figures: dict[str, float]
    order: tuple[float, ...]

    def to_dict(self) -> dict:
        """JSON-able; `of_dict` takes it back, bit for bit."""
        return asdict(self)

    @property
    def loss(self) -> float:
        return self.figures["loss"]


def of_dict(value) -> Best | None:
    """What `to_dict` gave; None for anything else, since a run's folder may come from elsewhere."""
    try:
        figures = {str(name): float(figure) for name, figure in value["figures"].items()}
        found = Best(int(value["step"]), figures, tuple(float(each) for each in value["order"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    known = [*found.order, *found.figures.values()]
    return found if "loss" in figures and found.order and all(map(math.isfinite, known)) else None


def order_of(figures: dict[str, float], config: TrainConfig) -> tuple[float, ...] | None:
    """What an evaluation is compared by: its loss; or the task's own figure, the higher the better, and among equal
    ones the loss, so that a figure that never moves leaves the choice to the loss. None where one is no finite number.
    """
    loss = figures.get("loss", math.nan)
    order: tuple[float, ...] = (loss,)
    if config.best_by == "figure":
        order = (-figures.get(OWN_FIGURES[config.task], math.nan), loss)
    return order if all(map(math.isfinite, order)) else None


def has_evaluations_between(config: TrainConfig) -> bool:
    """Whether the run is evaluated on the way, and not only before its first step and after its last."""
    return 0 < config.eval_steps < config.max_steps


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The trained weights by name; no copies. Of a quantised matrix its parts, as NAME.weight/high."""
    found = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    for name, layer in quantised_layers(model).items():
        found.pop(f"{name}.weight", None)
        found |= {f"{name}.weight/{part}": tensor for part, tensor in layer.matrix.state().items()}
    return found


def bytes_of(model: nn.Module) -> int:
    """Size of the file of `model`'s trained weights."""
    return sum(t.numel() * t.element_size() for t in trained(model).values())


def check_room(run_dir: Path, needed: int) -> None:
    """Raises OSError where the disk has fewer than `needed` bytes free."""
    free = store.free_bytes(run_dir)
    if free < 1.05 * needed:
        raise OSError(
            28,
            f"the weights of the best evaluation need {readable_size(needed)} while they are replaced, "
            f"{readable_size(free)} are free; with best_by last none are kept",
        )


def keep(run_dir: Path, weights: dict[str, Tensor], best: Best) -> None:
    """Puts these weights in the place of those kept before, in one go. Raises OSError where the disk has no room."""
    check_room(run_dir, sum(t.numel() * t.element_size() for t in weights.values()))
    path = _path(run_dir)
    path.parent.mkdir(exist_ok=True)
    aside = path.with_suffix(".part")
    weights = separate(weights)
    told = {"best": json.dumps(best.to_dict(), allow_nan=False), "sha256": _hash(weights, weights.__getitem__)}
    try:
        save_file(weights, aside, metadata=told)
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    store.sync_folder(path.parent)


def kept(run_dir: Path) -> Best | None:
    """Whose weights are kept, if they are whole: their hash is looked at."""
    try:
        with safe_open(_path(run_dir), "pt") as file:
            told = file.metadata() or {}
            whole = _hash(file.keys(), file.get_tensor) == told.get("sha256")
            return of_dict(json.loads(told.get("best", ""))) if whole else None
    except (OSError, ValueError, RecursionError, SafetensorError):
        return None


def fits(run_dir: Path, model: nn.Module) -> bool:
    """Whether the kept weights are those of a model like this one: the same names and shapes."""
    try:
        with safe_open(_path(run_dir), "pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return False
    return found == {name: tuple(tensor.shape) for name, tensor in trained(model).items()}


@torch.no_grad()
def load_into(run_dir: Path, model: nn.Module) -> None:
    """Gives `model` the kept weights, one tensor after another: there is never a second copy of them all."""
    weights = trained(model)
    with safe_open(_path(run_dir), "pt") as file:
        for name in file.keys():  # noqa: SIM118
            weights[name].copy_(file.get_tensor(name))


def drop(run_dir: Path) -> None:
    """Removes what is kept: it is published."""
    for path in (_path(run_dir), _path(run_dir).with_suffix(".part")):
        path.unlink(missing_ok=True)
    folder = run_dir / FOLDER
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _path(run_dir: Path) -> Path:
    return run_dir / FOLDER / _FILE


def _hash(names: Iterable[str], tensor_of: Callable[[str], Tensor]) -> str:
    """Of names and values, tensor by tensor; nothing but one of them is copied from a GPU at a time."""
    found = hashlib.sha256()
    for name in sorted(names):
        tensor = tensor_of(name).detach().cpu().contiguous()
        found.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    return found.hexdigest()
