"""Figures over the steps of one run, kept small, and thinned for a plot. Knows nothing of files or pages.

The columns in METRICS are always there; others (of tasks that come with figures of their own) begin with the
first row that has them.
"""

from array import array
from math import inf, nan

import numpy as np

METRICS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_bytes")
_OWN = {"step", "seconds", "average", "weight"}
_COLUMNS = ("step", "seconds", *METRICS, "average", "weight")
MOST_ROWS = 2**17
"""Rows kept a run: 9 MiB. A longer run is thinned to half of that, its extremes kept."""
MOST_EXTRA = 12
"""Columns beside METRICS: a worker that makes up names fills no memory."""
SMOOTHING = 0.95
"""The share of the past in the smoothed loss at each step (an exponential average without start-up bias)."""


class Series:
    """Rows by step. A missing figure is NaN inside and left out of what is given away."""

    def __init__(self, most_rows: int = MOST_ROWS):
        self._rows = {name: array("d") for name in _COLUMNS}
        self._most = most_rows

    def __len__(self) -> int:
        return len(self._rows["step"])

    def add(self, step: float, seconds: float, figures: dict[str, float | None]) -> None:
        """One row; `figures` by name, None where there is none. Names outside METRICS become columns of their own."""
        rows = self._rows
        self._widen(figures)
        average, weight = (rows["average"][-1], rows["weight"][-1]) if len(self) else (0.0, 0.0)
        loss = figures.get("loss")
        if loss is not None:
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            weight = SMOOTHING * weight + (1 - SMOOTHING)
        rows["step"].append(step)
        rows["seconds"].append(seconds)
        rows["average"].append(average)
        rows["weight"].append(weight)
        for name in rows.keys() - _OWN:
            value = figures.get(name)
            rows[name].append(nan if value is None else value)
        if len(self) >= self._most:
            self._take(thin(np.nan_to_num(np.array(rows["loss"]), nan=0.0), self._most // 2))

    def _widen(self, figures: dict[str, float | None]) -> None:
        """A column for each new name that has a figure, without figures in the rows until now."""
        for name in figures.keys() - self._rows.keys():
            if figures[name] is not None and len(self._rows) < len(_COLUMNS) + MOST_EXTRA:
                self._rows[name] = array("d", [nan]) * len(self)

    def cut_after(self, step: float) -> None:
        """Forgets the rows after `step`: a run that resumes from there does them again."""
        count = len(self)
        while count and self._rows["step"][count - 1] > step:
            count -= 1
        for column in self._rows.values():
            del column[count:]

    def last(self, name: str) -> float | None:
        """The newest figure, or None."""
        value = self._rows[name][-1] if len(self) else nan
        return None if value != value else value

    def smoothed(self) -> float | None:
        return self._rows["average"][-1] / self._rows["weight"][-1] if len(self) and self._rows["weight"][-1] else None

    def curves(self, max_points: int) -> dict[str, dict[str, list]]:
        """{metric: {step, seconds, value}} with at most `max_points` each; metrics without a figure are left out."""
        columns = {name: np.array(values) for name, values in self._rows.items()}
        with np.errstate(invalid="ignore", divide="ignore"):
            columns["loss_smoothed"] = columns["average"] / columns["weight"]
        drawn = ("loss", "loss_smoothed", *METRICS[1:], *sorted(columns.keys() - set(_COLUMNS) - {"loss_smoothed"}))
        named = {name: curve(columns["step"], columns["seconds"], columns[name], max_points) for name in drawn}
        return {name: each for name, each in named.items() if each["step"]}

    def _take(self, keep: np.ndarray) -> None:
        self._rows = {name: array("d", np.array(values)[keep]) for name, values in self._rows.items()}


def curve(step: np.ndarray, seconds: np.ndarray, value: np.ndarray, max_points: int) -> dict[str, list]:
    """The points with a finite value, thinned to `max_points`, as {step: [int], seconds: [float], value: [float]}."""
    finite = np.isfinite(value)
    step, seconds, value = step[finite], seconds[finite], value[finite]
    keep = thin(value, max_points)
    return {
        "step": step[keep].astype(np.int64).tolist(),
        "seconds": np.round(seconds[keep], 3).tolist(),
        "value": value[keep].tolist(),
    }


def thin(values: np.ndarray, max_points: int) -> np.ndarray:
    """Which of `values` (n,) to draw: ascending indices, at most max(`max_points`, 4) of them.

    The first, the last, and of each of equal parts the smallest and the largest, so that no spike is lost.
    """
    count = len(values)
    if count <= max_points:
        return np.arange(count)
    parts = max(1, (max_points - 2) // 2)
    width = -(-count // parts)
    missing = parts * width - count
    starts = np.arange(parts) * width
    low = np.pad(values, (0, missing), constant_values=inf).reshape(parts, width).argmin(axis=1) + starts
    high = np.pad(values, (0, missing), constant_values=-inf).reshape(parts, width).argmax(axis=1) + starts
    keep = np.unique(np.concatenate(([0, count - 1], low, high)))
    return keep[keep < count]
