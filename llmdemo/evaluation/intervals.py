"""How sure a figure is: Wilson's interval for a share, the paired bootstrap for a difference. Numbers only."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_DRAWS = 2000
_Z = 1.959963984540054
"""97.5 % quantile of the normal distribution: intervals hold 95 %."""
_MOST_CELLS = 4_000_000


def wilson(successes: float, trials: int) -> tuple[float, float] | None:
    """(low, high) of the score interval of a binomial share (Wilson 1927); None without trials.

    `successes` may count a tie as a half. A half varies less than a coin does, so the interval is then a little wide.
    """
    if trials <= 0:
        return None
    share = successes / trials
    middle = share + _Z**2 / (2 * trials)
    reach = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials * trials))
    scale = 1 + _Z**2 / trials
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


@dataclass(frozen=True)
class Ratio:
    """A figure that is a ratio of sums over records: a mean (weights 1), a loss a token, a share."""

    sums: np.ndarray
    """float (N,): what each record adds."""
    weights: np.ndarray
    """float (N,): what each record counts."""

    def value(self) -> float | None:
        weight = self.weights.sum()
        return float(self.sums.sum() / weight) if weight else None


def interval(ratio: Ratio, seed: int) -> dict | None:
    """{"mean", "low", "high"}: the ratio and its 95 % percentile interval by drawing records with replacement.

    low and high are None of a single record, whose spread nothing tells; None without records.
    """
    value, count = ratio.value(), len(ratio.sums)
    if value is None:
        return None
    if count < 2:
        return {"mean": value, "low": None, "high": None}
    parts = []
    for times in _times(count, seed):
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append((times @ ratio.sums) / (times @ ratio.weights))
    drawn = np.concatenate(parts)
    low, high = np.quantile(drawn[np.isfinite(drawn)], (0.025, 0.975))
    return {"mean": value, "low": float(low), "high": float(high)}


def difference(first: Ratio, second: Ratio, seed: int, transform=None) -> dict | None:
    """{"value", "low", "high"}: second − first and its 95 % percentile interval by the paired bootstrap.

    Records are drawn with replacement, the same for both (Koehn 2004). `transform` maps both ratios first (exp for a
    perplexity). None where either has nothing to count.
    """
    values = [first.value(), second.value()]
    if None in values:
        return None
    change = transform or (lambda ratio: ratio)
    drawn = []
    for times in _times(len(first.sums), seed):
        with np.errstate(divide="ignore", invalid="ignore"):
            pair = [change((times @ each.sums) / (times @ each.weights)) for each in (first, second)]
        drawn.append(pair[1] - pair[0])
    changes = np.concatenate(drawn)
    changes = changes[np.isfinite(changes)]
    if not len(changes):
        return None
    low, high = np.quantile(changes, (0.025, 0.975))
    return {"value": float(change(values[1]) - change(values[0])), "low": float(low), "high": float(high)}


def _times(count: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `count` records is drawn, (some draws, count), of all draws so many at a time as memory is fine with."""
    generator, step = np.random.default_rng(seed), max(1, _MOST_CELLS // max(1, count))
    for start in range(0, _DRAWS, step):
        yield generator.multinomial(count, np.full(count, 1 / count), min(step, _DRAWS - start))
