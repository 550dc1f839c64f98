"""Whether what is asked has changed: the latest requests against the first ones, by the model's surprise at the prompts, a
classifier's confidence, or its classes.

A sliding window is tested against the reference, numbers by Kolmogorov and Smirnov's two-sample test of level and of spread,
classes by Fisher's exact test of each against the others (both scipy's), corrected for how many tests there are and how
often they are asked (Bonferroni). Knows numbers and names only: no model, no text.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

REFERENCE, WINDOW, EVERY = 100, 30, 5
"""Requests that the others are compared with; the latest ones that are compared; how often, in requests."""
RATE, HORIZON = 0.01, 1000
"""At most so likely is a false alarm within so many requests."""
THRESHOLD = RATE * EVERY / HORIZON
"""The p-value below which a single test raises the alarm."""


def ks_p_value(reference: Sequence[float], window: Sequence[float]) -> float:
    """Of the values and of their distances from the reference's median: a mixture of new topics spreads more than it
    shifts. Twice the smaller one, as there are two tests."""
    from scipy.stats import ks_2samp  # a second to import, and needed after a hundred requests only

    middle = sorted(reference)[len(reference) // 2]
    far = [[abs(value - middle) for value in values] for values in (reference, window)]
    return min(1.0, 2 * min(float(ks_2samp(reference, window).pvalue), float(ks_2samp(*far).pvalue)))


def classes_p_value(reference: Sequence[str], window: Sequence[str]) -> float:
    """The smallest of Fisher's exact tests, of each class against all others, times their number."""
    from scipy.stats import fisher_exact

    before, now = Counter(reference), Counter(window)
    classes = sorted({*before, *now})
    if len(classes) < 2:
        return 1.0
    tables = ([[before[name], len(reference) - before[name]], [now[name], len(window) - now[name]]] for name in classes)
    tests = 1 if len(classes) == 2 else len(classes)
    return min(1.0, tests * min(float(fisher_exact(table).pvalue) for table in tables))


class Drift:
    """`add` a value of each request (surprise in nats a token, say). An alarm stays until `reset`. Any thread may call it.

    test: (reference, window) → p-value; means are told of numbers only.
    """

    def __init__(self, test: Callable[[Sequence[Any], Sequence[Any]], float] = ks_p_value) -> None:
        self._test = test
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._reference: list[Any] = []
        self._window: deque[Any] = deque(maxlen=WINDOW)
        self._seen, self._p = 0, 1.0
        self.alarm_at: int | None = None
        """How many requests had come when the alarm was raised; None without one."""

    def reset(self) -> None:
        """What comes from now on is the new reference."""
        with self._lock:
            self._begin()

    def add(self, value: Any) -> bool:
        """Whether the alarm is raised, by this value or by an earlier one."""
        with self._lock:
            self._seen += 1
            if len(self._reference) < REFERENCE:
                self._reference.append(value)
                return False
            self._window.append(value)
            if len(self._window) >= WINDOW // 2 and self._seen % EVERY == 0 and self.alarm_at is None:
                self._p = self._test(self._reference, list(self._window))
                if self._p < THRESHOLD:
                    self.alarm_at = self._seen
            return self.alarm_at is not None

    def against(self, others: Sequence[Any]) -> float | None:
        """The p-value of the latest values (the first ones, before there is a window) against `others`; None without
        either."""
        with self._lock:
            latest = list(self._window) if len(self._window) >= WINDOW // 2 else list(self._reference)
        return float(f"{self._test(others, latest):.3g}") if latest and others else None

    def to_dict(self) -> dict[str, Any]:
        """{seen, reference, window: mean or None, p: of the last test, alarm_at: requests or None}."""
        with self._lock:
            return {
                "seen": self._seen,
                "reference": _mean(self._reference),
                "window": _mean(self._window),
                "p": float(f"{self._p:.3g}"),
                "alarm_at": self.alarm_at,
            }


def _mean(values: Any) -> float | None:
    """Of numbers; None of names."""
    if not values or isinstance(values[0], str):
        return None
    return round(sum(values) / len(values), 4)
