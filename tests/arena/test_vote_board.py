"""The board: who is said to be better, and when nothing is said."""

import numpy as np
import pytest

from llmdemo.arena.vote_board import board, snapshot
from llmdemo.arena.vote_state import VoteState

CHOICES = ("left", "right", "tie")


def contestants(lanes: int, models: int = 1) -> list[dict]:
    return [
        {
            "model_id": f"m{model}",
            "model": f"Model {model}",
            "lane": f"lane {lane}",
            "strategy": "top_p",
            "settings": {},
        }
        for model in range(models)
        for lane in range(lanes)
    ]


def state_of(lanes: int, models: int = 1, prompts: int = 5, long: int = -1) -> VoteState:
    """A vote with answers and no votes yet; contestant `long` says twice as much as the others."""
    state = VoteState()
    config = {"prompts": [f"prompt {number}" for number in range(prompts)], "votes": 10_000, "own_prompts": False}
    state.apply(
        {"type": "opened", "t": 0, "version": 1, "session_id": "vote-x", "config": config, "settings": {},
         "contestants": contestants(lanes, models), "salt": ""}
    )  # fmt: skip
    texts = [f"{index:04d}" * (20 if index == long else 10) for index in range(lanes * models)]
    for number in range(prompts):
        state.apply({"type": "answers", "t": 0, "prompt": number, "text": f"prompt {number}", "answers": texts})
    return state


def cast(state: VoteState, voter: int, left: int, right: int, choice: str, seconds: float = 9.0) -> None:
    pair = f"pair {len(state.pairs)}"
    prompt = len(state.pairs) % len(state.own)
    shown = {
        "type": "pair",
        "t": 10.0,
        "pair": pair,
        "voter": f"v{voter}",
        "prompt": prompt,
        "left": left,
        "right": right,
    }
    state.apply(shown)
    state.apply({"type": "vote", "t": 10.0 + seconds, "pair": pair, "choice": choice})


def simulate(state: VoteState, strengths, voters: int, each: int, *, seed: int = 0, left: float = 0.0) -> None:
    generator = np.random.default_rng(seed)
    for voter in range(voters):
        for _ in range(each):
            here, there = generator.permutation(len(strengths))[:2]
            gap = strengths[here] - strengths[there] + left
            weights = np.exp([gap / 2, -gap / 2, -1.0])
            cast(state, voter, int(here), int(there), CHOICES[generator.choice(3, p=weights / weights.sum())])


def test_the_best_of_three_is_told_with_what_it_beats():
    state = state_of(3)
    simulate(state, [1.5, 0.0, -0.5], voters=30, each=12)
    told = board(snapshot(state))
    assert (told["says"]["code"], told["says"]["leaders"]) == ("decided", [0])
    assert sorted(told["says"]["behind"]) == [1, 2]
    row = told["boards"]["strategy"][0]
    assert row["low"] < row["strength"] < row["high"]
    assert row["share_low"] < row["share"] < row["share_high"]
    assert row["wins"] + row["losses"] + row["ties"] == sum(0 in (p.left, p.right) for p in state.votes)
    assert told["by_voter"] and told["voters"] == 30


def test_a_lead_that_may_be_chance_is_open_and_says_how_many_votes_it_takes():
    state = state_of(3)
    simulate(state, [0.3, 0.2, -2.0], voters=20, each=10)
    says = board(snapshot(state))["says"]
    assert (says["code"], sorted(says["leaders"]), says["behind"]) == ("partly", [0, 1], [2])
    assert says["more"] is None or says["more"] >= 10


def test_equals_are_not_told_apart():
    state = state_of(2)
    simulate(state, [0.0, 0.0], voters=20, each=10)
    assert board(snapshot(state))["says"]["code"] == "open"


@pytest.mark.parametrize(
    ("choices", "code"),
    [([], "no_votes"), (["left"] * 4, "few"), (["tie"] * 6 + ["both_bad"] * 6, "all_ties"), (["tie"] * 4, "few")],
)
def test_too_little_is_said_to_be_too_little(choices, code):
    state = state_of(2)
    for number, choice in enumerate(choices):
        cast(state, number, 0, 1, choice)
    told = board(snapshot(state))
    assert told["says"]["code"] == code


def test_one_voter_is_told_to_be_one():
    state = state_of(2)
    simulate(state, [2.0, 0.0], voters=1, each=30)
    told = board(snapshot(state))
    assert told["voters"] == 1 and not told["by_voter"]


def test_a_bias_towards_the_left_is_measured_and_the_strengths_are_free_of_it():
    state = state_of(2)
    simulate(state, [0.0, 0.0], voters=40, each=15, left=1.2)
    told = board(snapshot(state))
    assert told["position"]["low"] > 0.6
    row = told["boards"]["strategy"][0]
    assert row["low"] < 0 < row["high"]


def test_who_is_preferred_for_length_is_no_better_at_equal_length():
    """Contestant 2 wins by being long; where it is as long as the others, voters do not prefer it."""
    state = state_of(3, long=2)
    short = [f"{index:04d}" * 10 for index in range(3)]
    for prompt in range(5, 10):
        state.own.append(f"prompt {prompt}")
        state.apply({"type": "answers", "t": 0, "prompt": prompt, "text": f"prompt {prompt}", "answers": short})
    generator = np.random.default_rng(1)
    for number in range(900):
        here, there = (int(each) for each in generator.permutation(3)[:2])
        lengths = [len(state.asked[number % 10].answers[each]) for each in (here, there)]
        gap = 6 * (lengths[0] - lengths[1]) / sum(lengths)
        weights = np.exp([gap / 2, -gap / 2, -1.0])
        cast(state, number % 30, here, there, CHOICES[generator.choice(3, p=weights / weights.sum())])
    told = board(snapshot(state))
    row = told["boards"]["strategy"][2]
    assert row["low"] > 0
    assert row["equal_length"]["low"] < 0 < row["equal_length"]["high"]
    assert told["length"]["low"] > 0.75  # the planted figure: 1 / (1 + exp(-6 / 3)) = 0.88
    assert told["length"]["high"] > 0.85


def test_strategies_and_models_each_have_a_board_with_the_other_held_constant():
    state = state_of(2, models=2)
    simulate(state, [1.0, 0.0, 0.0, -1.0], voters=30, each=12)  # lane 0 is 1 better, model 0 is 1 better
    boards = board(snapshot(state))["boards"]
    assert [len(rows) for rows in boards.values()] == [4, 2, 2]
    for by in ("strategy", "model"):
        assert boards[by][0]["low"] <= 0.5 <= boards[by][0]["high"]
        assert boards[by][0]["low"] > 0


def test_a_contestant_without_votes_has_no_strength():
    state = state_of(3)
    simulate(state, [0.5, 0.0], voters=10, each=10)
    row = board(snapshot(state))["boards"]["strategy"][2]
    assert row["strength"] is None and row["wins"] == 0


def test_votes_that_came_before_anybody_could_read_are_counted():
    state = state_of(2)
    cast(state, 1, 0, 1, "left", seconds=0.5)
    cast(state, 1, 1, 0, "left", seconds=30)
    assert board(snapshot(state))["quick"] == 1


def test_who_always_takes_the_left_is_told():
    state = state_of(2)
    simulate(state, [0.5, 0.0], voters=9, each=10)
    for _ in range(14):
        cast(state, 9, *np.random.default_rng(len(state.pairs)).permutation(2).tolist(), "left")
    (told,) = board(snapshot(state))["one_sided"]
    assert (told["voter"], told["side"], told["count"]) == (10, "left", 14)


def test_the_same_votes_give_the_same_board():
    state = state_of(2)
    simulate(state, [0.5, 0.0], voters=9, each=10)
    assert board(snapshot(state)) == board(snapshot(state))
