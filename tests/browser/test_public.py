"""A shared app in a real browser: guests and owners, hostile text from models and runs, a tab that is closed."""

import json
import shutil
import time

import pytest
from playwright.sync_api import expect

from llmdemo.core.store import Home
from tests.browser.conftest import new_context
from tests.browser.steps import until
from tests.conftest import own_model

pytestmark = pytest.mark.slow
EVIL = (
    "<img src=http://other.example/x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"
    "![x](http://other.example/y)<style>@import url(http://other.example/z)</style>\u202e\x1b[31m"
)


@pytest.fixture(scope="module")
def evil_home(tmp_path_factory, tiny_model_folder):
    """Runs whose names, model titles, samples and cards are hostile; the tiny model answers with markup too."""
    home = tmp_path_factory.mktemp("public") / "home"
    own_model(shutil.copytree(tiny_model_folder, home / "models" / "starter"), Home(home))
    run = home / "runs" / "run-20260101-000000-abcdef"
    shutil.copytree(tiny_model_folder, run / "model")
    (run / "model" / "origin.json").write_text(json.dumps({"title": f"title {EVIL}"}))
    (run / "model" / "README.md").write_text(EVIL)
    about = {"id": run.name, "name": f"run {EVIL}"[:100], "created": time.time()}
    dataset = {"id": "data-x", "name": EVIL, "content_hash": "0"}
    config = {"run": about, "dataset": dataset, "model": {"id": "starter", "title": EVIL}, "method": "galore"}
    (run / "config.json").write_text(json.dumps(config))
    events = [
        {"type": "start", "t": 1, "pid": 1, "step": 0, "total_steps": 1, "method": EVIL, "device": EVIL},
        {"type": "step", "t": 2, "step": 1, "loss": 1.0, "lr": 0.1},
        {"type": "sample", "t": 2, "step": 1, "prompt": EVIL, "text": EVIL, "expected": EVIL},
        {
            "type": "end",
            "t": 3,
            "state": "completed",
            "reason": "",
            "message": EVIL,
            "hint": EVIL,
            "model_id": run.name,
        },
    ]
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (run / "log.txt").write_text(EVIL)
    return home


@pytest.fixture(scope="module")
def shared_app(evil_home):
    from tests.browser.conftest import running_app

    with running_app(evil_home, "--host", "0.0.0.0", "--auth", "ann:right", "--auth", "bob:other") as url:
        yield url


@pytest.fixture
def visit(browser):
    """visit(url): a page of a visitor of their own, with the requests that it sent to other hosts."""
    contexts = []

    def open_(url: str):
        context = new_context(browser)
        contexts.append(context)
        page = context.new_page()
        page.foreign, page.errors = [], []
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((url, "data:", "blob:")) else page.foreign.append(request.url)
            ),
        )
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector(".titleline h1")
        return page

    yield open_
    for context in contexts:
        context.close()


def sign_in(page) -> None:
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Wrong name or password")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("right")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".titleline h1")


def test_a_visitor_sees_the_arena_signs_in_sees_everything_and_signs_out(shared_app, visit):
    page = visit(shared_app)
    expect(page.get_by_role("tab")).to_have_count(2)
    expect(page.locator(".titleline .status")).to_contain_text("visitor")
    expect(page.locator("nav")).to_be_hidden()
    sign_in(page)
    for name in ("Data", "Train", "Arena"):
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_visible()
    page.get_by_role("button", name="Sign out ann").click()
    expect(page.get_by_role("tab")).to_have_count(2)
    assert page.foreign == [] and page.errors == []


def test_a_visitor_compares_within_the_guests_limits(shared_app, visit):
    page = visit(shared_app)
    page.wait_for_selector(".arena .run")
    until(page, "document.querySelector('#arena-model').value !== ''")
    assert page.locator("#arena-max_new_tokens").get_attribute("max") == "256"
    page.fill("#arena-prompt", EVIL)
    page.fill("#arena-max_new_tokens", "8")
    page.dispatch_event("#arena-max_new_tokens", "change")
    page.click(".arena .run")
    expect(page.locator(".lane .text").first).not_to_be_empty()
    assert page.title() != "hit" and page.foreign == [] and page.errors == []


def test_hostile_names_samples_and_logs_of_runs_stay_text(shared_app, visit):
    page = visit(shared_app)
    sign_in(page)
    page.get_by_role("tab", name="Train", exact=True).click()
    expect(page.locator("#train-run")).to_contain_text("<script>")
    page.locator('[data-key="log"]').click()
    expect(page.locator("pre.log")).to_contain_text("onerror")
    expect(page.locator("#train-push summary").first).to_be_visible()
    page.get_by_role("tab", name="Arena", exact=True).click()
    expect(page.locator("#arena-model")).to_contain_text("<img")
    assert page.locator("#panels img, #panels script").count() == 0
    assert page.title() != "hit" and page.foreign == [] and page.errors == []


@pytest.mark.alone
def test_a_closed_tab_frees_its_place_within_a_second(evil_home, visit, app_on, tmp_path, real_starts):
    home = tmp_path / "home"
    shutil.copytree(evil_home / "models", home / "models")
    with app_on(home, "--host", "0.0.0.0", env={"LLMDEMO_MAX_DECODINGS": "1"}) as url:
        leaving, waiting = visit(url), visit(url)
        for page, tokens in ((leaving, 240), (waiting, 2)):
            page.wait_for_selector(".arena .run")
            until(page, "document.querySelector('#arena-model').value !== ''")
            page.fill("#arena-prompt", "Hello")
            page.fill("#arena-max_new_tokens", str(tokens))
            page.dispatch_event("#arena-max_new_tokens", "change")
        leaving.click(".arena .run")
        expect(leaving.locator(".lane .text").first).not_to_be_empty()
        waiting.click(".arena .run")
        leaving.context.close()
        closed = time.monotonic()
        expect(waiting.locator(".lane .text").first).not_to_be_empty()
        assert time.monotonic() - closed < 3  # the place within a second, then the answer
