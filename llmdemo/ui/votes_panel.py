"""A class's vote on the page: the owners' section below the arena, and the page that participants open on their phones.

The section opens a vote on what stands in the arena's form, shows its link and QR code, and the board while it fills.
The participants' page is one island, "ballot"; a question of their own waits in the arena's line as a comparison does.
"""

import gradio as gr
import segno

from llmdemo.core.errors import UserError
from llmdemo.ui import authentication, bridge
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.services import Services
from llmdemo.ui.votes_pages import VotePages

_LONGEST_LINK = 500


def build(services: Services) -> gr.HTML:
    """The owners' section, inside the current Blocks context."""
    pages = VotePages(services)

    @for_owners
    def votes_open(data: dict) -> dict:
        config = data.get("config")
        return pages.open(config if isinstance(config, dict) else {}, data.get("settings"))

    @for_owners
    def votes_list(_: dict) -> dict:
        return {"votes": pages.list()}

    @for_owners
    def votes_board(data: dict) -> dict:
        return pages.board(data.get("session_id", ""))

    @for_owners
    def votes_close(data: dict) -> dict:
        return pages.close(data.get("session_id", ""))

    @for_owners
    def votes_again(data: dict) -> dict:
        return pages.again(data.get("session_id", ""), str(data.get("title") or ""))

    @for_owners
    def votes_export(data: dict) -> dict:
        return pages.export(data.get("session_id", ""), data.get("kind", ""))

    @for_owners
    def votes_learn(data: dict) -> dict:
        return pages.to_preferences(data.get("session_id", ""), str(data.get("name") or ""))

    @for_owners
    def votes_code(data: dict) -> dict:
        """The QR code of a link: {rows: texts of 0 and 1}."""
        return {"rows": qr_code(data.get("link"))}

    functions = [votes_open, votes_list, votes_board, votes_close, votes_again, votes_export, votes_learn, votes_code]
    return bridge.island("votes", functions, elem_id="votes")


def build_page(services: Services, page: gr.Blocks) -> None:
    """The participants' page, which everybody may open."""
    with page.route("Vote", authentication.VOTE_PAGE, show_in_navbar=False):
        _ballot(services)


def _ballot(services: Services) -> None:
    pages = VotePages(services)

    @for_guests
    def ballot_pair(data: dict) -> dict:
        """What the participant sees now."""
        return pages.pair(data.get("session_id", ""))

    @for_guests
    def ballot_vote(data: dict) -> dict:
        return pages.vote(data.get("session_id", ""), str(data.get("pair_id")), str(data.get("choice")))

    @for_guests
    def ballot_undo(data: dict) -> dict:
        return pages.undo(data.get("session_id", ""))

    @for_guests
    def ballot_board(data: dict) -> dict:
        return pages.board(data.get("session_id", ""))

    @for_guests
    def ballot_ask(event: gr.EventData) -> None:
        """Two answers to a question of the participant's own, as the event `pair` of the stream called run_id."""
        data = dict(event._data or {})
        with bridge.own_stream(services, str(data.get("run_id"))) as stream:
            stream.add([{"type": "begin"}])
            asked = bridge.guarded(lambda _: pages.ask(data.get("session_id", ""), data.get("prompt", "")))
            stream.add([{"type": "pair", "answer": asked({})}, {"type": "end"}])

    functions = [ballot_pair, ballot_vote, ballot_undo, ballot_board]
    island = bridge.island("ballot", functions, events=["ask"], elem_id="ballot")
    quiet = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "multiple"}
    island.ask(ballot_ask, concurrency_limit=services.settings.max_decodings, concurrency_id="arena", **quiet)


def qr_code(link: object) -> list[str]:
    """The modules of the QR code of an address, a text of 0 and 1 a row. Raises UserError for what is no address."""
    text = link if isinstance(link, str) else ""
    if not text.startswith(("http://", "https://")) or len(text) > _LONGEST_LINK:
        raise UserError("err_vote_link", link=repr(link)[:80], most=_LONGEST_LINK)
    return ["".join(map(str, row)) for row in segno.make_qr(text, error="m").matrix]
