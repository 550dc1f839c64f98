"""How an evaluation on its way tells how far it is, in phases. Knows nothing of models."""

import time

from llmdemo.evaluation.folder import EvaluationFolder
from llmdemo.jobs.worker import Worker


class Job(Worker):
    """The worker's side of an evaluation."""

    folder: EvaluationFolder

    def __init__(self, folder: EvaluationFolder):
        super().__init__(folder)
        self._phases: list[tuple[str, str]] = []
        self._phase, self._begun, self._fresh = -1, 0.0, 0

    def plan(self, phases: list[tuple[str, str]]) -> None:
        """What will be done: (kind, title) of each phase in order. Kinds: loading, answers, losses, judging, …"""
        self._phases, self._phase = phases, -1

    def next_phase(self) -> None:
        self._phase = min(self._phase + 1, len(self._phases) - 1)
        self._begun, self._fresh = time.monotonic(), 0
        self.tell(0, 0)

    def tell(self, done: int, total: int, fresh: int = 0, under_way: float = 0.0) -> None:
        """`done` of `total` in this phase; `fresh` of them were computed just now rather than found.

        `under_way`: what the next ones on their way are worth, in records. Raises Stopped once a stop was asked for.
        """
        self._fresh += fresh
        worked = self._fresh + under_way
        kind, title = self._phases[self._phase] if self._phases else ("", "")
        pace = (time.monotonic() - self._begun) / worked if worked else None  # seconds a record
        self.progress(
            force=done >= total,
            phase=kind,
            title=title,
            number=self._phase + 1,
            phases=len(self._phases),
            done=done,
            under_way=round(under_way, 2),
            total=total,
            eta_seconds=self._left(pace, total - done - under_way, total),
        )

    def _left(self, pace: float | None, rest: float, total: int) -> float | None:
        """Seconds of this phase and of the phases of the same kind that follow it, which take about as long."""
        if pace is None:
            return None
        kind = self._phases[self._phase][0] if self._phases else ""
        others = sum(other == kind for other, _ in self._phases[self._phase + 1 :])
        return round(pace * (rest + others * total), 1)
