"""Pushes as the page sees them: files, states, the card."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmdemo.core.errors import UserError
from llmdemo.jobs import JobFolder, Jobs
from llmdemo.jobs.worker import Stopped
from llmdemo.publish import Pushes, worker
from llmdemo.publish.card import Facts, card
from llmdemo.publish.curves import draw_curves
from tests.waiting import until
from tests.workers import in_this_process

TOKEN = "hf_goodgoodgoodgood"
CURVES = {
    "loss_smoothed": {"step": [1, 2, 3], "value": [3.0, 2.5, 2.0]},
    "eval_loss": {"step": [0, 3], "value": [3.1, 1.9]},
    "eval_accuracy": {"step": [0, 3], "value": [0.25, 0.75]},
}
CONFIG = {
    "method": "galore",
    "task": "chat",
    "rank": 8,
    "dataset": {"id": "data-x", "name": "sums | <b>", "content_hash": "abc"},
    "model": {"id": "starter", "title": "Starter", "revision": "r1", "path": "/secret/place"},
    "versions": {"torch": "2"},
}
EVIL = "<img src=http://other.example/x onerror=alert(1)>\n---\n```\n![x](http://other.example/y)\u202e\x1b[31m"
SAMPLES = [{"prompt": EVIL, "outputs": [{"step": 0, "text": "before"}, {"step": 3, "text": f"after {EVIL}"}]}]


class Runs:
    """One finished run."""

    def status(self, run_id):
        return {"run_id": run_id, "name": f"my run {EVIL}", "state": "completed"}

    def config(self, run_id):
        return CONFIG

    def series(self, run_id, most):
        return CURVES

    def samples(self, run_id):
        return SAMPLES


@pytest.fixture
def run_id(home, tiny_model_folder):
    import shutil

    folder = home.runs / "run-20260101-000000-abcdef"
    folder.mkdir()
    shutil.copytree(tiny_model_folder, folder / "model")
    (folder / "model" / "origin.json").write_text('{"base": "/secret/place"}')
    return folder.name


@pytest.fixture
def pushes(home, settings):
    """With workers in this process."""
    with Pushes(Jobs(home, settings, in_this_process(worker.work, home)), Runs()) as service:
        yield service


def ended(pushes, run_id):
    return list(pushes.follow(run_id, every=0.05))[-1]


def test_a_finished_run_arrives_whole_and_without_paths_of_this_computer(hub, pushes, run_id):
    assert pushes.start(run_id, "tuned", TOKEN)["state"] == "going"
    state = ended(pushes, run_id)
    assert state["state"] == "done" and state["url"].endswith("/ann/tuned"), state
    stored = hub.repos["ann/tuned"]
    assert {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "README.md",
        "curves.png",
        "training.json",
    } <= stored.keys()
    assert stored["curves.png"].startswith(b"\x89PNG")
    assert json.loads(stored["training.json"])["config"]["rank"] == 8
    for name, data in stored.items():
        assert b"/secret/place" not in data and TOKEN.encode() not in data, name


@pytest.mark.slow
def test_a_push_has_a_process_of_its_own_that_outlives_the_app_and_whose_token_is_in_no_file(
    hub, home, settings, run_id
):
    with Pushes(Jobs(home, settings), Runs()) as first:
        first.start(run_id, "tuned", TOKEN)
        folder = until(lambda: next((home.root / "pushes").glob("push-*/process.json"), None))
    command = Path(f"/proc/{json.loads(folder.read_text()).get('pid')}/cmdline")
    assert not command.exists() or TOKEN.encode() not in command.read_bytes()
    with Pushes(Jobs(home, settings), Runs()) as again:
        state = ended(again, run_id)
        assert state["state"] == "done" and hub.repos["ann/tuned"]["config.json"], (state, again.list())
    assert not any(TOKEN.encode() in path.read_bytes() for path in home.root.rglob("*") if path.is_file())


def test_a_push_whose_token_is_gone_says_so(hub, pushes, run_id, home):
    pushes.start(run_id, "tuned", TOKEN)
    ended(pushes, run_id)
    folder = next((home.root / "pushes").glob("push-*"))
    assert worker.work(JobFolder(folder), home, "") == 0
    assert "token of this push is gone" in (folder / "events.jsonl").read_text()
    with pytest.raises(UserError, match="needs an access token"):
        pushes.start(run_id, "tuned", "")


@pytest.mark.slow
def test_of_each_run_the_last_push_is_known(hub, pushes, run_id, home):
    for repo in ("one", "two"):
        pushes.start(run_id, repo, TOKEN)
        assert ended(pushes, run_id)["repo"] == f"ann/{repo}"
    assert len(pushes.list()) == 1


def test_what_went_wrong_is_a_state_with_what_to_do(hub, pushes, run_id):
    pushes.start(run_id, "tuned", "hf_expiredexpired")
    state = ended(pushes, run_id)
    assert state["state"] == "failed" and "expired" in state["message"] and state["hint"]
    assert TOKEN not in str(state)
    hub.repos["ann/tuned"] = {"README.md": b"mine"}
    pushes.start(run_id, "tuned", TOKEN)
    assert "already" in ended(pushes, run_id)["message"]


def test_a_push_can_be_stopped_and_begun_again(hub, pushes, run_id, monkeypatch):
    going = threading.Event()

    def slow(*_, should_stop, **__):
        going.set()
        while not should_stop():
            pass
        raise Stopped

    real = worker.push
    monkeypatch.setattr(worker, "push", slow)
    pushes.start(run_id, "tuned", TOKEN)
    assert going.wait(10)
    pushes.stop(run_id)
    assert ended(pushes, run_id)["state"] == "stopped"
    monkeypatch.setattr(worker, "push", real)
    pushes.start(run_id, "tuned", TOKEN)
    assert ended(pushes, run_id)["state"] == "done"


def test_a_run_without_a_model_and_a_strange_licence_are_refused_at_once(pushes, home, run_id):
    with pytest.raises(UserError, match="no finished model"):
        pushes.start("run-20260101-000000-ffffff", "tuned", TOKEN)
    with pytest.raises(UserError, match="licence"):
        pushes.start(run_id, "tuned", TOKEN, licence="mit\nbase_model: evil")
    with pytest.raises(UserError):
        pushes.start("../x", "tuned", TOKEN)
    assert pushes.state(run_id) == {"state": "none"}


def test_the_card_says_what_was_done_and_shows_strangers_text_as_text():
    facts = Facts(f"my run {EVIL}", CONFIG, {}, CURVES, SAMPLES, {"rows": 40, "kept": 39, "licence": "CC BY 4.0"})
    text = card(facts, "apache-2.0", "org/base")
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert "license: apache-2.0" in front and "base_model: org/base" in front and "<" not in front
    assert "| held-out loss | 3.1 | 1.9 |" in body and "| held-out accuracy | 0.25 | 0.75 |" in body
    assert "CC BY 4.0" in body and "| Rank (rank) | 8 |" in body and "![Loss by step](curves.png)" in body
    for line in body.splitlines():
        if "other.example" in line and not line.startswith("    "):
            assert "\\<img" in line and "\\!\\[x\\]" in line, line
    assert "\u202e" not in text and "\x1b" not in text


def test_curves_are_drawn_whatever_there_is():
    for curves in (
        {},
        CURVES,
        {"loss_smoothed": {"step": [1], "value": [2.0]}},
        {"eval_loss": {"step": [1], "value": [None]}},
    ):
        assert draw_curves(curves).startswith(b"\x89PNG")


def test_the_licence_is_the_starters_or_unknown(pushes, run_id, monkeypatch):
    assert pushes.licence(run_id) == "apache-2.0"
    monkeypatch.setattr(pushes, "_runs", SimpleNamespace(config=lambda _: {"model": {"id": "/a/folder"}}))
    assert pushes.licence(run_id) == "other"


@pytest.mark.parametrize("method", ["x]\nlicense: mit", "a, b", "a: b", "'", "", None, ["galore"], 5, "x" * 60])
def test_a_method_that_is_no_word_is_no_tag(method):
    front = card(Facts("run", CONFIG | {"method": method}, {}), "other").split("---")[1].strip().splitlines()
    assert front[-1] == "tags: [llmdemo]" and [line for line in front if "license" in line] == ["license: other"]


def test_the_method_is_a_tag():
    assert "tags: [galore, llmdemo]" in card(Facts("run", CONFIG, {}), "other")


def test_the_card_says_in_which_type_the_weights_are_and_what_that_costs():
    told = {"dtype": "bfloat16", "rounding": "nearest", "loss": 1.2345678, "run_loss": 1.234, "message": ""}
    text = card(Facts("r", CONFIG, {"published": told}), "mit")
    assert "| weights | bfloat16, nearest rounding |" in text and "| held-out loss of these files | 1.2346 |" in text
    assert "| weights |" not in card(Facts("r", CONFIG, {}), "mit")
