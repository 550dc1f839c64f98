"""Votes as rows, as a table and as preference pairs."""

import csv
import io
import json

from llmdemo.arena import vote_export
from llmdemo.arena.preferences import Preferences
from llmdemo.arena.vote_state import VoteState

CONTESTANTS = [
    {"model_id": "starter", "model": "Starter", "lane": lane, "strategy": "top_p", "settings": {"top_p": 0.9}}
    for lane in "abc"
]


def voted(*votes) -> VoteState:
    """votes: (voter, prompt, left, right, choice)."""
    state = VoteState()
    config = {"title": "", "prompts": ["=1+1", "two"], "votes": 99, "own_prompts": False}
    state.apply(
        {"type": "opened", "t": 0, "version": 1, "session_id": "vote-x", "config": config, "settings": {},
         "contestants": CONTESTANTS, "salt": ""}
    )  # fmt: skip
    state.apply({"type": "answers", "t": 0, "prompt": 0, "text": "=1+1", "answers": ["A", "B", " "]})
    state.apply({"type": "answers", "t": 0, "prompt": 1, "text": "two", "answers": ["@A", "B\n2", "C"]})
    for number, (voter, prompt, left, right, choice) in enumerate(votes):
        pair = {"type": "pair", "t": 1, "pair": str(number), "voter": voter, "prompt": prompt}
        state.apply({**pair, "left": left, "right": right})
        state.apply({"type": "vote", "t": 3.5, "pair": str(number), "choice": choice})
    return state


def test_a_row_says_who_was_where_and_what_was_chosen():
    (row,) = vote_export.rows(voted(("v", 1, 2, 0, "left")))
    assert (row["voter"], row["seconds"], row["prompt"], row["choice"]) == (1, 2.5, "two", "left")
    assert row["left"] == {**CONTESTANTS[2], "text": "C"}
    assert row["right"] == {**CONTESTANTS[0], "text": "@A"}
    json.dumps(row)


def test_the_table_has_a_line_a_vote_and_runs_nothing_in_a_spreadsheet():
    text = vote_export.table(voted(("v", 0, 0, 1, "left"), ("w", 1, 0, 1, "both_bad")))
    head, *lines = csv.reader(io.StringIO(text))
    assert head[:6] == ["number", "voter", "time", "seconds", "choice", "prompt"]
    assert [line[4] for line in lines] == ["left", "both_bad"]
    assert not any(cell.startswith(("=", "@")) for line in lines for cell in line)
    assert lines[1][-1] == "B\n2"


def test_the_majority_makes_a_pair_whatever_the_order_on_the_phone():
    found = vote_export.pairs(
        voted(("v", 0, 0, 1, "left"), ("w", 0, 1, 0, "right"), ("x", 0, 0, 1, "right"), ("v", 1, 0, 1, "right"))
    )
    assert found.rows == [("=1+1", "A", "B"), ("two", "B\n2", "@A")]
    assert (found.undecided, found.empty) == (0, 0)


def test_ties_and_opposite_votes_make_none_and_neither_does_an_empty_answer():
    found = vote_export.pairs(
        voted(("v", 0, 0, 1, "left"), ("w", 0, 0, 1, "right"), ("v", 1, 0, 1, "tie"), ("v", 0, 0, 2, "left"))
    )
    assert found.rows == []
    assert (found.undecided, found.empty) == (2, 1)


def test_the_pairs_become_one_version_of_a_data_set(home, settings, tiny_tokenizer):
    picks = Preferences(home, settings)
    pairs = vote_export.pairs(voted(("v", 0, 0, 1, "left"), ("v", 1, 0, 1, "right"))).rows
    made = picks.add_many("Class", pairs, tokenizer=tiny_tokenizer)
    assert (made["name"], made["pairs"], made["added"]) == ("Class", 2, 2)
    again = picks.add_many("Class", [*pairs, ("three", "C", "D"), ("three", "C", "D")], tokenizer=tiny_tokenizer)
    assert (again["pairs"], again["added"]) == (3, 1)
