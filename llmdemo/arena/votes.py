"""Blind votes of a class: opened by an owner, voted on by many at once, kept as an append-only log of JSON lines.

A vote is a folder of the home folder with events.jsonl (vote_state.py says what is in it). All state is what the log
adds up to: each call reads what has come since, decides, appends, and answers only after that. So a restart, a kill or a
second app on the same home folder neither loses nor doubles a vote that was acknowledged.

Nothing that is answered before a vote tells who wrote an answer. Knows no page; who may call what is decided in ui/.
"""

import hashlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from llmdemo.arena.vote_answers import Answers, Stopped
from llmdemo.arena.vote_state import CHOICES, VERSION, Asked, Pair, Voter, VoteState, items_of
from llmdemo.core.errors import DiskFull, NotNow, UserError, is_disk_full
from llmdemo.core.events import EventWriter, read_events
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, child, locked, new_id
from llmdemo.settings.votes import VoteConfig

_log = logging.getLogger(__name__)
_LONGEST_QUESTION = 2000
_MOST_ASKED = 30
"""Questions of their own that one voter may ask in one vote."""
_PREFIX = "vote"
_RETRY_SECONDS = 60.0
"""How long after a failure answers are tried again, when somebody looks."""
T = TypeVar("T")

Answer = Callable[..., Answers]
"""(contestants, settings, prompt, limits, started) → Answers; as vote_answers.answer, without the arena."""


class VoteSessions:
    """All votes of one home folder. Any thread may call it.

    answer: makes the answers; most_voters: of one vote; stop: ends a comparison by its id, when its vote is closed.
    """

    def __init__(self, home: Home, answer: Answer, most_voters: int, stop: Callable[[str], None] = lambda _: None):
        self._home, self._answer, self._most_voters, self._stop = home, answer, most_voters, stop
        self._known: dict[str, tuple[VoteState, int]] = {}
        self._making: dict[str, str] = {}
        """Votes whose answers a thread is making, and the comparison that it is at."""
        self._failed: dict[str, tuple[str, float]] = {}
        """Why the answers of a vote are not made, and when that was."""
        self._asking: set[tuple[str, str]] = set()
        self._guard = threading.Lock()
        self._random = secrets.SystemRandom()

    # ---- the owner's ----

    def open(self, config: VoteConfig, settings: dict[str, Any], contestants: list[dict[str, Any]]) -> str:
        """Opens a vote and begins to make its answers; returns its session_id. `settings`: DecodeSettings as JSON."""
        session_id = new_id(_PREFIX)
        (self._home.votes / session_id).mkdir(parents=True)
        values = {**vars(config), "model_ids": list(config.model_ids), "prompts": list(config.prompts)}
        opened = {"version": VERSION, "session_id": session_id, "config": values, "settings": settings}
        with self._changing(session_id, new=True) as (_, write):
            write("opened", **opened, contestants=contestants, salt=secrets.token_hex(16))
        self.make_answers(session_id)
        return session_id

    def close(self, session_id: str) -> None:
        """Ends a vote; harmless when it is over."""
        with self._changing(session_id) as (state, write):
            if not state.closed:
                write("closed", reason="owner")
        with self._guard:
            run_id = self._making.get(session_id)
        if run_id:
            self._stop(run_id)

    def state(self, session_id: str) -> VoteState:
        """What the vote's log adds up to now; others change it meanwhile. Raises UserError if there is none."""
        with self._changing(session_id) as (state, _):
            return state

    def read(self, session_id: str, take: Callable[[VoteState], T]) -> T:
        """What `take` makes of the vote's newest state, while nobody changes it. Raises UserError if there is none."""
        with self._changing(session_id) as (state, _):
            return take(state)

    def sessions(self) -> list[dict[str, Any]]:
        """[{session_id, title, opened, votes, wanted, voters, closed}], the newest first."""
        folder = self._home.votes
        names = (
            sorted((each.name for each in folder.iterdir() if each.is_dir()), reverse=True) if folder.is_dir() else []
        )
        found = []
        for name in names:
            try:
                state = self.state(name)
            except UserError:
                continue  # of a newer version, or no vote
            about = {"session_id": name, "title": state.config["title"], "opened": state.opened, "votes": state.count}
            found.append(
                {**about, "wanted": state.config["votes"], "voters": len(state.voters), "closed": state.closed}
            )
        return found

    def note_dataset(self, session_id: str, dataset_id: str) -> None:
        """Remembers that the votes were added to this data set."""
        with self._changing(session_id) as (state, write):
            if dataset_id not in state.datasets:
                write("data", dataset_id=dataset_id)

    # ---- the participants' ----

    def pair(self, session_id: str, who: str) -> dict[str, Any]:
        """What this participant sees: {session, pair, why, last}.

        session: {session_id, title, votes, wanted, yours, closed, own_prompts, prompts, ready, opened}. pair: {pair_id,
        prompt, left, right} (texts), or None; `why` then is making, failed, ask, seen_all or closed. last: the vote that
        may be taken back, as `vote` tells it. The same pair comes again until it is voted on, after a reload too.
        """
        self.make_answers(session_id)
        with self._changing(session_id) as (state, write):
            name = self._name(state, who)
            voter = state.voters.get(name)
            if not state.closed and not (voter and voter.open):
                self._show_next(state, name, write)
                voter = state.voters.get(name)
            return self._seen_by(state, voter)

    def ask(self, session_id: str, who: str, prompt: str, limits=None) -> dict[str, Any]:
        """Lets all contestants answer a participant's own question and shows them two of the answers; as `pair`.

        Takes as long as a comparison does. Raises UserError where the vote takes no questions, or there is a pair still
        to be voted on.
        """
        text = _question(prompt)
        with self._changing(session_id) as (state, _):
            name = self._name(state, who)
            self._check_may_ask(state, name)
        with self._guard:
            if (session_id, name) in self._asking:
                raise UserError("err_vote_asking")
            self._asking.add((session_id, name))
        try:
            made = self._answer(state.contestants, state.settings, text, limits)
        except Stopped:
            raise UserError("err_vote_stopped") from None
        finally:
            with self._guard:
                self._asking.discard((session_id, name))
        with self._changing(session_id) as (state, write):
            self._check_may_ask(state, name)
            items = items_of(max([len(state.own) - 1, *state.asked]) + 1, Asked(text, made.texts))
            if not items:
                raise UserError("err_vote_alike")
            write("answers", prompt=items[0][0], text=text, answers=made.texts, asker=name, error=made.error)
            self._show(self._random.choice(items), name, write)
            return self._seen_by(state, state.voters[name])

    def vote(self, session_id: str, who: str, pair_id: str, choice: str) -> dict[str, Any]:
        """Counts a vote and names the contestants: {pair_id, choice, left, right, yours, votes, wanted, closed}.

        left, right: {model, lane, strategy, settings}. Raises UserError for a pair that is not this voter's or was voted
        on before, and when the vote is over.
        """
        if choice not in CHOICES:
            raise UserError("err_vote_choice", choice=repr(choice)[:40], names=list(CHOICES))
        with self._changing(session_id) as (state, write):
            name = self._name(state, who)
            pair = state.pairs.get(str(pair_id))
            if pair is None or pair.voter != name:
                raise UserError("err_vote_not_yours")
            if pair.choice or pair.undone:
                raise UserError("err_vote_twice")
            if state.closed:
                raise UserError("err_vote_closed")
            write("vote", pair=pair.pair_id, choice=choice)
            if state.count >= state.config["votes"]:
                write("closed", reason="enough")
            return self._named(state, pair)

    def undo(self, session_id: str, who: str) -> dict[str, Any]:
        """Takes back this voter's last vote; returns what `pair` does. The pair is not asked again: it is not blind now."""
        with self._changing(session_id) as (state, write):
            name = self._name(state, who)
            voter = state.voters.get(name)
            if state.closed:
                raise UserError("err_vote_closed_undo")
            if voter is None or voter.last is None:
                raise UserError("err_vote_no_undo")
            write("undo", pair=voter.last.pair_id)
        return self.pair(session_id, who)

    # ---- answers ----

    def make_answers(self, session_id: str) -> None:
        """Sees to it that a thread is making the answers that are missing; after a restart somebody's call does so."""
        state = self.state(session_id)
        with self._guard:
            at_rest = time.monotonic() - self._failed.get(session_id, ("", -math.inf))[1] < _RETRY_SECONDS
            if not state.missing or state.closed or session_id in self._making or at_rest:
                return
            self._making[session_id] = ""
        threading.Thread(target=self._make, args=(session_id,), daemon=True, name="vote answers").start()

    def failure(self, session_id: str) -> str:
        """Why no more answers are made: a sentence, or ""."""
        return self._failed.get(session_id, ("", 0.0))[0]

    def is_making(self, session_id: str) -> bool:
        """Whether answers are being made now."""
        return session_id in self._making

    def _make(self, session_id: str) -> None:
        try:
            while (state := self.state(session_id)).missing and not state.closed:
                number = state.missing[0]
                made = self._answers_to(session_id, state, state.own[number])
                with self._changing(session_id) as (state, write):
                    if number not in state.asked:
                        write("answers", prompt=number, text=state.own[number], answers=made.texts, error=made.error)
            self._failed.pop(session_id, None)
        except Stopped:
            pass  # with the app, or with the vote
        except NotNow as error:
            self._failed[session_id] = str(error), time.monotonic()
        except Exception as error:  # the end of a thread: what is wrong is told on the board
            _log.exception("the answers of %s", session_id)
            said = str(DiskFull()) if is_disk_full(error) else say("vote_answers_failed", kind=type(error).__name__)
            self._failed[session_id] = said, time.monotonic()
        finally:
            with self._guard:
                self._making.pop(session_id, None)

    def _answers_to(self, session_id: str, state: VoteState, prompt: str) -> Answers:
        def started(run_id: str) -> None:
            with self._guard:
                self._making[session_id] = run_id

        try:
            return self._answer(state.contestants, state.settings, prompt, None, started)
        except NotNow:
            raise  # a queue or a disk that is full: tried again
        except UserError as error:
            return Answers([None] * len(state.contestants), str(error))

    # ---- inside ----

    @contextmanager
    def _changing(self, session_id: str, new: bool = False) -> Iterator[tuple[VoteState, Callable[..., None]]]:
        """(the newest state, write(type, **fields)): alone among all threads and apps, until the body ends."""
        folder = child(self._home.votes, session_id)
        if not folder.is_dir() or not (new or (folder / "events.jsonl").is_file()):
            raise UserError("err_vote_none")
        log = folder / "events.jsonl"
        with locked(folder / "lock"):
            state = self._caught_up(session_id, log)

            def write(kind: str, **fields: Any) -> None:
                writer = EventWriter(log)
                try:
                    writer.write(kind, **fields)
                    writer.sync()
                finally:
                    writer.close()
                self._caught_up(session_id, log)

            yield state, write

    def _caught_up(self, session_id: str, log) -> VoteState:
        state, offset = self._known.get(session_id) or (VoteState(), 0)
        while True:
            events, end = read_events(log, offset)
            for event in events:
                state.apply(event)
            self._known[session_id] = state, end
            if end == offset:
                return state
            offset = end

    def _name(self, state: VoteState, who: str) -> str:
        """The voter's name in the log: it tells the votes of one from another's, and not whose they are."""
        if not who:
            raise UserError("err_vote_no_cookie")
        name = hashlib.sha256(f"{state.salt} {who}".encode()).hexdigest()[:12]
        if name not in state.voters and len(state.voters) >= self._most_voters:
            raise UserError("err_vote_full", n=self._most_voters)
        return name

    def _show_next(self, state: VoteState, name: str, write: Callable[..., None]) -> None:
        if candidates := state.candidates(name):
            self._show(self._random.choice(candidates), name, write)

    def _show(self, item: tuple[int, int, int], name: str, write: Callable[..., None]) -> None:
        """Draws who stands on the left, and remembers that these two were shown."""
        left, right = self._random.sample(item[1:], 2)
        write("pair", pair=secrets.token_hex(9), voter=name, prompt=item[0], left=left, right=right)

    def _check_may_ask(self, state: VoteState, name: str) -> None:
        voter = state.voters.get(name) or Voter(0)
        if state.closed:
            raise UserError("err_vote_closed_ask")
        if not state.config["own_prompts"]:
            raise UserError("err_vote_no_questions")
        if voter.open:
            raise UserError("err_vote_pair_open")
        if voter.asked >= _MOST_ASKED:
            raise UserError("err_vote_many_questions", n=voter.asked)

    def _seen_by(self, state: VoteState, voter: Voter | None) -> dict[str, Any]:
        pair = voter.open if voter and not state.closed else None
        return {
            "session": {
                "session_id": state.session_id,
                "title": state.config["title"],
                **self._counts(state, voter),
                "own_prompts": state.config["own_prompts"],
                "prompts": len(state.own),
                "ready": len(state.own) - len(state.missing),
            },
            "pair": self._shown(state, pair) if pair else None,
            "why": "" if pair else self._why_none(state),
            "last": self._named(state, voter.last) if voter and voter.last else None,
        }

    def _why_none(self, state: VoteState) -> str:
        if state.closed:
            return "closed"
        if state.missing:
            return "failed" if self.failure(state.session_id) else "making"
        return "ask" if state.config["own_prompts"] else "seen_all"

    @staticmethod
    def _counts(state: VoteState, voter: Voter | None) -> dict[str, Any]:
        yours = voter.votes if voter else 0
        return {"yours": yours, "votes": state.count, "wanted": state.config["votes"], "closed": bool(state.closed)}

    @staticmethod
    def _shown(state: VoteState, pair: Pair) -> dict[str, Any]:
        """What is told of a pair before the vote: texts alone."""
        asked = state.asked[pair.prompt]
        left, right = asked.answers[pair.left], asked.answers[pair.right]
        return {"pair_id": pair.pair_id, "prompt": asked.text, "left": left, "right": right}

    def _named(self, state: VoteState, pair: Pair) -> dict[str, Any]:
        sides = {side: _public(state.contestants[getattr(pair, side)]) for side in ("left", "right")}
        about = {"pair_id": pair.pair_id, "choice": pair.choice, **sides}
        return {**about, "texts": self._shown(state, pair), **self._counts(state, state.voters[pair.voter])}


def _public(contestant: dict[str, Any]) -> dict[str, Any]:
    return {key: contestant[key] for key in ("model", "lane", "strategy", "settings")}


def _question(prompt: Any) -> str:
    if not isinstance(prompt, str) or not prompt.strip():
        raise UserError("err_vote_no_question")
    if len(prompt) > _LONGEST_QUESTION:
        raise UserError("err_vote_long_question", n=len(prompt), most=_LONGEST_QUESTION)
    return prompt.strip().encode("utf-8", "replace").decode()
