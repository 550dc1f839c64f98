"""How an evaluation on its way tells how far it is, and learns that it should stop. Knows nothing of models."""

import time

from llmdemo.evaluation.folder import JobFolder

_EVERY_SECONDS = 0.5


class Stopped(Exception):
    """Somebody asked the evaluation to stop."""


class Job:
    """The worker's side of an evaluation's folder."""

    def __init__(self, folder: JobFolder):
        self.folder = folder
        self._phases: list[tuple[str, str]] = []
        self._phase, self._begun, self._fresh, self._written = -1, 0.0, 0, 0.0
        self._looked = (0.0, False)

    def plan(self, phases: list[tuple[str, str]]) -> None:
        """What will be done: (kind, title) of each phase in order. Kinds: loading, answers, losses, judging, …"""
        self._phases, self._phase = phases, -1

    def next_phase(self) -> None:
        self._phase = min(self._phase + 1, len(self._phases) - 1)
        self._begun, self._fresh = time.monotonic(), 0
        self.tell(0, 0, force=True)

    def tell(self, done: int, total: int, fresh: int = 0, under_way: float = 0.0, force: bool = False) -> None:
        """`done` of `total` in this phase; `fresh` of them were computed just now rather than found.

        `under_way`: what the next ones on their way are worth, in records.
        """
        self.check()
        self._fresh += fresh
        worked = self._fresh + under_way
        now = time.monotonic()
        if not force and done < total and now - self._written < _EVERY_SECONDS:
            return
        self._written = now
        kind, title = self._phases[self._phase] if self._phases else ("", "")
        pace = (now - self._begun) / worked if worked else None  # seconds a record
        self.folder.write(
            "progress",
            {
                "phase": kind,
                "title": title,
                "number": self._phase + 1,
                "phases": len(self._phases),
                "done": done,
                "under_way": round(under_way, 2),
                "total": total,
                "eta_seconds": self._left(pace, total - done - under_way, total),
            },
        )

    def should_stop(self) -> bool:
        """Whether a stop was asked for; looks at the disk a few times a second at most."""
        now = time.monotonic()
        if not self._looked[1] and now - self._looked[0] > 0.1:
            self._looked = (now, self.folder.stop.exists())
        return self._looked[1]

    def check(self) -> None:
        """Raises Stopped once a stop was asked for."""
        if self.should_stop():
            raise Stopped()

    def _left(self, pace: float | None, rest: float, total: int) -> float | None:
        """Seconds of this phase and of the phases of the same kind that follow it, which take about as long."""
        if pace is None:
            return None
        kind = self._phases[self._phase][0] if self._phases else ""
        others = sum(other == kind for other, _ in self._phases[self._phase + 1 :])
        return round(pace * (rest + others * total), 1)
