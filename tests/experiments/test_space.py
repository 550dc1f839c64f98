"""Values and ranges of a search, and the points drawn from them."""

import math

import pytest

from llmdemo.core.errors import UserError
from llmdemo.experiments import space


def parsed(values, method="galore", ranges=True):
    return space.parse(values, method, ranges=ranges)


def test_a_grid_has_every_combination_in_order():
    points = space.grid(parsed({"learning_rate": [1e-4, 1e-3], "rank": [8, 16, 8]}), 10)
    assert points == [
        {"learning_rate": 1e-4, "rank": 8},
        {"learning_rate": 1e-4, "rank": 16},
        {"learning_rate": 1e-3, "rank": 8},
        {"learning_rate": 1e-3, "rank": 16},
    ]


def test_a_draw_is_the_same_for_the_same_seed_and_holds_no_point_twice():
    values = parsed(
        {"learning_rate": {"low": 1e-5, "high": 1e-2}, "rank": [8, 16], "update_proj_gap": {"low": 2, "high": 9}}
    )
    first, again, other = space.draw(values, 12, 3), space.draw(values, 12, 3), space.draw(values, 12, 4)
    assert first == again != other
    assert len({tuple(point.values()) for point in first}) == 12
    for point in first:
        assert 1e-5 <= point["learning_rate"] <= 1e-2 and point["rank"] in (8, 16)
        assert isinstance(point["update_proj_gap"], int) and 2 <= point["update_proj_gap"] <= 9


def test_a_range_is_drawn_evenly_by_its_ratio():
    drawn = [p["learning_rate"] for p in space.draw(parsed({"learning_rate": {"low": 1e-6, "high": 1e-2}}), 400, 0)]
    below = sum(math.log10(value) < -4 for value in drawn) / len(drawn)
    assert 0.42 < below < 0.58


WRONG = {
    "nothing to vary": ({}, "nothing to vary"),
    "no object": ([1], "nothing to vary"),
    "an empty list": ({"rank": []}, "no values for rank"),
    "an unknown setting": ({"batch_size": [1, 2]}, "'batch_size' cannot be searched"),
    "a rank that is text": ({"rank": ["8"]}, "rank is '8'"),
    "a rank of zero": ({"rank": [0]}, "rank is 0"),
    "half a rank": ({"rank": [1.5]}, "a whole number from 1"),
    "an infinite rate": ({"learning_rate": [math.inf]}, "learning_rate is inf"),
    "a range upside down": ({"learning_rate": {"low": 1e-3, "high": 1e-4}}, "low end must be below"),
    "a range without an end": ({"learning_rate": {"low": 1e-3}}, "A value for learning_rate is missing"),
    "too many values": ({"rank": list(range(1, 60))}, "At most 50"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_a_sentence(case):
    values, said = WRONG[case]
    with pytest.raises(UserError, match=said):
        parsed(values)


def test_a_setting_that_the_method_has_not_is_refused():
    with pytest.raises(UserError, match="rank has no meaning for adamw"):
        parsed({"rank": [8]}, method="adamw")
    with pytest.raises(UserError, match="update_proj_gap has no meaning for lora"):
        parsed({"update_proj_gap": [8]}, method="lora")


def test_a_grid_takes_no_range_and_not_more_points_than_runs():
    with pytest.raises(UserError, match="a grid needs values"):
        parsed({"rank": {"low": 2, "high": 9}}, ranges=False)
    with pytest.raises(UserError, match="4 × 4 = 16 points"):
        space.grid(parsed({"rank": [1, 2, 3, 4], "scale": [1, 2, 3, 4]}), 15)


def test_more_runs_than_points_is_said():
    with pytest.raises(UserError, match="Only 2 different settings"):
        space.draw(parsed({"rank": [8, 16]}), 3, 0)
