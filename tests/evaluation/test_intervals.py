"""Intervals against brute force and known values."""

import math

import numpy as np
import pytest

from llmdemo.evaluation import intervals
from llmdemo.evaluation.intervals import Ratio, difference, interval, wilson


@pytest.mark.parametrize("successes, trials", [(0, 10), (3, 10), (10, 10), (1, 1), (45, 100), (7.5, 20)])
def test_wilson_holds_exactly_the_shares_that_a_score_test_does_not_refuse(successes, trials):
    """Brute force: the interval is the set of p with |share - p| <= z sqrt(p (1 - p) / n)."""
    low, high = wilson(successes, trials)
    share, z = successes / trials, 1.959963984540054
    grid = np.linspace(0, 1, 200_001)
    inside = grid[np.abs(share - grid) <= z * np.sqrt(grid * (1 - grid) / trials) + 1e-12]
    assert low == pytest.approx(inside.min(), abs=2e-5)
    assert high == pytest.approx(inside.max(), abs=2e-5)


def test_no_trials_have_no_interval():
    assert wilson(0, 0) is None


def ratio(values, weights=None):
    values = np.asarray(values, float)
    return Ratio(values, np.ones(len(values)) if weights is None else np.asarray(weights, float))


def test_a_difference_is_that_of_the_ratios_and_the_interval_is_that_of_a_plain_bootstrap():
    generator = np.random.default_rng(0)
    weights = generator.integers(1, 30, 200)
    first, second = generator.normal(2, 1, 200) * weights, generator.normal(1.8, 1, 200) * weights
    got = difference(ratio(first, weights), ratio(second, weights), seed=1)
    assert got["value"] == pytest.approx((second.sum() - first.sum()) / weights.sum())
    draws = []
    for _ in range(4000):
        some = generator.integers(0, 200, 200)
        draws.append((second[some].sum() - first[some].sum()) / weights[some].sum())
    low, high = np.quantile(draws, (0.025, 0.975))
    assert got["low"] == pytest.approx(low, abs=0.03) and got["high"] == pytest.approx(high, abs=0.03)


def test_the_same_seed_gives_the_same_interval_and_equal_models_no_difference():
    one = ratio([1, 2, 3, 4])
    assert difference(one, one, 3) == {"value": 0.0, "low": 0.0, "high": 0.0}
    other = ratio([2, 2, 5, 1])
    assert difference(one, other, 3) == difference(one, other, 3)


def test_a_transform_goes_over_both_ratios():
    got = difference(ratio([1.0, 1.0]), ratio([2.0, 2.0]), 0, np.exp)
    assert got["value"] == pytest.approx(math.e**2 - math.e)


def test_nothing_to_count_is_no_difference():
    assert difference(ratio([]), ratio([]), 0) is None


def test_an_interval_is_the_same_however_many_draws_are_made_at_a_time(monkeypatch):
    """100,000 records are as many as an evaluation may have: all draws of them at once would be gigabytes."""
    values = ratio(np.random.default_rng(0).normal(2, 1, 50))
    whole = interval(values, seed=1)
    monkeypatch.setattr("llmdemo.evaluation.intervals._MOST_CELLS", 700)
    sizes, drawn = [], intervals._times
    monkeypatch.setattr(intervals, "_times", lambda *of: (sizes.append(len(part)) or part for part in drawn(*of)))
    assert interval(values, seed=1) == whole and max(sizes) == 14
