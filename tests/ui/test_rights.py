"""Every handler, endpoint and island's function says who may call it; a guest gets a refusal from each owners' one."""

import dataclasses
import inspect
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio.context import LocalContext

from llmdemo.access.people import Access, Visitor
from llmdemo.ui import authentication, bridge, rights
from llmdemo.ui.app import build, launch_options
from llmdemo.ui.services import Services

GUESTS_MAY = {
    *("list_models", "compare", "compare_many"),
    *("models", "stop", "warm", "python", "thumb", "preference_sets"),
    *("lens", "attribute", "memory", "quiz_submit"),
    *("things", "records", "tokens", "surprises", "questions", "several", "judged", "answers"),
    *("vote_pair", "ask_pair", "vote", "undo_vote", "vote_board"),
    "ballot_ask",
    "watch_run",
}
"""All that an open address offers: whoever adds to this list opens something to everybody."""


@pytest.fixture(scope="module")
def shared(services) -> Services:
    """Owners have accounts, so everybody else is a guest; one may ask as often as this file does."""
    settings = dataclasses.replace(services.settings, max_requests_per_minute=100_000)
    access = Access("accounts", {"ann": "hashed"})
    return Services(**{**services.__dict__, "settings": settings, "access": access})


@pytest.fixture(scope="module")
def page(shared) -> gr.Blocks:
    """The whole page with the guests' page beside it."""
    return build(shared)


@pytest.fixture
def as_guest():
    """The test's own calls are a guest's."""
    token = LocalContext.request.set(
        SimpleNamespace(scope={authentication.VISITOR: Visitor("guest", "g", "1.1.1.1", policy="accounts")})
    )
    yield
    LocalContext.request.reset(token)


def called(page) -> list:
    """Everything that a request can call."""
    events = [event.fn for event in page.fns.values() if event.fn is not None]
    return events + [function for block in page.blocks.values() for function in getattr(block, "server_fns", ())]


def undeclared(page) -> list[str]:
    return [
        f"{function.__module__}.{function.__qualname__}" for function in called(page) if not rights.right_of(function)
    ]


def answer(function):
    """What a guest's call gives: the island's answer, or the sentence that is raised."""
    try:
        return list(function()) if inspect.isgeneratorfunction(function) else function()
    except gr.Error as error:
        return {"error": {"message": error.message}}


def test_each_says_whether_guests_may_call_it(page):
    assert len(called(page)) > 90 and undeclared(page) == []


def test_one_that_says_nothing_is_found(shared):
    with gr.Blocks() as forgetful:
        gr.api(lambda: "secret", api_name="forgotten")
        bridge.island("x", [lambda _: {"secret": 1}])
    rights.close_to_guests(forgetful, shared.require_owner)
    assert len(undeclared(forgetful)) == 2


def test_what_says_nothing_is_closed_to_guests(shared, as_guest):
    with gr.Blocks() as forgetful:
        gr.api(lambda: "secret", api_name="forgotten")
        bridge.island("x", [lambda _: {"secret": 1}])
    rights.close_to_guests(forgetful, shared.require_owner)
    assert all("Only an owner" in str(answer(function)["error"]["message"]) for function in called(forgetful))


def test_a_guest_is_refused_by_each_that_is_the_owners(page, as_guest):
    owners = [function for function in called(page) if rights.right_of(function) == rights.OWNERS]
    open_ones = [
        function.__qualname__
        for function in owners
        if "Only an owner" not in str((answer(function) or {}).get("error", {}).get("message"))
    ]
    assert len(owners) > 80 and open_ones == []


def test_what_gradio_calls_by_name_is_what_was_closed(page):
    for block in page.blocks.values():
        for function in getattr(block, "server_fns", ()):
            assert getattr(block, function.__name__) is function and function._is_server_fn


def test_an_island_that_an_event_makes_anew_stays_closed(page, as_guest):
    """As Gradio does for a session when an event gives `gr.HTML(visible=…)`: from what the island was made of."""
    with gr.Blocks():
        islands = [block for block in page.blocks.values() if getattr(block, "server_fns", ())]
        again = [type(island)(**{**island.constructor_args, "render": False}) for island in islands]
    functions = [function for island in again for function in island.server_fns]
    owners = [function for function in functions if rights.right_of(function) == rights.OWNERS]
    open_ones = [each.__qualname__ for each in owners if "Only an owner" not in str(answer(each))]
    assert len(owners) > 80 and open_ones == []


def test_a_request_that_nobody_is_known_to_have_sent_is_refused(page):
    """As a guest's is: where guests are let in, nobody is an owner by default."""
    function = next(
        each for each in called(page) if rights.right_of(each) == rights.OWNERS and each.__name__ == "list_runs"
    )
    assert "Only an owner" in answer(function)["error"]["message"]


def test_guests_may_call_what_is_listed_here_and_nothing_else(page):
    may = {function.__name__ for function in called(page) if rights.right_of(function) == rights.GUESTS}
    assert may == GUESTS_MAY


def said(web: httpx.Client, body: dict) -> str:
    """All that a guest reads of an event that they put into the queue, past the page."""
    web.post("gradio_api/queue/join", json=body).raise_for_status()
    with web.stream("GET", "gradio_api/queue/data", params={"session_hash": body["session_hash"]}) as stream:
        lines = []
        for line in stream.iter_lines():
            lines.append(line)
            if "process_completed" in line:
                break
    return "\n".join(lines)


@pytest.mark.slow
def test_over_http_a_guest_is_refused_in_every_way_that_a_function_can_be_called(page, shared):
    """As endpoint, as event by its number, and as an island's function: all that are the owners'."""
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(shared))
    open_ones, asked = [], 0
    try:
        with httpx.Client(base_url=url, timeout=30) as web:
            for number, event in page.fns.items():
                if event.fn is None or rights.right_of(event.fn) == rights.GUESTS:
                    continue
                asked += 1
                given = {"data": [None] * len(event.inputs)}
                if event.api_visibility == "public":  # the route of scripts puts it into the same queue
                    called = web.post(f"gradio_api/call/{event.api_name}", json=given).json()
                    told = web.get(f"gradio_api/call/{event.api_name}/{called['event_id']}").text
                else:
                    told = said(web, {**given, "fn_index": number, "session_hash": f"s{number}", "event_data": {}})
                if "Only an owner" not in told:
                    open_ones.append(event.name)
            for number, block in page.blocks.items():
                for function in getattr(block, "server_fns", ()):
                    if rights.right_of(function) == rights.GUESTS:
                        continue
                    asked += 1
                    body = {"data": {}, "component_id": number, "session_hash": "x", "fn_name": function.__name__}
                    if "Only an owner" not in web.post("gradio_api/component_server", json=body).text:
                        open_ones.append(function.__qualname__)
    finally:
        page.close(verbose=False)
    assert asked > 180 and open_ones == []
