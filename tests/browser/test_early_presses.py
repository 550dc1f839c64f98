"""What is pressed, or chosen, before the app has answered what it needs: nothing wrong begins, and no choice is lost."""

import json
import re
import shutil
import time

import pytest
from playwright.sync_api import expect

from llmdemo.core.store import Home, write_json
from tests.browser.conftest import running_app
from tests.browser.steps import add_file, held, tab
from tests.conftest import own_model

pytestmark = pytest.mark.slow
RUNS = {"run-20260101-000000-aaaaaa": "first", "run-20260101-000001-bbbbbb": "second"}


@pytest.fixture(scope="module")
def app(tmp_path_factory, tiny_model_folder):
    """The address of an app with two completed runs, whose models are those of the tiny starter."""
    home = tmp_path_factory.mktemp("early") / "home"
    own_model(shutil.copytree(tiny_model_folder, home / "models" / "starter"), Home(home))
    for run_id, name in RUNS.items():
        shutil.copytree(tiny_model_folder, home / "runs" / run_id / "model")
        about = {"id": run_id, "name": name, "created": time.time()}
        settings = {"method": "galore", "learning_rate": 7e-4, "max_steps": 9, "task": "chat"}
        write_json(home / "runs" / run_id / "config.json", {"run": about, **settings})
        events = '{"t": 1, "type": "start"}\n{"t": 2, "type": "end", "state": "completed", "model_id": "%s"}\n'
        (home / "runs" / run_id / "events.jsonl").write_text(events % run_id)
    with running_app(home) as url:
        yield url


def test_a_runs_buttons_act_on_that_run_and_wait_for_what_they_need(app, open_page):
    page = open_page(app)
    tab(page, "Train")
    name = page.locator("#train-side .facts").first
    expect(name).to_contain_text("second")
    takes_nothing = "form => form.matches('[inert], :has([inert])')"
    with held(page, "choices"):
        page.locator("[data-key=again]").click()
        assert page.locator("#train-form").evaluate(takes_nothing)
    expect(page.locator("#f-learning_rate")).to_have_value("0.0007")
    assert not page.locator("#train-form").evaluate(takes_nothing)

    with held(page, "serving_state"), held(page, "push_state"):
        page.get_by_role("button", name="first", exact=True).click()
        expect(name).to_contain_text("first")
        page.locator("#train-serving summary").first.click()
        page.locator("#train-push summary").first.click()
        expect(page.locator("#train-push button[type=submit]")).to_be_disabled()
        expect(page.locator("#train-serving .serveform")).to_have_count(0)
    expect(page.locator("#train-push button[type=submit]")).to_be_enabled()
    expect(page.locator("#train-serving .serveform button").first).to_be_enabled()

    with held(page, "overview"):
        page.get_by_role("button", name="second", exact=True).click()
        page.locator("#train-evaluate").click()  # of the first, which is still shown
        expect(page.get_by_role("tab", name="Evaluate", exact=True)).to_have_attribute("aria-selected", "true")
    assert page.errors == [] and page.foreign == []


def test_train_follows_to_the_version_that_is_made_of_its_data(app, open_page, tmp_path):
    rows = [{"instruction": f"Add {n} and 3.", "output": f"{n + 3}"} for n in range(30)]
    (tmp_path / "sums.json").write_text(json.dumps(rows))
    page = open_page(app)
    add_file(page, tmp_path / "sums.json")
    page.locator("#data-train-on").click()
    chosen = page.locator("#train-data option:checked")
    expect(chosen).to_have_text(re.compile(r"^sums\.json · 30( ·|$)"))
    tab(page, "Data")
    page.get_by_role("button", name="Drop", exact=True).click()
    page.get_by_role("button", name="Drop this record?").click()
    expect(page.locator(".set-title")).to_contain_text("29 of 30 records")
    tab(page, "Train")
    expect(chosen).to_have_text(re.compile(r"^sums\.json · v2 · 29( ·|$)"))
    assert page.errors == [] and page.foreign == []


def test_a_lesson_starts_nothing_before_its_menus_are_there(app, open_page):
    page = open_page(app)
    start = page.locator("#lesson-race-instructions")
    with held(page, "things"):
        page.goto(f"{app}?lesson=instructions")
        page.locator(".predict input").first.check()
        expect(start).to_be_disabled()
    expect(start).to_be_enabled()
    assert page.errors == [] and page.foreign == []


def test_a_vote_is_opened_on_the_arenas_prompt_and_not_before_it_is_known_whether_one_goes_on(app, open_page):
    page = open_page(app)
    with held(page, "list_votes"):
        tab(page, "Arena")
        page.locator("#votes summary").click()
        expect(page.locator("#arena textarea").first).to_be_visible()
        expect(page.locator("#votes .votes-form")).to_have_count(0)
    prompts = page.locator("#votes textarea")
    expect(prompts).to_be_visible()
    page.locator("#arena textarea").first.fill("Why is the sky blue?")
    expect(prompts).to_have_value("Why is the sky blue?")
    prompts.fill("Say hello.")
    page.locator("#arena textarea").first.fill("Why?")
    page.locator("#arena textarea").first.press("Tab")
    expect(prompts).to_have_value("Say hello.")
    assert page.errors == [] and page.foreign == []
