import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmdemo.runs.series import SMOOTHING, Series, thin


def filled(losses, **options) -> Series:
    series = Series(**options)
    for step, loss in enumerate(losses, 1):
        series.add(step, step / 10, {"loss": loss, "learning_rate": 1e-3})
    return series


def test_few_points_are_given_as_they_are_and_missing_figures_left_out():
    curves = filled([3.0, None, 2.0]).curves(100)
    assert curves["loss"] == {"step": [1, 3], "seconds": [0.1, 0.3], "value": [3.0, 2.0]}
    assert set(curves) == {"loss", "loss_smoothed", "learning_rate"}


def test_the_smoothed_loss_is_the_average_without_start_up_bias():
    losses = np.random.default_rng(0).normal(2, 1, 50)
    weights = SMOOTHING ** np.arange(50)[::-1]
    expected = (weights * losses).sum() / weights.sum()
    series = filled(losses)
    assert series.smoothed() == pytest.approx(expected)
    assert series.curves(100)["loss_smoothed"]["value"][0] == pytest.approx(losses[0])


def test_a_run_that_resumes_goes_on_smoothing_from_where_it_resumed():
    series = filled(range(40))
    series.cut_after(20)
    again = filled(range(20))
    assert len(series) == 20 and series.last("loss") == 19
    assert series.smoothed() == again.smoothed()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(4, 60))
def test_thinning_keeps_ends_extremes_order_and_the_limit(values, limit):
    values = np.array(values)
    keep = thin(values, limit)
    assert len(keep) <= limit
    assert list(keep) == sorted(set(keep))
    assert keep[0] == 0 and keep[-1] == len(values) - 1
    assert values[keep].max() == values.max() and values[keep].min() == values.min()


def test_one_spike_in_a_hundred_thousand_steps_stays_visible():
    losses = np.ones(100_000)
    losses[54_321] = 50.0
    curve = filled(losses).curves(500)["loss"]
    assert len(curve["step"]) <= 500 and 54_322 in curve["step"] and max(curve["value"]) == 50.0


def test_a_very_long_run_takes_bounded_memory_and_keeps_its_spikes():
    losses = np.linspace(3, 1, 10_000)
    losses[777] = 99.0
    series = filled(losses, most_rows=1000)
    assert len(series) < 1000
    assert series.last("loss") == 1.0
    assert max(series.curves(200)["loss"]["value"]) == 99.0


def test_an_empty_series_has_no_curves():
    assert Series().curves(10) == {}
    assert Series().smoothed() is None and Series().last("loss") is None
