"""What any of several processes wants: to stop, or to save. All do it at the same step.

Where the host runs ahead of a GPU, asking would make it wait in every step. There the wishes travel with the step's
figures, and are known when those are, at the same step in each process. Knows nothing of what is done then.
"""

import torch
from torch import Tensor

from llmdemo.training.reduce import sum_over_processes

STOP, SAVE = "stop", "save"


class Agreement:
    """Of `processes`; `ahead`: whether the host runs ahead of the device."""

    def __init__(self, processes: int, device: torch.device, ahead: bool):
        self._processes, self._device = processes, device
        self._wished = dict.fromkeys((STOP, SAVE), False) if ahead and processes > 1 else {}
        self._heard: set[str] = set()

    def at_once(self, wish: bool) -> bool:
        """Whether any process wants it."""
        return wish if self._processes == 1 else bool(sum_over_processes([float(wish)], self._device)[0])

    def between(self, kind: str, wish: bool) -> bool:
        """The same between two steps; where the host runs ahead, of the wishes of a step before."""
        if kind not in self._wished:
            return self.at_once(wish)
        self._wished[kind] = wish
        return kind in self._heard

    def figures(self, like: Tensor) -> dict[str, Tensor]:
        """This process's wishes, scalars to be summed with a step's figures; none where they are asked at once."""
        return {kind: like.new_full((), float(wish)) for kind, wish in self._wished.items()}

    def hear(self, told: dict[str, float]) -> None:
        """Takes the sums out of a step's figures."""
        self._heard |= {kind for kind in self._wished if told.pop(kind)}

    def saved(self) -> None:
        """Forgets the wishes to save: every process has, after all steps that were under way."""
        self._heard.discard(SAVE)
        if SAVE in self._wished:  # else the next step's figures would carry what has been done
            self._wished[SAVE] = False
