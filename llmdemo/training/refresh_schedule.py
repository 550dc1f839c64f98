"""When each matrix's subspace is refreshed: at a fixed gap, staggered over the steps. Knows nothing of how one is found.

Gaps of each matrix's own, doubled while its subspace stayed alike (Q-GaLore, arXiv 2407.08296), were tried and gave
nothing in 84 steps: tests/benchmarks/README.md, "Defaults in three orders".
"""

from collections.abc import Sequence

from llmdemo.settings.training import TrainConfig
from llmdemo.training.gradients import GradientAccumulator

REFRESH_FLOPS = 1.2e12
"""Most work that the first refreshes may do in one step (some 30 ms of an H100)."""
FIRST_SHARE = 1 / 4
"""Most of all projected values that get their first subspace in one step: until then their full gradients exist."""
ROUND_STEPS = 10
"""Steps between two rounds of refreshes, where they come in rounds."""


class RefreshSchedule:
    """Marks the slots that are due. `step` counts optimizer steps from 0."""

    def __init__(self, slots: Sequence[GradientAccumulator], config: TrainConfig):
        self._slots, self._config = slots, config
        self._in_rounds = False

    def in_rounds(self) -> None:
        """From now on the refreshes that are due within some steps come together: the steps between are all alike."""
        self._in_rounds = True

    def mark(self, step: int) -> None:
        """Sets `due` of each slot for this step."""
        work, room = REFRESH_FLOPS, FIRST_SHARE * sum(slot.weight.numel() for slot in self._slots)
        gap, count, first = self._config.update_proj_gap, len(self._slots), True
        for index, slot in enumerate(self._slots):
            if not self._config.stagger:
                slot.due = step % gap == 0 or not slot.subspace.ready
            elif slot.subspace.ready:
                slot.due = (step - self._rounded(index * gap // count, gap)) % gap == 0
            else:
                size = slot.weight.numel()
                work, room = work - 8 * size * slot.subspace.rank, room - size
                # The first in line always gets its turn, however large it is.
                slot.due = first or (work > 0 and room >= 0)
                first = False

    def _rounded(self, step: int, gap: int) -> int:
        """The round that `step` falls into; never so few rounds a gap that more than FIRST_SHARE comes at once."""
        return step - step % max(1, min(ROUND_STEPS, int(gap * FIRST_SHARE))) if self._in_rounds else step
