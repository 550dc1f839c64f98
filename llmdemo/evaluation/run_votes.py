"""Evaluations of kind "votes": a judge on the pairs of answers that a class voted on, and how far the two agree.

Knows what a vote's log adds up to; asks no model for answers. A judge is worth as much as it agrees with people.
"""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from llmdemo.arena.vote_state import VoteState
from llmdemo.arena.voter_agreement import agreement
from llmdemo.core.errors import UserError
from llmdemo.core.events import every_event
from llmdemo.core.store import Home, child
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.judging import judge_all
from llmdemo.evaluation.kappa import cohens_kappa
from llmdemo.settings.evaluation import Spec

TIE = 2
"""The category of a pair for which most say neither, or as many one thing as another; 0 and 1 are the answers by their contestants' order."""


def run_votes(job: Job, home: Home, spec: Spec, key: str = "") -> dict[str, Any]:
    """The result: {judge, agreement, …}; records.jsonl is written too. Raises UserError, Stopped.

    agreement: {n, share, kappa, low, high, table} between the majority of the votes (rows) and the judge (columns), each
    one of: the first contestant's answer, the second's, neither; and voters {share, alpha, low, high}: how far voters
    agree among themselves, which no judge can be expected to exceed by much.
    """
    state = read_vote(home, spec.vote_id)
    records = voted_records(state)[: spec.limit]
    if not records:
        raise UserError("err_votes_none")
    job.plan([("judging", "")])
    job.next_phase()
    prompts = {record["index"]: [{"role": "user", "content": record["prompt"]}] for record in records}
    judged = judge_all(job, home, spec.judge, records, key, spec.split_seed, prompts)
    job.folder.write_records(records)
    return {
        "kind": "votes",
        "records": len(records),
        "notes": [],
        "models": [],
        "judge": judged,
        "agreement": agreed(records, state, spec.split_seed),
    }


def read_vote(home: Home, vote_id: str) -> VoteState:
    """What the vote's log adds up to. Raises UserError where there is no such vote."""
    log = child(home.votes, vote_id) / "events.jsonl"
    if not log.is_file():
        raise UserError("err_vote_none")
    state = VoteState()
    for event in every_event(log):
        state.apply(event)
    return state


def voted_records(state: VoteState) -> list[dict[str, Any]]:
    """A record of each two answers that were voted on, in the order of the prompts: votes [first, second, neither]."""
    counts: dict[tuple[int, int, int], Counter[int]] = {}
    for pair in state.votes:
        chosen = {"left": pair.left, "right": pair.right}.get(pair.choice)
        side = TIE if chosen is None else pair.item.index(chosen, 1) - 1
        counts.setdefault(pair.item, Counter())[side] += 1
    found = []
    for place, (item, counter) in enumerate(sorted(counts.items())):
        asked = state.asked[item[0]]
        answers = [asked.answers[contestant] or "" for contestant in item[1:]]
        votes = [counter[side] for side in (0, 1, TIE)]
        found.append(
            {
                "index": place,
                "row": place + 1,
                "prompt": asked.text,
                "instruction": asked.text,
                "reference": "",
                "answers": answers,
                "lanes": [_name(state.contestants[contestant]) for contestant in item[1:]],
                "votes": votes,
                "majority": votes.index(max(votes)) if votes.count(max(votes)) == 1 else TIE,
                "long": [False, False],
            }
        )
    return found


def agreed(records: list[dict[str, Any]], state: VoteState, seed: int) -> dict[str, Any] | None:
    """Between the votes' majorities and the judge's verdicts; None where the judge gave none."""
    clear = [record for record in records if record.get("verdict") and record["verdict"]["clear"]]
    class_, judge = (
        np.array(side, int)
        for side in (
            [record["majority"] for record in clear],
            [TIE if record["verdict"]["winner"] is None else record["verdict"]["winner"] for record in clear],
        )
    )
    found = cohens_kappa(class_, judge, 3, seed)
    if found is None:
        return None
    items = {item: number for number, item in enumerate(dict.fromkeys(pair.item for pair in state.votes))}
    sides = {"left": 0, "right": 1}
    choices = [
        TIE if pair.choice not in sides else pair.item.index((pair.left, pair.right)[sides[pair.choice]], 1) - 1
        for pair in state.votes
    ]
    voters = agreement(np.array([items[pair.item] for pair in state.votes]), np.array(choices), seed)
    return {**asdict(found), "voters": asdict(voters) if voters else None}


def _name(contestant: dict[str, Any]) -> str:
    return f"{contestant['model']} · {contestant['lane']}"
