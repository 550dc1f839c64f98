"""The board of a vote: strengths with intervals, bias towards a place, agreement, and what may be concluded so far.

Comes in: a VoteState. Goes out: JSON. Sentences are the page's; here are codes and figures.
"""

import math
import zlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from llmdemo.arena import bradley_terry as bt
from llmdemo.arena.vote_state import Pair, VoteState, items_of
from llmdemo.arena.voter_agreement import agreement, one_sided

_OUTCOMES = {"left": bt.LEFT, "right": bt.RIGHT, "tie": bt.TIE, "both_bad": bt.TIE}
_QUICK_SECONDS = 2.0
_FEWEST_DECIDED = 10
_TWICE = 1 / 3
"""The covariate of length where one answer is twice as long as the other."""
_MOST_MORE = 20_000


@dataclass(frozen=True)
class Snapshot:
    """What of a vote's state the board is made of; other threads change the state meanwhile."""

    seed: int
    contestants: list[dict[str, Any]]
    votes: list[Pair]
    numbers: dict[str, int]
    """Voter → number."""
    lengths: dict[tuple[int, int], int]
    """(prompt, contestant) → characters."""
    alike: int
    """Pairs of answers that were not shown, as they say the same."""
    items: int
    """Pairs of answers to the vote's prompts."""
    errors: list[str] = field(default_factory=list)
    """Why answers are missing."""


def snapshot(state: VoteState) -> Snapshot:
    """To be called while nobody changes the state."""
    made = {number: asked for number, asked in state.asked.items()}
    pairs = items = 0
    for number, asked in made.items():
        there = sum(text is not None for text in asked.answers)
        pairs += there * (there - 1) // 2
        items += len(items_of(number, asked))
    return Snapshot(
        seed=zlib.crc32(state.session_id.encode()),
        contestants=state.contestants,
        votes=[Pair(**vars(pair)) for pair in state.votes],
        numbers={name: voter.number for name, voter in state.voters.items()},
        lengths={
            (number, index): len(text.strip())
            for number, asked in made.items()
            for index, text in enumerate(asked.answers)
            if text is not None
        },
        alike=pairs - items,
        items=pairs,
        errors=list(dict.fromkeys(asked.error for asked in made.values() if asked.error)),
    )


def board(taken: Snapshot, draws: int = 400) -> dict[str, Any]:
    """{boards, position, length, choices, agreement, one_sided, quick, alike, items, errors, voters, by_voter, says}.

    boards: {by: rows}, by = strategy, model, or both where there are several of both; a row has lane, strategy, model,
    strength (log-odds against the mean; None without votes), low, high, share (the chance to be preferred to an
    average one, of votes that prefer one), share_low, share_high, wins, losses, ties, equal_length {strength, low,
    high}. says: {code, leaders, behind, more}, contestants by their place in the first board's rows.
    """
    counted = _Counted.of(taken)
    known: dict[str, Any] = {
        "boards": {},
        "position": None,
        "length": None,
        "choices": dict(Counter(pair.choice for pair in taken.votes)),
        "agreement": _agreement(taken),
        "one_sided": [asdict(one) for one in _one_sided(taken)],
        "quick": sum(pair.voted - pair.shown < _QUICK_SECONDS for pair in taken.votes),
        "alike": taken.alike,
        "items": taken.items,
        "errors": taken.errors,
        "voters": len({pair.voter for pair in taken.votes}),
        "by_voter": False,
    }
    fits = {}
    for by, grouping in _groupings(taken.contestants).items():
        fits[by] = _board(counted, grouping, draws, taken.seed)
        known["boards"][by] = fits[by].rows
    main = fits["both" if "both" in fits else next(iter(fits))]
    if main.fit is not None:
        known |= _biases(main)
    return known | {"says": _says(main, taken)}


@dataclass(frozen=True)
class _Grouping:
    """Contestants by what they have in common."""

    group: np.ndarray
    """(contestants,): the group of each."""
    names: list[dict[str, Any]]
    """What each group is called: lane, strategy, model."""
    other: np.ndarray | None = None
    """(contestants,): the other factor, which is held constant."""


def _groupings(contestants: list[dict[str, Any]]) -> dict[str, _Grouping]:
    lanes = list(dict.fromkeys(each["lane"] for each in contestants))
    models = list(dict.fromkeys(each["model_id"] for each in contestants))
    lane = np.array([lanes.index(each["lane"]) for each in contestants])
    model = np.array([models.index(each["model_id"]) for each in contestants])
    strategy = {each["lane"]: each["strategy"] for each in contestants}
    title = {each["model_id"]: each["model"] for each in contestants}
    by_lane = _Grouping(lane, [{"lane": name, "strategy": strategy[name], "model": ""} for name in lanes], model)
    by_model = _Grouping(model, [{"lane": "", "strategy": "", "model": title[name]} for name in models], lane)
    if len(models) == 1:
        return {"strategy": by_lane}
    if len(lanes) == 1:
        return {"model": by_model}
    names = [{key: each[key] for key in ("lane", "strategy", "model")} for each in contestants]
    return {"both": _Grouping(np.arange(len(contestants)), names), "strategy": by_lane, "model": by_model}


@dataclass(frozen=True)
class _Counted:
    """The votes as arrays."""

    votes: bt.Votes
    length: np.ndarray
    """(N,): (left - right) / (left + right), in characters."""

    @classmethod
    def of(cls, taken: Snapshot) -> "_Counted":
        rows = taken.votes
        sizes = np.array(
            [[taken.lengths[each.prompt, each.left], taken.lengths[each.prompt, each.right]] for each in rows], float
        ).reshape(-1, 2)
        length = (sizes[:, 0] - sizes[:, 1]) / np.maximum(sizes.sum(axis=1), 1)
        votes = bt.Votes(
            left=np.array([each.left for each in rows], int),
            right=np.array([each.right for each in rows], int),
            outcome=np.array([_OUTCOMES[each.choice] for each in rows], int),
            voter=np.array([taken.numbers[each.voter] for each in rows], int),
        )
        return cls(votes, length)


@dataclass(frozen=True)
class _Board:
    rows: list[dict[str, Any]]
    fit: bt.Fit | None
    """Of the groups that have votes; None where there are not two of them."""
    place: dict[int, int]
    """Group → its place in the fit."""
    with_length: bt.Fit | None


def _board(counted: _Counted, grouping: _Grouping, draws: int, seed: int) -> _Board:
    votes, group = counted.votes, grouping.group
    left, right = group[votes.left], group[votes.right]
    rows = [{**name, **_tally(votes, left, right, index)} for index, name in enumerate(grouping.names)]
    voted = np.unique(np.concatenate([left[left != right], right[left != right]]))
    if len(voted) < 2:
        return _Board([{**row, **_unknown()} for row in rows], None, {}, None)
    place = {int(each): at for at, each in enumerate(voted)}
    design = bt.contrasts(votes, group, len(grouping.names))[:, voted]
    covariates = [np.ones((len(votes), 1))]
    if grouping.other is not None and grouping.other.max() > 0:
        covariates.append(bt.contrasts(votes, grouping.other, grouping.other.max() + 1)[:, 1:])
    plain = bt.fit(votes, design, np.concatenate(covariates, axis=1), draws=draws, seed=seed)
    covariates.insert(1, counted.length[:, None])
    styled = bt.fit(votes, design, np.concatenate(covariates, axis=1), draws=draws, seed=seed)
    for index, row in enumerate(rows):
        row |= _figures(plain, styled, place[index]) if index in place else _unknown()
    return _Board(rows, plain, place, styled)


def _tally(votes: bt.Votes, left: np.ndarray, right: np.ndarray, index: int) -> dict[str, int]:
    """Wins, losses and ties against other groups."""
    here, there = (left == index) & (right != index), (right == index) & (left != index)
    won = (here & (votes.outcome == bt.LEFT)) | (there & (votes.outcome == bt.RIGHT))
    tied = (here | there) & (votes.outcome == bt.TIE)
    total = int((here | there).sum())
    return {"wins": int(won.sum()), "ties": int(tied.sum()), "losses": total - int(won.sum()) - int(tied.sum())}


def _figures(plain: bt.Fit, styled: bt.Fit, at: int) -> dict[str, Any]:
    low, high = plain.interval(at)
    styled_low, styled_high = styled.interval(at)
    strength = float(plain.strength[at])
    return {
        "strength": strength,
        "low": low,
        "high": high,
        "share": _share(strength),
        "share_low": _share(low),
        "share_high": _share(high),
        "equal_length": {"strength": float(styled.strength[at]), "low": styled_low, "high": styled_high},
    }


def _unknown() -> dict[str, Any]:
    return dict.fromkeys(("strength", "low", "high", "share", "share_low", "share_high", "equal_length"))


def _share(log_odds: float) -> float:
    """The chance of an answer of this strength against an average one, of votes that prefer one of both."""
    return 1 / (1 + math.exp(-log_odds))


def _biases(main: _Board) -> dict[str, Any]:
    """The chance of the left one of two equals, and of the one that is twice as long; each with its interval."""
    assert main.fit is not None and main.with_length is not None
    low, high = main.fit.coefficient_interval(0)
    position = {"share": _share(float(main.fit.coefficient[0])), "low": _share(low), "high": _share(high)}
    low, high = (_share(_TWICE * edge) for edge in main.with_length.coefficient_interval(1))
    length = {"share": _share(_TWICE * float(main.with_length.coefficient[1])), "low": low, "high": high}
    return {"position": position, "length": length, "by_voter": main.fit.by_voter}


def _agreement(taken: Snapshot) -> dict[str, Any] | None:
    """Over items: for the first contestant, for the second, or neither."""
    items = {item: index for index, item in enumerate(dict.fromkeys(pair.item for pair in taken.votes))}
    item = np.array([items[pair.item] for pair in taken.votes], int)
    choice = np.array([_for_whom(pair) for pair in taken.votes], int)
    found = agreement(item, choice, taken.seed)
    return asdict(found) if found else None


def _for_whom(pair: Pair) -> int:
    if pair.choice not in ("left", "right"):
        return 2
    return int((pair.left if pair.choice == "left" else pair.right) != pair.item[1])


def _one_sided(taken: Snapshot) -> list:
    decided = [pair for pair in taken.votes if pair.choice in ("left", "right")]
    voter = np.array([taken.numbers[pair.voter] for pair in decided], int)
    return one_sided(voter, np.array([pair.choice == "left" for pair in decided], bool))


def _says(main: _Board, taken: Snapshot) -> dict[str, Any]:
    """{code, leaders, behind, more}. code: no_votes, few, all_ties, open, partly, decided.

    leaders: rows whose difference to the strongest may be chance, the strongest first; behind: the others. more: about
    how many votes more would tell the first two leaders apart, if they differ as much as it looks; None if too many.
    """
    decided = sum(pair.choice in ("left", "right") for pair in taken.votes)
    empty: dict[str, Any] = {"leaders": [], "behind": [], "more": None, "votes": len(taken.votes)}
    if not taken.votes:
        return {"code": "no_votes", **empty}
    if len(taken.votes) >= _FEWEST_DECIDED and not decided:
        return {"code": "all_ties", **empty}
    if decided < _FEWEST_DECIDED or main.fit is None:
        return {"code": "few", **empty}
    told = bt.differences(main.fit)
    order = sorted(main.place, key=lambda row: -main.fit.strength[main.place[row]])  # type: ignore[union-attr]
    gaps = {row: told(main.place[order[0]], main.place[row]) for row in order[1:]}
    behind = [row for row, (gap, reach) in gaps.items() if gap > reach]
    leaders = [order[0], *(row for row in gaps if row not in behind)]
    code = "decided" if len(leaders) == 1 else "partly" if behind else "open"
    more = _more(len(taken.votes), *gaps[leaders[1]]) if len(leaders) > 1 else None
    return {"code": code, "leaders": leaders, "behind": behind, "more": more, "votes": len(taken.votes)}


def _more(votes: int, gap: float, reach: float) -> int | None:
    """The width of an interval falls with the root of the number of votes."""
    needed = votes * ((reach / gap) ** 2 - 1) if gap > 0 else math.inf
    return max(10, math.ceil(needed / 10) * 10) if needed < _MOST_MORE else None
