"""A vote's votes as data: one object a vote, a table for a spreadsheet, preference pairs for training. Knows no page."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import Any

from llmdemo.arena.vote_state import Pair, VoteState
from llmdemo.data.report import safe_cell

FORMAT = 1
"""Of the exported objects; it grows when a key changes its meaning."""


def rows(state: VoteState) -> list[dict[str, Any]]:
    """One object a vote that stands: {format, session_id, number, voter, time, seconds, prompt, left, right, choice}.

    left, right: {model_id, model, lane, strategy, settings, text}. voter: a number that tells voters apart and not who
    they are. seconds: from the showing of the pair to the vote.
    """
    return [_row(state, number, pair) for number, pair in enumerate(state.votes, 1)]


def _row(state: VoteState, number: int, pair: Pair) -> dict[str, Any]:
    asked = state.asked[pair.prompt]
    sides = {
        side: {**state.contestants[index], "text": asked.answers[index]}
        for side, index in (("left", pair.left), ("right", pair.right))
    }
    return {
        "format": FORMAT,
        "session_id": state.session_id,
        "number": number,
        "voter": state.voters[pair.voter].number,
        "time": pair.voted,
        "seconds": round(pair.voted - pair.shown, 3),
        "prompt": asked.text,
        **sides,
        "choice": pair.choice,
    }


def table(state: VoteState) -> str:
    """The votes as CSV with a head; cells that a spreadsheet would run are made harmless."""
    file = io.StringIO()
    writer = csv.writer(file)
    of_each = ("model", "lane", "text")
    plain = ("number", "voter", "time", "seconds", "choice", "prompt")
    writer.writerow([*plain, *(f"{side}_{key}" for side in ("left", "right") for key in of_each)])
    for row in rows(state):
        cells = [*(row[key] for key in plain), *(row[side][key] for side in ("left", "right") for key in of_each)]
        writer.writerow(map(safe_cell, cells))
    return file.getvalue()


@dataclass(frozen=True)
class Pairs:
    """What a vote teaches."""

    rows: list[tuple[str, str, str]]
    """(prompt, chosen, rejected): one for each two answers that more voters preferred one of."""
    undecided: int
    """Pairs of answers without a majority for one: ties, both bad, or as many for either."""
    empty: int
    """Pairs that were left out, as one answer says nothing."""


def pairs(state: VoteState) -> Pairs:
    """By majority: opposite votes on the same two answers would teach both and cancel each other."""
    won: dict[tuple[int, int, int], Counter[int]] = {}
    for pair in state.votes:
        counter = won.setdefault(pair.item, Counter())
        if pair.choice in ("left", "right"):
            counter[pair.left if pair.choice == "left" else pair.right] += 1
    found, undecided, empty = [], 0, 0
    for (prompt, first, second), counter in won.items():
        if counter[first] == counter[second]:
            undecided += 1
            continue
        better, worse = (first, second) if counter[first] > counter[second] else (second, first)
        asked = state.asked[prompt]
        chosen, rejected = (asked.answers[better] or "").strip(), (asked.answers[worse] or "").strip()
        if not chosen or not rejected:
            empty += 1
            continue
        found.append((asked.text, chosen, rejected))
    return Pairs(found, undecided, empty)
