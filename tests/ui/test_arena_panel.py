"""What the arena's panel does around the page: frames, words, guests, bad requests."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from llmdemo.core.errors import UserError
from llmdemo.ui import arena_panel, words
from llmdemo.ui.arena_frames import Frames


def events(frame):
    return [event["n"] for event in json.loads(frame)["events"]]


def numbered(*numbers):
    return [{"type": "step", "n": number} for number in numbers]


def test_a_frame_repeats_the_batch_before_it():
    frames = Frames()
    first, second, third = (frames.add("r", numbered(*batch)) for batch in ([0, 1], [2], [3, 4]))
    assert [(json.loads(frame)["from"], events(frame)) for frame in (first, second, third)] == [
        (0, [0, 1]),
        (0, [0, 1, 2]),
        (2, [2, 3, 4]),
    ]


def test_a_page_that_missed_events_gets_them():
    frames = Frames()
    frames.add("r", numbered(0, 1, 2, 3))
    assert events(frames.since("r", 2)) == [2, 3]
    assert frames.since("r", 4) is None
    assert frames.since("unknown", 0) is None


def test_only_the_latest_runs_are_remembered():
    frames = Frames(kept_runs=2)
    for run in "abc":
        frames.add(run, numbered(0))
    assert frames.since("a", 0) is None and frames.since("c", 0)


def test_a_frame_holds_no_markup():
    frame = Frames().add("<b>", [{"type": "token", "s": "<script>alert(1)</script>"}])
    assert "<" not in frame
    assert json.loads(frame)["events"][0]["s"] == "<script>alert(1)</script>"


def test_every_help_is_two_sentences():
    english, chinese = (words.texts(language) for language in words.LANGUAGES)
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
def arena(home, settings, tiny_model_folder):
    import shutil

    from llmdemo.arena import Arena

    shutil.copytree(tiny_model_folder, home.models / "starter")
    return Arena(home, replace(settings, max_new_tokens=16))


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
