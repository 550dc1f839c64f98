"""The named endpoints of a class's blind vote. JSON in, JSON out; knows no widget. Registered by api.py."""

from collections.abc import Callable

from llmdemo.settings.votes import VoteConfig
from llmdemo.ui.endpoints import takes
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.services import Services
from llmdemo.ui.votes_pages import VotePages


def endpoints(services: Services) -> tuple[list[Callable], list[Callable]]:
    """(those that are answered at once, those that wait for a place in the arena), each named as its endpoint."""
    pages = VotePages(services)
    return [*_owners(services, pages), *_guests(pages)], [_asking(pages)]


def _owners(services: Services, pages: VotePages) -> list[Callable]:
    @for_owners
    @takes(VoteConfig)
    def open_vote(config: dict, settings: dict | None = None) -> dict:
        """Opens a blind vote; returns session_id, link (below this app's address) and contestants.

        Every strategy of settings (the keys of /compare) with every model is a contestant. Keys of config:
        """
        return pages.open(config, settings)

    @for_owners
    def list_votes() -> list[dict]:
        """All votes, the newest first, each with its session_id first, title, votes, wanted, voters, closed."""
        return pages.list()

    @for_owners
    def close_vote(session_id: str) -> dict:
        """Ends a vote; what was voted stays. Returns its board. Harmless when it is over."""
        return pages.close(session_id)

    @for_owners
    def export_votes(session_id: str, format: str = "json") -> dict:
        """A vote's votes: {name, votes: one object a vote} for format "json", {name, text} for "csv"."""
        return pages.export(session_id, format)

    @for_owners
    def votes_to_preferences(session_id: str, name: str = "") -> dict:
        """Adds what the majority prefers as pairs to the preference data set `name` (by default the vote's title).

        Returns dataset_id, name, pairs, added, undecided (two answers without a majority), empty (left out).
        """
        return pages.to_preferences(session_id, name)

    @for_owners
    def vote_again(session_id: str, title: str = "") -> dict:
        """Opens the same vote once more, between the model that learned from its votes and the one before; as /open_vote."""
        return pages.again(session_id, title)

    return [open_vote, list_votes, close_vote, export_votes, votes_to_preferences, vote_again]


def _guests(pages: VotePages) -> list[Callable]:
    @for_guests
    def vote_pair(session_id: str) -> dict:
        """Two answers for the caller to vote on: session, pair {pair_id, prompt, left, right} or null and why not, last.

        Who calls is known by their cookie. The same pair comes until it is voted on; who wrote what is told afterwards.
        """
        return pages.pair(session_id)

    @for_guests
    def vote(session_id: str, pair_id: str, choice: str) -> dict:
        """Votes on the caller's pair: left, right, tie or both_bad. Returns who wrote left and right, yours, votes, wanted."""
        return pages.vote(session_id, pair_id, choice)

    @for_guests
    def undo_vote(session_id: str) -> dict:
        """Takes the caller's last vote back; returns what /vote_pair does. The pair itself does not come again."""
        return pages.undo(session_id)

    @for_guests
    def vote_board(session_id: str) -> dict:
        """The board: boards {strategy, model, both: rows with strength, low, high, share, wins, losses, ties}, position,
        length, agreement, one_sided, says and conclusion, a sentence. For guests once the vote is closed."""
        return pages.board(session_id)

    return [vote_pair, vote, undo_vote, vote_board]


def _asking(pages: VotePages) -> Callable:
    @for_guests
    def ask_pair(session_id: str, prompt: str) -> dict:
        """Where a vote takes questions: lets its contestants answer one of the caller's own; returns what /vote_pair does."""
        return pages.ask(session_id, prompt)

    return ask_pair
