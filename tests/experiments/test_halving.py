"""Rounds of successive halving, and who goes on."""

import math

import pytest

from llmdemo.core.errors import UserError
from llmdemo.experiments.halving import rungs, survivors


def test_each_round_keeps_one_in_eta_and_gives_it_eta_times_the_steps():
    assert rungs(9, 90, 10, 3) == [(9, 10), (3, 30), (1, 90)]
    assert rungs(8, 80, 10, 2) == [(8, 10), (4, 20), (2, 40), (1, 80)]
    assert rungs(27, 90, 10, 3) == [(27, 10), (9, 30), (3, 90)]  # no room for a fourth


@pytest.mark.parametrize("steps", [30, 84, 88, 1000])
def test_the_last_round_takes_all_steps_and_none_fewer_than_the_least(steps):
    for runs in range(3, 40):
        made = rungs(runs, steps, 10, 3)
        assert made[0][0] == runs and made[-1][1] == steps and len(made) >= 2
        assert all(count >= 1 and 10 <= each <= steps for count, each in made)
        assert [each for _, each in made] == sorted({each for _, each in made})


def test_what_cannot_be_halved_is_said():
    with pytest.raises(UserError, match="cannot be halved"):
        rungs(2, 90, 10, 3)
    with pytest.raises(UserError, match="no room"):
        rungs(9, 29, 10, 3)
    with pytest.raises(UserError, match="eta is 1"):
        rungs(9, 90, 10, 1)


def test_the_lowest_go_on_and_failures_never_do():
    scores = {"a": 2.0, "b": 1.0, "c": None, "d": math.nan, "e": 1.5, "f": math.inf}
    assert survivors(scores, 2) == ["b", "e"]
    assert survivors(scores, 6) == ["b", "e", "a"]
    assert survivors({"a": None}, 1) == []
