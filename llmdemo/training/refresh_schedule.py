"""When each matrix's subspace is refreshed: at a fixed gap, staggered over the steps, or at a gap of the matrix's own.

With `adaptive_gap`, each matrix starts at a gap of FIRST_GAP steps, and a refresh that finds nearly the subspace it
had doubles it, up to `update_proj_gap`: the layer-adaptive lazy update of Q-GaLore (arXiv 2407.08296). Knows nothing of
how a subspace is found.
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
FIRST_GAP = 10
"""adaptive_gap: steps between a matrix's first refreshes."""
SAME_OVERLAP = 0.5
"""adaptive_gap: from this mean squared cosine between old and new subspace on, the gap doubles."""


class RefreshSchedule:
    """Marks the slots that are due. `step` counts optimizer steps from 0."""

    def __init__(self, slots: Sequence[GradientAccumulator], config: TrainConfig):
        self._slots, self._config = slots, config
        self._in_rounds = False
        self._gaps: dict[str, int] = {}
        self._last: dict[str, int] = {}
        """adaptive_gap: each matrix's own gap, and the step from which it counts, by the matrix's name."""

    def in_rounds(self) -> None:
        """From now on the refreshes that are due within some steps come together: the steps between are all alike."""
        self._in_rounds = True

    def mark(self, step: int) -> None:
        """Sets `due` of each slot for this step."""
        work, room = REFRESH_FLOPS, FIRST_SHARE * sum(slot.weight.numel() for slot in self._slots)
        first = True
        for index, slot in enumerate(self._slots):
            if slot.subspace.ready and slot.name in self._gaps:
                gap = self._gaps[slot.name]
                slot.due = step >= self._rounded(self._last[slot.name] + gap, gap)
            elif not self._config.stagger:
                slot.due = step % self._config.update_proj_gap == 0 or not slot.subspace.ready
            elif slot.subspace.ready:
                gap = self._config.update_proj_gap
                slot.due = (step - self._rounded(index * gap // len(self._slots), gap)) % gap == 0
            else:
                size = slot.weight.numel()
                work, room = work - 8 * size * slot.subspace.rank, room - size
                # The first in line always gets its turn, however large it is.
                slot.due = first or (work > 0 and room >= 0)
                first = False

    def _rounded(self, step: int, gap: int) -> int:
        """The round that `step` falls into; never so few rounds a gap that more than FIRST_SHARE comes at once."""
        return step - step % max(1, min(ROUND_STEPS, int(gap * FIRST_SHARE))) if self._in_rounds else step

    def refreshed(self, slot: GradientAccumulator, step: int, overlap: float | None) -> None:
        """To be told of each refresh; `overlap` as in `Refresh`."""
        if not self._config.adaptive_gap:
            return
        most = self._config.update_proj_gap
        gap = self._gaps.get(slot.name)
        if gap is None or overlap is None:
            # The second refreshes come half a gap to one and a half after the first, which were all within a few steps.
            gap = min(FIRST_GAP, most)
            index = next(i for i, other in enumerate(self._slots) if other is slot)
            step += index * gap // len(self._slots) - gap // 2 if self._config.stagger else 0
        elif overlap >= SAME_OVERLAP:
            gap = min(2 * gap, most)
        self._gaps[slot.name], self._last[slot.name] = gap, step

    def state(self) -> dict[str, list[int]]:
        """[gap, step of the last refresh] by matrix; JSON-able. Empty without adaptive_gap."""
        return {name: [gap, self._last[name]] for name, gap in self._gaps.items()}

    def load_state(self, state: dict[str, list[int]]) -> None:
        """Takes back what `state` gave."""
        self._gaps = {name: int(gap) for name, (gap, _) in state.items()}
        self._last = {name: int(last) for name, (_, last) in state.items()}
