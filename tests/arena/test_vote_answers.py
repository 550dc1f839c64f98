"""The answers of contestants: whole, from the arena itself, and what becomes of one that fails."""

import pytest

from llmdemo.arena.vote_answers import Stopped, answer, contestants_of
from llmdemo.core.errors import UserError
from llmdemo.settings.decoding import DecodeSettings

SETTINGS = {"max_new_tokens": 6, "seed": 3, "lanes": ["greedy", {"strategy": "top_p", "name": "wide", "top_p": 0.95}]}


def contestants(*models):
    return contestants_of(models, dict.fromkeys(models, "Title"), DecodeSettings.from_dict(SETTINGS))


def test_contestants_are_the_lanes_of_each_model():
    found = contestants("a", "b")
    assert [(each["model_id"], each["lane"]) for each in found] == [
        ("a", "greedy"), ("a", "wide"), ("b", "greedy"), ("b", "wide"),
    ]  # fmt: skip
    assert found[1]["settings"] == {"temperature": 0.8, "top_p": 0.95, "top_k": 0, "min_p": 0.0}


def test_one_contestant_is_no_vote():
    with pytest.raises(UserError, match="only one contestant"):
        contestants_of(("a",), {"a": "A"}, DecodeSettings.from_dict({"lanes": ["greedy"]}))


def test_the_answers_are_those_of_a_comparison(arena, second_model):
    found = answer(arena, contestants("starter", second_model), SETTINGS, "Hello")
    for index, model_id in enumerate(("starter", second_model)):
        *_, last = arena.compare(model_id, "Hello", SETTINGS)
        assert found.texts[2 * index : 2 * index + 2] == [last["lanes"][name]["text"] for name in ("greedy", "wide")]
    assert found.error == ""


def test_a_model_that_is_gone_leaves_out_its_contestants(arena):
    found = answer(arena, contestants("starter", "run-20260101-000000-ffffff"), SETTINGS, "Hello")
    assert [text is None for text in found.texts] == [False, False, True, True]
    assert found.error
    with pytest.raises(UserError):
        answer(arena, contestants("run-20260101-000000-ffffff"), SETTINGS, "Hello")


def test_answers_that_were_stopped_are_none(arena):
    with pytest.raises(Stopped):
        answer(arena, contestants("starter"), SETTINGS, "Hello", started=arena.stop)
