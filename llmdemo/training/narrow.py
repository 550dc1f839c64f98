"""In which type a run's weights are written: float32, or the base model's 16 bits where that is measured to cost nothing.

A short run moves a weight by less than half of what 16 bits can tell apart: rounded to the nearest, most weights would be
the base model's again, and the model that is tried would not be the one that was trained. Stochastic rounding keeps the
mean of what was learned and adds noise. Which of both is good enough, if any, only the held-out loss of the very files
can say; where nothing is held out, nothing is narrowed.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from llmdemo.core import store
from llmdemo.core.sentences import say, together
from llmdemo.models.check import INDEX, check_folder, weight_files
from llmdemo.training.on_host import on_host

ALLOWED = 0.005
"""Share of the run's last held-out loss by which that of the narrower files may differ."""
ALLOWED_OF_CHANGE = 0.05
"""Share of what the run changed that loss by: a run that changed it by less than ALLOWED must not be rounded away."""
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CPU = torch.device("cpu")
_AT_A_TIME, _AT_A_TIME_CPU = 2**24, 2**17
"""Values that are rounded by chance at a time, on a GPU and on a CPU."""
NEAR = 0.1
"""Share of what is allowed within which nearest rounding is taken without trying the other: at 1.7B that saves some 20 s."""
UNDONE = 0.25
"""Share of a run's change of the weights which nearest rounding takes back from which its loss is not asked, as judging it
takes half of a short run's end. Where a loss falls as a parabola and is least at the run's end, a share s of the way back
costs s² of what was gained: 0.06, above ALLOWED_OF_CHANGE, and more where it was still falling."""
_ROWS = 256
"""Rows of each tensor in which `undone` looks."""
_IN_FILES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

Judge = Callable[[Path], float | None]
"""The held-out loss of the model in a folder, read as any other model; None where it is no number."""


@dataclass(frozen=True)
class Losses:
    """A run's held-out loss before its first step and after its last; None where nothing is held out."""

    first: float | None = None
    last: float | None = None

    @property
    def allowed(self) -> float:
        """How far the loss of narrower files may be from `last`; 0 without one."""
        if self.last is None:
            return 0.0
        change = abs(self.last - self.first) if self.first is not None else float("inf")
        return min(ALLOWED * abs(self.last), ALLOWED_OF_CHANGE * change)


@dataclass(frozen=True)
class Written:
    """How a run's weights were written, and why so."""

    dtype: str
    rounding: str = ""
    """nearest or stochastic, where the weights were rounded."""
    loss: float | None = None
    """Held-out loss of the files, where it was measured."""
    run_loss: float | None = None
    """The run's own last held-out loss."""
    message: str = ""

    def to_dict(self) -> dict:
        """JSON-able."""
        return asdict(self)

    def row(self) -> str:
        """In a few words, for a table."""
        loss = "" if self.loss is None else f"; held-out loss of these files {self.loss:.5g}"
        return f"{self.dtype}{f', {self.rounding} rounding' if self.rounding else ''}{loss}"


def dtype_of(folder: Path) -> str:
    """The type of the weights in a model's files: a key of TYPES; float32 for any other."""
    return _IN_FILES.get(check_folder(folder).dtype, "float32")


def narrow(
    folder: Path,
    wanted: str,
    base: Path,
    losses: Losses,
    judge: Judge,
    device: torch.device = _CPU,
    autocasts: bool = False,
) -> Written:
    """Rounds the float32 weights in the model's `folder`, in place, where that is asked or measured to cost nothing.

    wanted: auto, float32 or bfloat16 (TrainConfig.publish_dtype); base: the base model's folder. `auto` takes the type of
    its files if the held-out loss of ours stays within `losses.allowed`; bfloat16 is done as asked, with the better
    rounding, and what it costs is told. `device` rounds. autocasts: whether the run's loss is of its weights rounded to the
    nearest, so that nearest rounding is judged in any case: its files have the run's own loss.
    """
    run_loss = losses.last
    target = dtype_of(base) if wanted == "auto" else wanted
    if target == "float32":
        return Written("float32", run_loss=run_loss)
    if run_loss is None and wanted == "auto":
        return Written("float32", message=say("note_float32_safe", target=target))
    if not _has_room(folder):
        return Written("float32", run_loss=run_loss, message=say("note_float32_no_room", target=target))
    roundings = _roundings(target)
    if wanted == "auto" and len(roundings) > 1 and not autocasts and undone(folder, base, TYPES[target]) > UNDONE:
        roundings = roundings[1:]
    found = _best(folder, target, roundings, losses, judge, device)
    within = _distance(found, run_loss) <= losses.allowed
    if wanted == "auto" and not within:
        _drop(folder)
        return Written("float32", run_loss=run_loss, message=_too_far(found, target, run_loss))
    if found is None:  # asked for, and nothing is held out: nearest is what everybody expects
        found = _round(folder, target, "nearest", device)
    _take(folder, found.rounding)
    return Written(target, found.rounding, found.loss, run_loss, _told(found, target, run_loss, within))


def _distance(found: Written | None, run_loss: float | None) -> float:
    """Between the held-out loss of files and the run's own; infinite where one is missing."""
    if found is None or found.loss is None or run_loss is None:
        return float("inf")
    return abs(found.loss - run_loss)


def _roundings(target: str) -> tuple[str, ...]:
    return ("nearest", "stochastic") if target == "bfloat16" else ("nearest",)


def undone(folder: Path, base: Path, dtype: torch.dtype) -> float:
    """The share, mostly in [0, 1], of the change from the model in `base` to that in `folder` that rounding to the nearest
    `dtype` takes back: the rounding's errors projected on the change. 0 where nothing was changed or can be compared."""
    back = change = 0.0
    with ExitStack() as stack:
        before: dict[str, Any] = {}  # by name the file that it is in
        for shard in weight_files(base):
            file = stack.enter_context(safe_open(shard, "pt"))
            before |= dict.fromkeys(file.keys(), file)
        for shard in weight_files(folder):
            after = stack.enter_context(safe_open(shard, "pt"))
            for name in before.keys() & set(after.keys()):
                ours, theirs = after.get_slice(name), before[name].get_slice(name)
                if ours.get_shape() and ours.get_shape() == theirs.get_shape():
                    now = ours[:_ROWS].float()
                    moved = (now - theirs[:_ROWS].float()).flatten()
                    back += torch.dot((now - now.to(dtype)).flatten(), moved).item()
                    change += torch.dot(moved, moved).item()
    return back / change if change else 0.0


def _best(
    folder: Path, target: str, roundings: tuple[str, ...], losses: Losses, judge: Judge, device: torch.device
) -> Written | None:
    """The rounding whose files come nearest to the run's loss, its files kept aside; None where nothing can be measured."""
    best, run_loss = None, losses.last
    if run_loss is None:
        return None
    for rounding in roundings:
        made = _round(folder, target, rounding, device)
        made = Written(made.dtype, rounding, judge(_aside(folder, rounding)))
        if made.loss is None or _distance(made, run_loss) >= _distance(best, run_loss):
            shutil.rmtree(_aside(folder, rounding))
            continue
        if best:
            shutil.rmtree(_aside(folder, best.rounding))
        best = made
        if _distance(best, run_loss) <= NEAR * losses.allowed:
            break
    return best


def _round(folder: Path, target: str, rounding: str, device: torch.device) -> Written:
    """Makes a whole model of the rounded weights beside those of `folder`; `device` computes them."""
    aside = _aside(folder, rounding)
    aside.mkdir()
    shards = weight_files(folder)
    for file in folder.iterdir():
        if file.is_file() and file not in shards:
            shutil.copyfile(file, aside / file.name)
    generator = torch.Generator(device).manual_seed(0)
    saved = 0
    for shard in shards:
        with safe_open(shard, "pt") as file:
            tensors = {}
            for name in file.keys():  # noqa: SIM118
                values = file.get_tensor(name)
                if rounding == "stochastic":  # a GPU draws the numbers in no time; one tensor at a time has room there
                    values = values.to(device)
                tensors[name] = on_host(rounded(values, TYPES[target], rounding, generator))
            saved += sum(t.numel() * t.element_size() for t in tensors.values())
            save_file(tensors, aside / shard.name, metadata=file.metadata())
    _say_type(aside, target, saved)
    return Written(target, rounding)


def rounded(values: Tensor, dtype: torch.dtype, rounding: str, generator: torch.Generator) -> Tensor:
    """`values` in `dtype`, if they are float32: to the nearest, or (bfloat16 only) up or down by chance, right in the mean.

    generator: on the values' device.
    """
    if values.dtype != torch.float32:
        return values
    if rounding == "nearest":
        return values.to(dtype)
    whole = values.contiguous()
    result = torch.empty(whole.shape, dtype=dtype, device=whole.device)
    # A few values at a time, so that what lies between stays in a processor's cache.
    size = _AT_A_TIME if whole.is_cuda else _AT_A_TIME_CPU
    for part, out in zip(whole.view(-1).split(size), result.view(-1).split(size), strict=True):
        out.copy_(_by_chance(part, generator))
    return result


def _by_chance(values: Tensor, generator: torch.Generator) -> Tensor:
    """float32 values [n] whose lower halves are 0; what is not finite, or would not be, stays as it is."""
    # bfloat16 is the upper half of float32: adding 0 … 65,535 carries into it as often as the lower half says.
    up = torch.randint(0, 1 << 16, values.shape, generator=generator, device=values.device, dtype=torch.int32)
    up = up.add_(values.view(torch.int32)).bitwise_and_(-0x10000).view(torch.float32)
    if values.is_cuda or not (values.isfinite().all() and up.isfinite().all()):  # a look would make a GPU wait
        return torch.where(torch.isfinite(values) & torch.isfinite(up), up, values)
    return up


def _say_type(folder: Path, dtype: str, saved: int) -> None:
    """Lets config.json and the index say what the files hold."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))  # transformers wrote it
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in ("dtype", "torch_dtype"):
            if part.get(key) == "float32":
                part[key] = dtype
    # not durable by itself: the whole folder is, once it is in its place
    (folder / "config.json").write_text(store.json_text(config), encoding="utf-8")
    index = folder / INDEX
    if index.is_file():
        told = json.loads(index.read_text(encoding="utf-8"))
        told["metadata"] = {**told.get("metadata", {}), "total_size": saved}
        index.write_text(store.json_text(told), encoding="utf-8")


def _aside(folder: Path, rounding: str) -> Path:
    return folder / rounding


def _take(folder: Path, rounding: str) -> None:
    """Puts the rounded model in the place of the float32 one."""
    aside = _aside(folder, rounding)
    for file in aside.iterdir():
        file.replace(folder / file.name)
    aside.rmdir()


def _drop(folder: Path) -> None:
    for rounding in ("nearest", "stochastic"):
        shutil.rmtree(_aside(folder, rounding), ignore_errors=True)


def _has_room(folder: Path) -> bool:
    """Whether both roundings have room on the disk beside the float32 files."""
    return store.free_bytes(folder) > 1.05 * sum(file.stat().st_size for file in weight_files(folder))


def _too_far(found: Written | None, target: str, run_loss: float | None) -> str:
    if found is None:
        return say("note_float32_no_loss", target=target)
    rounding = say(f"rounding_{found.rounding}")
    return say(
        "note_float32_too_far", target=target, loss=f"{found.loss:.5g}", rounding=rounding, own=f"{run_loss:.5g}"
    )


def _told(found: Written, target: str, run_loss: float | None, within: bool) -> str:
    if found.loss is None:
        return say("note_published_as_asked", target=target)
    rounding = say(f"rounding_{found.rounding}")
    said = say("note_published_in", target=target, rounding=rounding, loss=f"{found.loss:.5g}", own=f"{run_loss:.5g}")
    if within:
        return said
    return together(said, say("note_far_apart"))
