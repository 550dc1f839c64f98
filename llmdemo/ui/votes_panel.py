"""A class's vote on the page: the owners' section below the arena, and the page that participants open on their phones.

The section opens a vote on what stands in the arena's form, shows its link and QR code, and the board while it fills.
The participants' page is one island, "ballot"; a question of their own waits in the arena's line as a comparison does.
"""

import gradio as gr
import segno

from llmdemo.core.errors import UserError
from llmdemo.ui import authentication, bridge, votes_api
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.rights import GUESTS, for_guests, for_owners, right_of
from llmdemo.ui.services import Services
from llmdemo.ui.votes_pages import VotePages

_LONGEST_LINK = 500


def build(services: Services) -> gr.HTML:
    """The owners' section, inside the current Blocks context."""

    @for_owners
    def votes_code(data: dict) -> dict:
        """The QR code of a link: {rows: texts of 0 and 1}."""
        return {"rows": qr_code(data.get("link"))}

    quick, _ = votes_api.endpoints(services)
    return bridge.island("votes", [votes_code, *of_endpoints(quick)], elem_id="votes")


def build_page(services: Services, page: gr.Blocks) -> None:
    """The participants' page, which everybody may open."""
    with page.route("Vote", authentication.VOTE_PAGE, show_in_navbar=False):
        _ballot(services)


def _ballot(services: Services) -> None:
    pages = VotePages(services)

    @for_guests
    def ballot_ask(event: gr.EventData) -> None:
        """Two answers to a question of the participant's own, as the event `pair` of the stream called run_id."""
        data = dict(event._data or {})
        with bridge.own_stream(services, str(data.get("run_id"))) as stream:
            stream.add([{"type": "begin"}])
            asked = bridge.guarded(lambda _: pages.ask(data.get("session_id", ""), data.get("prompt", "")))
            stream.add([{"type": "pair", "answer": asked({})}, {"type": "end"}])

    quick, _ = votes_api.endpoints(services)
    of_guests = [each for each in of_endpoints(quick) if right_of(each) == GUESTS]
    island = bridge.island("ballot", of_guests, events=["ask"], elem_id="ballot")
    quiet = {**bridge.QUIET, "trigger_mode": "multiple"}
    island.ask(ballot_ask, concurrency_limit=services.settings.max_decodings, concurrency_id="arena", **quiet)


def qr_code(link: object) -> list[str]:
    """The modules of the QR code of an address, a text of 0 and 1 a row. Raises UserError for what is no address."""
    text = link if isinstance(link, str) else ""
    if not text.startswith(("http://", "https://")) or len(text) > _LONGEST_LINK:
        raise UserError("err_vote_link", link=repr(link)[:80], most=_LONGEST_LINK)
    return ["".join(map(str, row)) for row in segno.make_qr(text, error="m").matrix]
