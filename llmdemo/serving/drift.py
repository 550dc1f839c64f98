"""Whether what is asked has changed: the model's surprise at the latest prompts against that at the first ones.

A two-sample Kolmogorov-Smirnov test of a sliding window against the reference (scipy), of level and of spread, corrected
for how often it is asked (Bonferroni). Knows numbers only: no model, no text.
"""

import threading
from collections import deque
from typing import Any

REFERENCE, WINDOW, EVERY = 100, 30, 5
"""Requests that the others are compared with; the latest ones that are compared; how often, in requests."""
RATE, HORIZON = 0.01, 1000
"""At most so likely is a false alarm within so many requests."""
THRESHOLD = RATE * EVERY / HORIZON
"""The p-value below which a single test raises the alarm."""


class Drift:
    """`add` the surprise of each prompt, in nats a token. An alarm stays until `reset`. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._reference: list[float] = []
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._seen, self._p = 0, 1.0
        self.alarm_at: int | None = None
        """How many requests had come when the alarm was raised; None without one."""

    def reset(self) -> None:
        """What comes from now on is the new reference."""
        with self._lock:
            self._begin()

    def add(self, surprise: float) -> bool:
        """Whether the alarm is raised, by this value or by an earlier one."""
        with self._lock:
            self._seen += 1
            if len(self._reference) < REFERENCE:
                self._reference.append(surprise)
                return False
            self._window.append(surprise)
            if len(self._window) >= WINDOW // 2 and self._seen % EVERY == 0 and self.alarm_at is None:
                self._p = _p_value(self._reference, list(self._window))
                if self._p < THRESHOLD:
                    self.alarm_at = self._seen
            return self.alarm_at is not None

    def to_dict(self) -> dict[str, Any]:
        """{seen, reference, window: mean surprises or None, p: of the last test, alarm_at: requests or None}."""
        with self._lock:
            return {
                "seen": self._seen,
                "reference": _mean(self._reference),
                "window": _mean(self._window),
                "p": float(f"{self._p:.3g}"),
                "alarm_at": self.alarm_at,
            }


def _p_value(reference: list[float], window: list[float]) -> float:
    """Of the values and of their distances from the reference's median: a mixture of new topics spreads more than it
    shifts. Twice the smaller one, as there are two tests."""
    from scipy.stats import ks_2samp  # a second to import, and needed after a hundred requests only

    middle = sorted(reference)[len(reference) // 2]
    far = [[abs(value - middle) for value in values] for values in (reference, window)]
    return min(1.0, 2 * min(float(ks_2samp(reference, window).pvalue), float(ks_2samp(*far).pvalue)))


def _mean(values: Any) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
