"""What a checkpoint holds of a loop, and how a loop goes on from it. checkpoint.py writes and reads the files."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from llmdemo.core.errors import UserError
from llmdemo.training import best as bests
from llmdemo.training.checkpoint import Checkpoint, rng_state, set_rng_state
from llmdemo.training.progress import Progress
from llmdemo.training.reduce import of_all_processes

if TYPE_CHECKING:
    from llmdemo.training.loop import Loop


def taken(loop: "Loop") -> Checkpoint:
    """Of a loop between two steps; called on all processes."""
    tensors, numbers = loop.optimizer.named_state()
    random = {
        f"{name}{process or ''}": state
        for name, own in rng_state().items()
        for process, state in enumerate(of_all_processes(own, loop.device))
    }
    groups = {"weights": bests.trained(loop.model), "optimizer": tensors, "random": random}
    known = {"optimizer": numbers, "progress": vars(loop.progress).copy(), "processes": _shares(loop)}
    made, told = loop.objective.state()
    if made:
        groups["objective"] = made
    if told:
        known["objective"] = told
    return Checkpoint(loop.progress.step, groups, known)


@torch.no_grad()
def restore(loop: "Loop", checkpoint: Checkpoint) -> None:
    """Goes on from `checkpoint` as if it had never ended. Raises UserError where another number of processes cannot."""
    _check_shares(loop, checkpoint.numbers.get("processes", {}))
    weights = bests.trained(loop.model)
    for name, tensor in checkpoint.groups["weights"].items():
        weights[name].copy_(tensor)
    loop.optimizer.load_state(checkpoint.groups["optimizer"], checkpoint.numbers["optimizer"])
    random = checkpoint.groups["random"]
    set_rng_state({name: random.get(f"{name}{loop.process or ''}", random[name]) for name in rng_state()})
    loop.objective.restore(checkpoint.groups.get("objective", {}), checkpoint.numbers.get("objective", {}))
    loop.progress = Progress(**checkpoint.numbers["progress"])


def _shares(loop: "Loop") -> dict:
    """Among how many processes the records of a step are shared, and how many records these are."""
    return {"count": loop.processes, "global_batch": loop.config.global_batch}


def _check_shares(loop: "Loop", kept: dict) -> None:
    """Another number of processes goes on exactly with the same records a step, unless each draws its own dropout."""
    now = _shares(loop)
    if not kept or kept["count"] == now["count"]:
        return
    if kept["global_batch"] != now["global_batch"]:
        batch, now_batch = kept["global_batch"], now["global_batch"]
        raise UserError("err_resume_batch", before=kept["count"], now=now["count"], batch=batch, now_batch=now_batch)
    if _drops(loop.model):
        raise UserError("err_resume_dropout", before=kept["count"], now=now["count"])


def _drops(model: nn.Module) -> bool:
    """Whether training draws random numbers inside of the model."""
    layers = (m.p > 0 for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd))
    return any(layers) or bool(getattr(getattr(model, "config", None), "attention_dropout", 0))
