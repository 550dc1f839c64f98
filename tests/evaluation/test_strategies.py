"""What strategies are worth: pass@k by brute force, dominance, the paired difference; wrong versions fail."""

import itertools
import math

import numpy as np
import pytest

from llmdemo.core.errors import UserError
from llmdemo.evaluation import strategies
from llmdemo.evaluation.checkers import agreement
from llmdemo.evaluation.intervals import Ratio, difference
from llmdemo.evaluation.strategies import pass_at_k, table
from llmdemo.settings.evaluation_decoding import CheckerSpec


def is_the_chance_that_one_of_k_is_right(estimate):
    for n in range(1, 7):
        for right in range(n + 1):
            answers = [True] * right + [False] * (n - right)
            for k in range(1, n + 1):
                draws = list(itertools.combinations(answers, k))
                assert estimate(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_is_the_share_of_all_choices_of_k_answers_that_hold_a_right_one():
    is_the_chance_that_one_of_k_is_right(pass_at_k)


def test_the_biased_estimate_fails_the_check():
    with pytest.raises(AssertionError):
        is_the_chance_that_one_of_k_is_right(lambda n, right, k: 1 - (1 - right / n) ** k)


@pytest.mark.parametrize("k", [0, 5, 10_000])
def test_more_answers_than_there_are_is_a_sentence(k):
    with pytest.raises(UserError, match=f"pass@{k} was asked of 4 answers"):
        pass_at_k(4, 2, k)


def cell(correct, n=1, right=None, tokens=10, forwards=10, seconds=None):
    right = int(bool(correct)) if right is None else right
    return dict(text="", correct=correct, n=n, right=right, tokens=tokens, forwards=forwards, seconds=seconds)


LANES = [{"name": name, "strategy": "sample"} for name in "abc"]


def records_of(*columns, **costs):
    return [{"cells": list(row)} for row in zip(*columns, strict=True)]


def test_a_row_has_score_interval_costs_and_the_paired_difference_to_the_first_lane():
    dice = np.random.default_rng(0)
    first, second = dice.random(60) < 0.4, dice.random(60) < 0.6
    records = records_of(
        [cell(bool(each), seconds=2.0) for each in first],
        [cell(bool(each), tokens=30, forwards=12) for each in second],
        [cell(None) for _ in first],
    )
    one, other, none = table(records, 1, LANES, (), 7)
    assert one["score"] == pytest.approx(first.mean()) and one["low"] < one["score"] < one["high"]
    assert (one["seconds"], other["seconds"], other["tokens"], other["forwards"]) == (2.0, None, 30, 12)
    want = difference(Ratio(first.astype(float), np.ones(60)), Ratio(second.astype(float), np.ones(60)), 7)
    assert other["difference"] == want and one["difference"] is None
    assert none["score"] is None and none["n"] == 0 and none["low"] is None


def test_what_costs_more_and_is_no_better_is_dominated_and_the_best_never_is():
    def rows(scores, costs):
        columns = [
            [cell(at < score, tokens=cost) for at in range(10)] for score, cost in zip(scores, costs, strict=True)
        ]
        return [row["dominated"]["tokens"] for row in table(records_of(*columns), 1, LANES, (), 7)]

    assert rows((5, 5, 9), (10, 20, 30)) == [False, True, False]
    assert rows((9, 5, 5), (10, 5, 20)) == [False, False, True]
    assert rows((5, 5, 5), (10, 10, 10)) == [False, False, False]


def test_pass_at_k_is_the_mean_over_the_records_of_a_lane_that_draws_several():
    several = [cell(right > 2, n=5, right=right) for right in (0, 1, 5)]
    plain = [cell(True) for _ in several]
    row, one, _ = table(records_of(several, plain, plain), 1, LANES, (), 7)
    assert list(row["pass_at"]) == ["1", "2", "4"] and one["pass_at"] == {}
    assert row["pass_at"]["1"] == pytest.approx((0 + 1 / 5 + 1) / 3)
    assert row["pass_at"]["2"] == pytest.approx((0 + (1 - math.comb(4, 2) / math.comb(5, 2)) + 1) / 3)
    assert list(table(records_of(several, plain, plain), 1, LANES, (3, 9), 7)[0]["pass_at"]) == ["3"]
    assert strategies.COSTS == ("forwards", "tokens", "seconds")


def test_two_models_have_a_row_each_for_every_lane_and_each_its_own_first_lane():
    columns = [[cell(place == at) for at in range(6)] for place in range(6)]
    rows = table(records_of(*columns), 2, LANES, (), 7)
    assert [(row["model"], row["lane"]) for row in rows] == [(m, n) for m in range(2) for n in range(3)]
    assert [row["difference"] is None for row in rows] == [True, False, False] * 2


def test_agreement_is_held_against_how_often_it_is_right():
    cells = [{"agreement": a, "correct": c} for a, c in [(1.0, True)] * 3 + [(1.0, False)] + [(0.5, False)] * 4]
    found = strategies.calibration(cells)
    assert found["bins"] == [[0.5, 0.0, 4], [1.0, 0.75, 4]] and found["error"] == pytest.approx((0.5 + 0.25) / 2)
    assert strategies.calibration([{"agreement": None, "correct": True}]) is None
    sure = [{"agreement": 0.4, "correct": at < 2} for at in range(5)]
    assert strategies.calibration(sure)["error"] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("kind", "answer", "answers", "share"),
    [
        ("number", "so 7", ["7", "It is 7.0", "8", "none"], 0.5),
        ("normalised", '{"a": 1, "b": 2}', ['{"b":2,"a":1}', '{"a": 1}'], 0.5),
        ("normalised", "The cat", ["the cat", "a cat.", "dog", "cat"], 0.75),
        ("exact", "", ["", "x"], 0.5),
    ],
)
def test_answers_agree_as_the_checker_reads_them(kind, answer, answers, share):
    assert agreement(CheckerSpec(kind), answer, answers) == share
