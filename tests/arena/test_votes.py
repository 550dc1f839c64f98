"""Blind votes: what participants are shown, what is refused, and that nothing is lost or doubled."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from llmdemo.arena import votes
from llmdemo.arena.vote_answers import Answers, Stopped
from llmdemo.arena.votes import VoteSessions
from llmdemo.core.errors import NotNow, UserError
from llmdemo.core.store import Home
from llmdemo.settings.votes import VoteConfig
from tests.waiting import until

LANES = ("zebra", "yak", "xerus")
CONTESTANTS = [
    {"model_id": "starter", "model": "Quokka", "lane": lane, "strategy": "top_p", "settings": {"top_p": 0.9}}
    for lane in LANES
]


def said(contestants, settings, prompt, limits=None, started=lambda _: None):
    """Each contestant's own answer; which is whose, only the test knows."""
    return Answers([f"{prompt}: answer {number}" for number in range(len(contestants))])


def opened(sessions: VoteSessions, **config) -> str:
    """A vote whose answers are made."""
    values = {"prompts": ["one", "two"], **config}
    session_id = sessions.open(VoteConfig.from_dict(values, 500, "LLMDEMO_MAX_PROMPTS"), {}, CONTESTANTS)
    until(lambda: not sessions.state(session_id).missing or sessions.failure(session_id))
    return session_id


@pytest.fixture
def sessions(home) -> VoteSessions:
    return VoteSessions(home, said, most_voters=50)


def test_nothing_that_is_told_before_a_vote_names_a_contestant(sessions):
    told = json.dumps(sessions.pair(opened(sessions), "anna"))
    for name in (*LANES, "Quokka", "starter", "top_p"):
        assert name not in told


def test_the_order_of_the_answers_is_drawn(sessions):
    session_id = opened(sessions, prompts=["one"])
    for number in range(40):
        sessions.pair(session_id, f"voter {number}")
    sides = Counter(pair.left < pair.right for pair in sessions.state(session_id).pairs.values())
    assert min(sides.values()) >= 6  # of 40 coins, less than 6 come in one of 200,000 cases


def test_after_the_vote_both_are_named_as_they_were_shown(sessions):
    session_id = opened(sessions)
    pair = sessions.pair(session_id, "anna")["pair"]
    named = sessions.vote(session_id, "anna", pair["pair_id"], "left")
    for side in ("left", "right"):
        number = int(pair[side].rsplit(" ", 1)[1])
        assert named[side] == {key: CONTESTANTS[number][key] for key in ("model", "lane", "strategy", "settings")}
    assert (named["votes"], named["yours"], named["choice"]) == (1, 1, "left")


def test_a_reload_shows_the_same_pair_in_the_same_order(sessions):
    session_id = opened(sessions)
    assert sessions.pair(session_id, "anna")["pair"] == sessions.pair(session_id, "anna")["pair"]
    assert len(sessions.state(session_id).pairs) == 1


def test_a_pair_counts_once_and_for_its_own_voter_only(sessions):
    session_id = opened(sessions)
    pair_id = sessions.pair(session_id, "anna")["pair"]["pair_id"]
    with pytest.raises(UserError, match="not yours"):
        sessions.vote(session_id, "bert", pair_id, "left")
    sessions.vote(session_id, "anna", pair_id, "left")
    with pytest.raises(UserError, match="You have voted on this pair"):
        sessions.vote(session_id, "anna", pair_id, "right")
    with pytest.raises(UserError, match="must be one of: left, right, tie, both_bad"):
        sessions.vote(session_id, "anna", pair_id, "best")
    assert sessions.state(session_id).count == 1


def test_nobody_sees_a_pair_twice_and_everybody_sees_all(sessions):
    session_id = opened(sessions)
    seen = []
    while (now := sessions.pair(session_id, "anna"))["pair"]:
        seen.append(now["pair"])
        sessions.vote(session_id, "anna", now["pair"]["pair_id"], "tie")
    assert now["why"] == "seen_all"
    assert len({(pair["prompt"], *sorted((pair["left"], pair["right"]))) for pair in seen}) == len(seen) == 2 * 3


def test_pairs_are_spread_evenly_over_many_voters(sessions):
    session_id = opened(sessions)
    for number in range(12):
        sessions.pair(session_id, f"voter {number}")
    assert set(sessions.state(session_id).load.values()) == {2}


def test_the_last_vote_can_be_taken_back_once_and_its_pair_does_not_come_again(sessions):
    session_id = opened(sessions)
    first = sessions.pair(session_id, "anna")["pair"]
    sessions.vote(session_id, "anna", first["pair_id"], "left")
    second = sessions.pair(session_id, "anna")["pair"]
    sessions.vote(session_id, "anna", second["pair_id"], "left")
    after = sessions.undo(session_id, "anna")
    assert after["last"] is None
    assert after["session"]["votes"] == 1
    assert after["pair"]["pair_id"] not in (first["pair_id"], second["pair_id"])
    with pytest.raises(UserError, match="no vote to take back"):
        sessions.undo(session_id, "anna")
    with pytest.raises(UserError, match="You have voted on this pair"):
        sessions.vote(session_id, "anna", second["pair_id"], "right")
    assert [pair.pair_id for pair in sessions.state(session_id).votes] == [first["pair_id"]]


def test_a_closed_vote_takes_none_and_says_so(sessions):
    session_id = opened(sessions)
    pair_id = sessions.pair(session_id, "anna")["pair"]["pair_id"]
    sessions.close(session_id)
    sessions.close(session_id)
    with pytest.raises(UserError, match="closed.*not counted"):
        sessions.vote(session_id, "anna", pair_id, "left")
    assert sessions.pair(session_id, "anna")["why"] == "closed"
    assert sessions.state(session_id).count == 0


def test_a_vote_closes_itself_after_its_number_of_votes(sessions):
    session_id = opened(sessions, votes=2)
    for number in range(2):
        pair = sessions.pair(session_id, f"voter {number}")["pair"]
        named = sessions.vote(session_id, f"voter {number}", pair["pair_id"], "right")
    assert named["closed"]
    assert sessions.state(session_id).closed == "enough"


def test_answers_that_are_alike_are_never_set_side_by_side(home):
    sessions = VoteSessions(home, lambda *_: Answers(["same ", "same", "other"]), most_voters=9)
    session_id = opened(sessions, prompts=["one"])
    assert sorted(sessions.state(session_id).load) == [(0, 0, 2), (0, 1, 2)]


def test_a_contestant_that_fails_is_left_out_and_told(home):
    sessions = VoteSessions(home, lambda *_: Answers(["a", None, "b"], "The memory is full."), most_voters=9)
    session_id = opened(sessions, prompts=["one"])
    assert list(sessions.state(session_id).load) == [(0, 0, 2)]
    assert sessions.state(session_id).asked[0].error == "The memory is full."


def test_a_prompt_that_cannot_be_answered_does_not_hold_up_the_others(home):
    def answer(contestants, settings, prompt, limits, started):
        if prompt == "one":
            raise UserError("The prompt is too long.", "Shorten it.")
        return said(contestants, settings, prompt)

    sessions = VoteSessions(home, answer, most_voters=9)
    session_id = opened(sessions)
    assert {prompt for prompt, _, _ in sessions.state(session_id).load} == {1}


def test_answers_that_a_restart_cut_off_are_made_when_somebody_comes(home):
    def stopped(*_):
        raise Stopped

    before = VoteSessions(home, stopped, most_voters=9)
    session_id = before.open(VoteConfig(prompts=("one",)), {}, CONTESTANTS)
    until(lambda: not before.is_making(session_id))
    assert before.pair(session_id, "anna")["why"] == "making"
    after = VoteSessions(home, said, most_voters=9)
    until(lambda: after.pair(session_id, "anna")["pair"])


def test_participants_ask_and_vote_on_their_own_answers_alone(sessions):
    session_id = opened(sessions, prompts=[], own_prompts=True)
    assert sessions.pair(session_id, "anna")["why"] == "ask"
    pair = sessions.ask(session_id, "anna", " Why? ")["pair"]
    assert pair["prompt"] == "Why?"
    with pytest.raises(UserError, match="two answers to vote on"):
        sessions.ask(session_id, "anna", "And?")
    assert sessions.pair(session_id, "bert")["why"] == "ask"
    sessions.vote(session_id, "anna", pair["pair_id"], "left")
    assert sessions.pair(session_id, "anna")["pair"]["prompt"] == "Why?"  # the other two of its three pairs


@pytest.mark.parametrize("question", ["", "  ", None, "x" * 2001])
def test_a_question_that_is_none_is_refused(sessions, question):
    with pytest.raises(UserError, match="question"):
        sessions.ask(opened(sessions, own_prompts=True), "anna", question)


def test_a_vote_with_its_own_questions_takes_no_others(sessions):
    with pytest.raises(UserError, match="has its own questions"):
        sessions.ask(opened(sessions), "anna", "Why?")


def test_who_keeps_no_cookie_and_who_is_one_too_many_are_refused(home):
    sessions = VoteSessions(home, said, most_voters=2)
    session_id = opened(sessions)
    with pytest.raises(UserError, match="keeps no cookies"):
        sessions.pair(session_id, "")
    sessions.pair(session_id, "anna")
    sessions.pair(session_id, "bert")
    with pytest.raises(UserError, match="LLMDEMO_MAX_VOTERS"):
        sessions.pair(session_id, "carla")
    assert sessions.pair(session_id, "anna")["pair"]


@pytest.mark.parametrize("session_id", ["vote-20260101-000000-abcdef", "../runs", "", None, 7])
def test_a_vote_that_is_not_there_is_refused(sessions, session_id):
    with pytest.raises(UserError):
        sessions.pair(session_id, "anna")


def test_the_log_names_no_cookie(sessions, home):
    session_id = opened(sessions)
    sessions.pair(session_id, "guest secret-number")
    assert "secret-number" not in (home.votes / session_id / "events.jsonl").read_text()


def test_a_torn_last_line_costs_nothing_that_was_acknowledged(sessions, home):
    session_id = opened(sessions)
    pair_id = sessions.pair(session_id, "anna")["pair"]["pair_id"]
    sessions.vote(session_id, "anna", pair_id, "left")
    with open(home.votes / session_id / "events.jsonl", "ab") as log:
        log.write(b'{"type": "vote", "pair": "' + pair_id.encode())
    again = VoteSessions(home, said, most_voters=9)
    assert again.state(session_id).count == 1
    pair = again.pair(session_id, "anna")["pair"]
    again.vote(session_id, "anna", pair["pair_id"], "right")
    assert VoteSessions(home, said, most_voters=9).state(session_id).count == 2


def test_forty_phones_at_once_over_a_restart_lose_and_double_nothing(home):
    """Every phone votes on all pairs; in the middle the service is made anew, while calls of the old one still run."""
    current = [VoteSessions(home, said, most_voters=50)]
    session_id = opened(current[0], prompts=[f"prompt {number}" for number in range(3)], votes=1000)
    acknowledged, errors, restart = [], [], threading.Barrier(41)

    def phone(who: str) -> None:
        try:
            for number in itertools.count():
                if number == 4:
                    restart.wait(60)
                pair = current[0].pair(session_id, who)["pair"]
                if pair is None:
                    return
                current[0].vote(session_id, who, pair["pair_id"], "left" if number % 2 else "tie")
                acknowledged.append(pair["pair_id"])
        except Exception as error:
            errors.append(error)

    phones = [threading.Thread(target=phone, args=(f"phone {number}",)) for number in range(40)]
    for each in phones:
        each.start()
    restart.wait(60)
    current[0] = VoteSessions(home, said, most_voters=50)
    for each in phones:
        each.join(60)
    assert not errors
    state = VoteSessions(home, said, most_voters=50).state(session_id)
    assert sorted(acknowledged) == sorted(pair.pair_id for pair in state.votes)
    assert state.count == len(set(acknowledged)) == 40 * 9
    assert set(state.load.values()) == {40}


VOTER = """
import sys, threading
sys.path[:0] = {path!r}
from tests.arena.test_votes import VoteSessions, said
from llmdemo.core.store import Home
from pathlib import Path
sessions = VoteSessions(Home(Path({home!r})), said, most_voters=50)
lock = threading.Lock()
def phone(who):
    while pair := sessions.pair({session!r}, who)["pair"]:
        sessions.vote({session!r}, who, pair["pair_id"], "left")
        with lock:
            print(pair["pair_id"], flush=True)
for number in range(8):
    threading.Thread(target=phone, args=(f"phone {{number}}",)).start()
"""


@pytest.mark.slow
def test_a_killed_app_has_kept_every_vote_that_it_acknowledged(sessions, home):
    session_id = opened(sessions, prompts=[f"prompt {number}" for number in range(40)], votes=2000)
    root = str(Path(__file__).parents[2])
    script = VOTER.format(path=[root], home=str(home.root), session=session_id)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root)
    acknowledged = [process.stdout.readline().strip() for _ in range(60)]
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate(timeout=30)
    acknowledged += [line for line in rest.split("\n") if len(line) == 18]
    state = VoteSessions(Home(home.root), said, most_voters=50).state(session_id)
    kept = [pair.pair_id for pair in state.votes]
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept)) == state.count <= len(acknowledged) + 8  # written, not acknowledged yet


def test_answers_that_cannot_be_made_now_are_tried_again_and_not_given_up(home, monkeypatch):
    full = [NotNow("The queue is full.", "Try again.")]

    def answer(*asked):
        if full:
            raise full.pop()
        return said(*asked)

    sessions = VoteSessions(home, answer, most_voters=9)
    session_id = opened(sessions, prompts=["one"])
    assert sessions.failure(session_id) == "The queue is full. Try again."
    assert sessions.pair(session_id, "anna")["why"] == "failed"
    monkeypatch.setattr(votes, "_RETRY_SECONDS", 0.0)
    until(lambda: sessions.pair(session_id, "anna")["pair"])
    until(lambda: sessions.failure(session_id) == "")
