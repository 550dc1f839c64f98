"""What the arena's panel does around the page: its stream, words, guests, bad requests."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest

from llmdemo.access.sessions import Sessions
from llmdemo.core.errors import UserError
from llmdemo.ui import arena_panel, words
from llmdemo.ui.event_streams import EventStreams


def test_every_help_is_two_sentences():
    english, chinese = (words.texts(language) for language in ("en", "zh-TW"))
    for key in [key for key in english if key.startswith("arena_help_") and key != "arena_help_on"]:
        assert len(re.findall(r"[.!?](?:\s|$)", english[key])) == 2, key
        assert chinese[key].count("。") == 2, key


class Services(SimpleNamespace):
    """Services whose arena knows one model."""

    def require_owner(self):
        if self.guests_only:
            raise UserError("visitors can use the arena only", "…")

    def is_owner(self):
        return not self.guests_only

    def limits(self):
        return None


def services(arena, guests_only, settings=None):
    return Services(arena=SimpleNamespace(get=lambda: arena), guests_only=guests_only, settings=settings)


def questions(arena, guests_only, settings):
    """The panel's island: its questions are attributes."""
    with gr.Blocks() as page:
        arena_panel.build(services(arena, guests_only, settings), guests_only)
    return next(block for block in page.blocks.values() if hasattr(block, "warm"))


@pytest.fixture
def arena(home, settings, starter):
    from llmdemo.arena import Arena

    return Arena(home, replace(settings, max_new_tokens=16))


def asked_live(web, session, **data):
    """Asks the live page for a comparison, as its script does."""
    config = web.get("config").json()
    number = next(d["id"] for d in config["dependencies"] if d["targets"] and d["targets"][0][1] == "compare")
    body = {"data": [], "fn_index": number, "session_hash": session, "event_data": data}
    return web.post("gradio_api/queue/join", json=body)


def read_live(web, name, last="", most=1000):
    """(id, events) of each message that has events, until the stream's end or `most` of them."""
    found = []
    with web.stream("GET", f"streams/{name}", headers={"last-event-id": last} if last else {}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("id: "):
                found.append([line[4:]])
            elif line.startswith("data: ") and found and len(found[-1]) == 1:
                found[-1].append(json.loads(line[6:]))
                if len(found) == most:
                    break
    return found


def test_a_comparison_streams_and_goes_on_after_a_break(server):
    with httpx.Client(base_url=server, timeout=60) as web:
        data = {"model_ids": ["starter"], "prompt": "Hello", "settings": {"max_new_tokens": 8}, "run_id": "live-1"}
        assert asked_live(web, "s1", **data).status_code == 200
        first = read_live(web, "live-1", most=2)  # and the connection is closed in the middle
        rest = read_live(web, "live-1", last=first[-1][0])
        numbers = [int(number) for number, _ in first + rest]
        events = [event for _, batch in first + rest for event in batch]
        assert numbers == list(range(1, len(numbers) + 1))
        assert events[-1] == {"type": "end", "state": "done", "seconds": events[-1]["seconds"]}
        greedy = [event for event in events if event["type"] == "token" and event["lane"] == "0:greedy"]
        assert 1 <= len(greedy) <= 8 and sum(event["type"] == "begin" for event in events) == 1
        assert read_live(web, "live-1") == first + rest  # all of it, for who begins anew


def test_what_is_wrong_reaches_the_page_by_its_key(server):
    with httpx.Client(base_url=server, timeout=60) as web:
        asked_live(web, "s2", model_ids=["no such model"], prompt="Hello", run_id="live-2")
        ((_, (end,)),) = read_live(web, "live-2")
        assert end["state"] == "failed" and end["message"]["$say"].startswith("err_") and end["hint"]["$say"]


def test_another_visitors_name_of_a_stream_is_refused(settings):
    asked = Services(sessions=Sessions(), streams=EventStreams())
    asked.sessions.claim("theirs", "somebody else")
    with pytest.raises(gr.Error, match="not yours"):
        arena_panel._answer(asked, {"run_id": "theirs"}, many=False)


def run(services, **data):
    batches = arena_panel._events(services, {"run_id": "r", "settings": {"max_new_tokens": 2}, **data})
    return [event for batch in batches for event in batch]


def test_a_request_runs_and_ends(arena):
    assert run(services(arena, False), model_ids=["starter"], prompt="Hello")[-1]["state"] == "done"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"model_ids": 7, "prompt": "Hello"},
        {"model_ids": ["starter"], "prompt": {"messages": 3}},
        {"model_ids": ["starter"], "prompt": "Hello", "settings": {"seed": "x"}},
        {"model_ids": ["starter"], "prompt": "Hello", "prefix_ids": 5},
        {"model_ids": ["starter"], "prompts": "Hello"},
        {"model_ids": None, "prompts": ["Hello"]},
        {"model_ids": ["starter"], "prompts": ["Hello"], "samples": "many"},
    ],
)
def test_a_bad_request_is_one_end_with_a_sentence(arena, data):
    (end,) = run(services(arena, False), **data)
    assert end["type"] == "end" and end["state"] == "failed" and end["message"]


def test_guests_may_use_the_menus_models_only(arena, tiny_model_folder):
    assert run(services(arena, True), model_ids=["starter"], prompt="Hello")[-1]["state"] == "done"
    (end,) = run(services(arena, True), model_ids=[str(tiny_model_folder)], prompt="Hello")
    assert "visitors" in end["message"]
    assert run(services(arena, False), model_ids=[str(tiny_model_folder)], prompt="Hello")[-1]["state"] == "done"


class Asked:
    """An arena that notes what it is asked to warm."""

    def __init__(self):
        self.warmed = []

    def models(self):
        return [{"id": "starter", "ready": True}]

    def warm(self, *asked, **how):
        self.warmed.append((*asked, how))


@pytest.mark.parametrize("guest", [True, False])
def test_a_guests_choice_of_a_model_makes_no_other_leave(guest, settings):
    arena = Asked()
    island = questions(arena, guest, settings)
    island.warm({"model_id": "starter", "precision": "fp32"})
    island.warm({"model_id": "/etc"})
    assert arena.warmed == [("starter", "fp32", {"make_room": not guest})]


def test_a_guests_copied_python_names_no_path_of_this_machine(arena, home, settings, tiny_model_folder):
    import shutil

    shutil.copytree(tiny_model_folder, home.runs / "run-1" / "model")
    for model_id, named in (("starter", "HuggingFaceTB/SmolLM2-135M-Instruct"), ("run-1", "FOLDER-OF-THE-MODEL")):
        asked = {"model_ids": [model_id], "prompt": "Hello"}
        code = questions(arena, True, settings).python(asked)["code"]
        assert named in code and str(home.root) not in code
        compile(code, "copied", "exec")
        assert str(home.root) in questions(arena, False, settings).python(asked)["code"]
