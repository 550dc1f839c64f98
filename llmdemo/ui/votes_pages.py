"""What the pages and endpoints of a class's vote ask: rights, who votes, and the board as JSON. Knows no widget.

Owners open, watch, close and export; guests see pairs and vote. Until a vote is closed a guest is told nothing of the
board, and of a pair nothing but its two texts.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say, together
from llmdemo.models import catalog
from llmdemo.models.library import import_library
from llmdemo.settings import Settings
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.votes import VoteConfig
from llmdemo.ui import authentication
from llmdemo.ui.samples import starter_tokenizer
from llmdemo.ui.services import Services

if TYPE_CHECKING:
    from llmdemo.arena.vote_state import VoteState
    from llmdemo.arena.votes import VoteSessions

_KEPT_BOARDS = 16
_MOST_RUNS = 20
"""Newest finished runs among which one that learned from the votes is looked for."""
_FORMATS = ("json", "csv")


class VotePages:
    """One for the app: boards are computed once for each state of a vote."""

    def __init__(self, services: Services):
        self._services = services
        self._boards: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    # ---- owners ----

    def open(self, config: dict, settings: dict | None = None) -> dict:
        """Opens a vote; {session_id, link, contestants}. link: below the app's own address."""
        self._services.require_owner()
        limits = self._services.settings
        checked = VoteConfig.from_dict(config, limits.max_prompts, limits.variable("max_prompts"))
        decoding = DecodeSettings.from_dict(settings, limits)
        titles = {}
        for model_id in checked.model_ids:
            entry = catalog.resolve(self._services.home, model_id)
            if not entry.writes:
                raise UserError("err_vote_no_writer", title=entry.title)
            titles[model_id] = entry.title
        sessions = self._sessions()
        from llmdemo.arena.vote_answers import contestants_of

        contestants = contestants_of(checked.model_ids, titles, decoding)
        session_id = sessions.open(checked, decoding.to_dict(), contestants)
        return {"session_id": session_id, "link": link_of(session_id), "contestants": contestants}

    def list(self) -> list[dict]:
        """All votes, the newest first; without importing torch where there are none."""
        self._services.require_owner()
        folder = self._services.home.votes
        if not folder.is_dir() or not any(folder.iterdir()):
            return []
        return self._sessions().sessions()

    def close(self, session_id: str) -> dict:
        """Ends a vote; its board."""
        self._services.require_owner()
        self._sessions().close(session_id)
        return self.board(session_id)

    def again(self, session_id: str, title: str) -> dict:
        """Opens the same vote once more, between the model that learned from its votes and the one before; as `open`."""
        self._services.require_owner()
        state = self._sessions().read(session_id, lambda state: {"config": state.config, "settings": state.settings})
        tuned = self._tuned(self._sessions().read(session_id, _about))
        if tuned is None:
            raise UserError("err_vote_no_tuned")
        config = {**state["config"], "title": title, "model_ids": [tuned["base"], tuned["model_id"]]}
        return self.open(config, state["settings"])

    def export(self, session_id: str, kind: str) -> dict:
        """{name, kind, votes (json: a list of objects) or text (csv)}."""
        self._services.require_owner()
        if kind not in _FORMATS:
            raise UserError("err_vote_format", kind=repr(kind)[:40], names=list(_FORMATS))
        sessions = self._sessions()
        from llmdemo.arena import vote_export

        if kind == "csv":
            return {"name": f"{session_id}.csv", "kind": kind, "text": sessions.read(session_id, vote_export.table)}
        return {"name": f"{session_id}.json", "kind": kind, "votes": sessions.read(session_id, vote_export.rows)}

    def to_preferences(self, session_id: str, name: str = "") -> dict:
        """The votes as a preference data set: {dataset_id, name, pairs, added, undecided, empty}."""
        self._services.require_owner()
        sessions = self._sessions()
        from llmdemo.arena import vote_export
        from llmdemo.arena.preferences import Preferences

        found = sessions.read(session_id, vote_export.pairs)
        title = sessions.read(session_id, lambda state: state.config["title"])
        picks = Preferences(self._services.home, self._services.settings)
        made = picks.add_many(
            name or title or f"Votes {session_id[5:13]}", found.rows, tokenizer=starter_tokenizer(self._services)
        )
        sessions.note_dataset(session_id, made["dataset_id"])
        return {**made, "undecided": found.undecided, "empty": found.empty}

    # ---- everybody ----

    def pair(self, session_id: str) -> dict:
        return self._sessions().pair(session_id, self._who())

    def ask(self, session_id: str, prompt: str) -> dict:
        return self._sessions().ask(session_id, self._who(), prompt, self._limits())

    def vote(self, session_id: str, pair_id: str, choice: str) -> dict:
        return self._sessions().vote(session_id, self._who(), pair_id, choice)

    def undo(self, session_id: str) -> dict:
        return self._sessions().undo(session_id, self._who())

    def board(self, session_id: str) -> dict:
        """The board with the vote's own figures and `conclusion`, a sentence; guests get it once the vote is closed."""
        sessions = self._sessions()
        sessions.make_answers(session_id)
        about, changes = sessions.read(session_id, lambda state: (_about(state), state.changes))
        if not about["closed"]:
            self._services.require_owner()
        about["making"], about["failed"] = sessions.is_making(session_id), sessions.failure(session_id)
        figures = self._figures(sessions, session_id, changes)
        return {**about, "tuned": self._tuned(about), **figures, "conclusion": conclusion(figures)}

    # ---- inside ----

    def _sessions(self) -> "VoteSessions":
        import_library()
        return self._services.votes.get()

    def _figures(self, sessions: "VoteSessions", session_id: str, changes: int) -> dict:
        with self._lock:  # a projector and an owner's phone ask for the same: computed once
            known = self._boards.get(session_id)
            if known and known[0] == changes:
                return known[1]
            from llmdemo.arena import vote_board

            figures = vote_board.board(sessions.read(session_id, vote_board.snapshot))
            self._boards[session_id] = changes, figures
            self._boards.move_to_end(session_id)
            while len(self._boards) > _KEPT_BOARDS:
                self._boards.popitem(last=False)
            return figures

    def _tuned(self, about: dict) -> dict | None:
        """{model_id, base}: the newest finished model that has learned from this vote's preferences."""
        datasets = about.pop("datasets")
        if not datasets or not self._services.is_owner():
            return None
        done = [run for run in self._services.runs.list() if run["model_id"]]
        for run in done[:_MOST_RUNS]:
            config = self._services.runs.config(run["run_id"])
            if config.get("dataset_id") in datasets:
                return {"model_id": run["model_id"], "base": config["model"]["id"]}
        return None

    def _limits(self) -> Settings:
        """The owner has chosen how long answers are; a guest's question is bounded as everywhere."""
        own, asked = self._services.settings, self._services.limits()
        return replace(own, max_prompt_tokens=asked.max_prompt_tokens)

    @staticmethod
    def _who() -> str:
        """The signed cookie's number, or the owner's account; "" for a guest without either."""
        visitor = authentication.current()
        if visitor is None:
            return "script"
        return visitor.key or (visitor.identity if visitor.is_owner else "")


def link_of(session_id: str) -> str:
    return f"{authentication.VOTE_PAGE}?vote={session_id}"


def _about(state: "VoteState") -> dict[str, Any]:
    return {
        "session_id": state.session_id,
        "link": link_of(state.session_id),
        "title": state.config["title"],
        "opened": state.opened,
        "votes": state.count,
        "wanted": state.config["votes"],
        "closed": state.closed,
        "own_prompts": state.config["own_prompts"],
        "prompts": len(state.own),
        "ready": len(state.own) - len(state.missing),
        "questions": sum(bool(asked.asker) for asked in state.asked.values()),
        "joined": len(state.voters),
        "model_ids": list(state.config["model_ids"]),
        "datasets": list(state.datasets),
        "contestants": state.contestants,
    }


def conclusion(figures: dict[str, Any]) -> str:
    """What may be concluded with these votes, in a sentence or two."""
    says = figures["says"]
    rows = next(iter(figures["boards"].values()))
    values = {
        "votes": says["votes"],
        "leaders": [title_of(rows[index]) for index in says["leaders"]],
        "behind": [title_of(rows[index]) for index in says["behind"]],
    }
    told: Callable[..., Any] = _SAYS[says["code"]]
    more = say("votes_more", n=says["more"]) if says["more"] else ""
    return together(told(values), more, _of_whom(figures, says["code"]))


_SAYS: dict[str, Callable[[dict[str, Any]], str]] = {
    "no_votes": lambda _: say("votes_says_no_votes"),
    "few": lambda _: say("votes_says_few"),
    "all_ties": lambda _: say("votes_says_all_ties"),
    "open": lambda values: say("votes_says_open", votes=values["votes"]),
    "partly": lambda values: say("votes_says_partly", leaders=values["leaders"], behind=values["behind"]),
    "decided": lambda values: say("votes_says_decided", leaders=values["leaders"], behind=values["behind"]),
}


def _of_whom(figures: dict[str, Any], code: str) -> str:
    if code in ("no_votes", "few", "all_ties"):
        return ""
    if figures["voters"] == 1:
        return say("votes_one_voter")
    return "" if figures["by_voter"] else say("votes_few_voters", n=figures["voters"])


def title_of(row: dict[str, Any]) -> str:
    """What a row of the board is called."""
    return " · ".join(part for part in (row["lane"], row["model"]) if part)
