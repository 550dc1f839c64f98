"""Thumbs of the arena's answers: counted once by model version, taken back, of known answers only."""

import sqlite3

import pytest

from llmdemo.core.errors import UserError
from llmdemo.serving.arena_watch import watcher
from llmdemo.serving.thumbs import Thumbs


@pytest.fixture
def asked(serving, arena):
    """The run_id of a comparison of two lanes that was watched."""
    arena.watch = watcher(serving.monitor, serving.thumbs)
    list(arena.compare("starter", "Count.", {"lanes": ["greedy", "top_k"], "max_new_tokens": 4}, run_id="mine"))
    serving.join()
    return "mine"


def figures(serving) -> tuple[dict | None, dict]:
    """(the opinions of the arena's figures, {up, down} over time)"""
    one = next(each for each in serving.figures() if each["name"] == "arena")
    points = next(each["points"] for each in serving.monitor.over_time() if each["name"] == "arena")
    opinions = one["opinions"] and {key: one["opinions"][key] for key in ("up", "down")}
    return opinions, {key: sum(point[key] for point in points) for key in ("up", "down")}


def test_a_thumb_counts_once_may_change_and_is_taken_back(serving, asked):
    assert figures(serving) == (None, {"up": 0, "down": 0})
    for lane, thumb, want in (
        ("0:greedy", "up", (1, 0)),
        ("0:greedy", "up", (1, 0)),
        ("0:top_k", "down", (1, 1)),
        ("0:greedy", "down", (0, 2)),
        ("0:top_k", "", (0, 1)),
        ("0:top_k", "", (0, 1)),
    ):
        assert serving.thumbs.take(asked, lane, thumb) == {"thumb": thumb}
        counts = dict(zip(("up", "down"), want, strict=True))
        assert figures(serving) == (counts, counts)
    said = serving.monitor.prometheus().decode()
    assert 'thumb="up"} 1.0' in said and 'thumb="up_withdrawn"} 1.0' in said and 'thumb="down_withdrawn"} 1.0' in said


@pytest.mark.parametrize(
    ("run_id", "lane", "thumb"), [("other", "0:greedy", "up"), ("mine", "1:greedy", "up"), ("mine", "0:greedy", "left")]
)
def test_what_is_no_opinion_of_a_known_answer_is_refused(serving, asked, run_id, lane, thumb):
    with pytest.raises(UserError, match="can no longer be rated|“thumb” is 'left'"):
        serving.thumbs.take(run_id, lane, thumb)
    assert figures(serving) == (None, {"up": 0, "down": 0})


def test_an_opinion_that_cannot_be_kept_is_not_counted(serving, asked, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(serving.kept, "opinion", full)
    with pytest.raises(UserError, match="disk is full"):
        serving.thumbs.take(asked, "0:greedy", "up")
    monkeypatch.undo()
    assert figures(serving) == (None, {"up": 0, "down": 0})
    assert serving.thumbs.take(asked, "0:greedy", "up") == {"thumb": "up"}


def test_the_latest_answers_are_remembered(serving, monkeypatch):
    monkeypatch.setattr("llmdemo.serving.thumbs.MOST_ANSWERS", 3)
    thumbs = Thumbs(serving.kept, serving.metrics)
    for number in range(5):
        thumbs.answered(str(number), "0:greedy", "starter")
    with pytest.raises(UserError, match="last 3 answers"):
        thumbs.take("1", "0:greedy", "up")
    assert thumbs.take("2", "0:greedy", "up") == {"thumb": "up"}
