"""Drift of what is asked: planted drift raises the alarm within 50 requests, 1,000 undrifted ones raise none."""

import numpy as np
import pytest

from llmdemo.serving.drift import REFERENCE, Drift

BEFORE = 150


def surprises(rng, number: int, mean: float = 3.2, spread: float = 0.6) -> list[float]:
    """As a model's are at prompts of one kind: skewed, above zero."""
    return list(np.exp(rng.normal(np.log(mean), spread / mean, number)))


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.slow
def test_a_thousand_requests_of_one_kind_raise_no_alarm(seed):
    drift, rng = Drift(), np.random.default_rng(seed)
    assert not any([drift.add(value) for value in surprises(rng, 1000 + REFERENCE)])
    assert drift.to_dict()["alarm_at"] is None


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("mean, spread", [(4.4, 0.6), (2.2, 0.5), (3.2, 2.5)])
@pytest.mark.slow
def test_planted_drift_raises_the_alarm_within_fifty_requests(seed, mean, spread):
    """Another language or topic is more surprising, the same prompt over and over less; a mixture only spreads."""
    drift, rng = Drift(), np.random.default_rng(seed)
    assert not any([drift.add(value) for value in surprises(rng, BEFORE)])
    later = [drift.add(value) for value in surprises(rng, 50, mean, spread)]
    assert later[-1] and BEFORE < drift.alarm_at <= BEFORE + 50


def test_without_the_correction_undrifted_requests_would_raise_alarms(monkeypatch):
    from llmdemo.serving import drift as module

    monkeypatch.setattr(module, "THRESHOLD", 0.05)
    alarms = 0
    for seed in range(10):
        one, rng = Drift(), np.random.default_rng(seed)
        alarms += any([one.add(value) for value in surprises(rng, 1000 + REFERENCE)])
    assert alarms >= 8


def test_an_alarm_stays_until_it_is_reset():
    drift, rng = Drift(), np.random.default_rng(1)
    for value in [*surprises(rng, BEFORE), *surprises(rng, 50, 6.0), *surprises(rng, 100)]:
        drift.add(value)
    told = drift.to_dict()
    assert told["alarm_at"] and told["seen"] == 300 and told["p"] < 1e-4
    drift.reset()
    assert drift.to_dict() == {"seen": 0, "reference": None, "window": None, "p": 1.0, "alarm_at": None}
