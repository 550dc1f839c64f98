"""Where a run stands, and the steps that were started and not told of yet. Plain values."""

from dataclasses import dataclass, field

import torch

from llmdemo.training.subspace import Refresh


@dataclass
class Progress:
    """Where the run stands; kept in each checkpoint."""

    step: int = 0
    tokens: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    loss: float | None = None
    eval_loss: float | None = None
    first_eval_loss: float | None = None
    first_eval: dict = field(default_factory=dict)
    last_eval: dict = field(default_factory=dict)
    """All figures of the first and of the newest evaluation."""
    best: dict = field(default_factory=dict)
    """The best evaluation so far, as best.Best.to_dict has it; {} before there is one."""
    last_compared: dict = field(default_factory=dict)
    """Figures of the newest evaluation on the records that all evaluations have."""
    since_best: int = 0
    """Evaluations since then."""


@dataclass
class Step:
    """One that was started: what is told of it, once its figures are there."""

    step: int
    tokens: int
    all_tokens: int
    rate: float
    started: float
    refreshed: list
    names: tuple[str, ...]
    values: torch.Tensor
    """[3 + names] the loss, the norm, 1 if it was left out, the figures."""
    arrived: "torch.cuda.Event | None" = None
    """When the values are on the host; None: they are."""


def told_refresh(name: str, found: Refresh) -> dict:
    """What is told of a refreshed subspace."""
    overlap = None if found.overlap is None else round(found.overlap, 5)
    return {"name": name, "energy": round(found.energy, 5), "overlap": overlap}
