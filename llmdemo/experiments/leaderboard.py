"""The rows of an experiment: how each of its runs is, and what it has reached. Knows nothing of what happens next."""

import math
from typing import cast

from llmdemo.core.errors import NotNow, UserError
from llmdemo.experiments.reading import Reading
from llmdemo.experiments.sweep import Kept, Sweep, TrialKept
from llmdemo.jobs.states import FINAL

DELETED = "deleted"
OVER = (*FINAL, DELETED)
"""States of a row from which nothing comes any more."""
_STATUS = ("state", "reason", "message", "step", "total_steps", "eta_seconds", "queue_position", "model_id", "attempt")


class Leaderboard:
    """Reads runs, each event once. Not for several threads at a time: its owner holds a lock."""

    def __init__(self, runs) -> None:
        self._runs = runs
        self._readings: dict[str, tuple[Reading, int]] = {}

    def rows(self, sweep: Sweep) -> list[dict]:
        """One dict a trial: its label, varied settings and rung; the run's state; Reading's figures and curves.

        Of a run that was deleted, what was kept of it.
        """
        return [self._row(trial) for trial in sweep.trials]

    def _row(self, trial: TrialKept) -> dict:
        about = {key: trial.get(key) for key in ("run_id", "label", "varied", "rung")}
        kept = trial.get("kept")
        run_id = trial["run_id"]
        if not run_id:
            return {**Reading().figures(), **dict.fromkeys(_STATUS), **about, "state": "planned", "curves": None}
        try:
            status = self._runs.status(run_id)
        except NotNow:  # it may be there: the list is being made again
            raise
        except UserError:
            return {
                **Reading().figures(),
                **dict.fromkeys(_STATUS),
                **(kept or {}),
                **about,
                "state": DELETED,
                "model_id": None,
            }
        shown = {key: status.get(key) for key in _STATUS}
        if kept and (kept["state"], kept["attempt"]) == (shown["state"], shown["attempt"]):
            self.forget(run_id)
            return {**kept, **about, **shown}
        reading = self._read(run_id)
        return {**reading.figures(), "curves": reading.curves(), **about, **shown}

    def _read(self, run_id: str) -> Reading:
        reading, offset = self._readings.setdefault(run_id, (Reading(), 0))
        while True:
            events, reached = self._runs.events(run_id, offset)
            reading.feed(events)
            if reached == offset:
                break
            offset = reached
        self._readings[run_id] = (reading, offset)
        return reading

    def forget(self, run_id: str) -> None:
        """Frees what was read of a run whose row is kept."""
        self._readings.pop(run_id, None)


def kept(row: dict) -> Kept:
    """What is kept of the row of a run that is over."""
    figures = {key: value for key, value in row.items() if key not in ("run_id", "label", "varied", "rung")}
    return cast(Kept, figures)


def score(row: dict) -> float | None:
    """What is compared, lower is better: the held-out loss, or the training loss where nothing is held out."""
    value = row["eval_loss"] if row["eval_loss"] is not None else row["loss"]
    return value if value is not None and math.isfinite(value) else None


def best(rows: list[dict]) -> dict | None:
    """The completed row with the lowest score among those of the last round that has one."""
    done = [row for row in rows if row["state"] == "completed" and score(row) is not None]
    return min(done, key=lambda row: (-row["rung"], score(row))) if done else None


def seconds_left(rows: list[dict], rungs: list, at_once: int) -> float | None:
    """What is left to do at the speed that was seen so far; None before there is any."""
    pace = [row["seconds"] / row["step"] for row in rows if row["seconds"] and row["step"]]
    if not pace:
        return None
    typical, total = sum(pace) / len(pace), 0.0
    known = next((row["total_steps"] for row in rows if row["total_steps"]), 0)
    last = max((row["rung"] for row in rows), default=0)
    for row in rows:
        if row["state"] not in OVER:
            steps = row["total_steps"] or (rungs[row["rung"]][1] if rungs else known)
            total += row["eta_seconds"] or typical * max(0, steps - (row["step"] or 0))
    total += sum(typical * count * steps for count, steps in rungs[last + 1 :])
    return round(total / max(1, at_once), 1)
