"""What a newcomer does, in a real browser: add data, see it, train, come back, compare base and tuned.

Once with a tiny random model and the real worker, in seconds; once with the starter model (slow).
"""

import json
import re
import shutil

import pytest
from playwright.sync_api import expect

from llmdemo.core.store import Home
from tests.browser.conftest import ROOT
from tests.browser.steps import add_file, before_and_after, compare, start_run, state_is, tab
from tests.conftest import own_model

pytestmark = pytest.mark.slow


def test_a_newcomers_path_with_a_tiny_model_whose_run_is_offered_for_evaluation(tiny_app, open_page, alpaca_file):
    page = open_page(tiny_app)
    add_file(page, alpaca_file)
    expect(page.locator(".set-title")).to_contain_text("40 of 40 records")
    expect(page.locator(".tok .tr").first).to_be_visible()
    expect(page.locator(".tok .sp.tr")).to_have_text("‹|im_end|›")
    tab(page, "Evaluate")
    expect(page.locator("#evaluate-second")).to_have_value("")  # no run yet
    tab(page, "Data")
    page.get_by_role("button", name="Train on it").click()
    start_run(page, max_steps=6, max_length=128, rank=8)
    state_is(page, "Starting|Running|Completed", 30)
    page.close()  # the run has a life of its own

    page = open_page(tiny_app)
    tab(page, "Train")
    state_is(page, "Completed", 120)
    expect(page.locator("#run-state")).to_contain_text("step 6 of 6")
    expect(page.locator(".plotbox path.line").first).to_be_attached()
    expect(page.locator(".plots .strip-plot")).to_have_count(5)  # rate, gradient, speed, memory, energy: on one axis
    page.locator(".plots").hover()
    expect(page.locator(".plotcard").first).to_contain_text("loss, smoothed")
    tab(page, "Evaluate")
    expect(page.locator("#evaluate-first")).to_have_value("starter")
    expect(page.locator("#evaluate-second")).to_have_value(re.compile("^run-"))
    tab(page, "Train")
    before_and_after(page, 60)  # on a record that was held out, by that one click
    assert page.locator("#arena-prompt").input_value().startswith("Add ")
    texts = compare(page, "Add 3 and 4.", 8, 60, lanes=8)
    assert any(text.strip() for text in texts)  # a random model may end at once

    tab(page, "Evaluate")
    page.locator("#evaluate-second").select_option("")
    page.locator("#evaluate-start").click()
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".figures tbody tr").first).to_be_visible()
    table = page.locator(".figures")
    assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth"), "no figure is cut off"
    expect(page.locator("#evaluate-second")).to_have_value("")  # what was chosen stays
    assert page.foreign == [] and page.errors == []


_NOTE_HEADS = """() => {
    const head = document.querySelector(".titleline");
    window.heads = [head.textContent];
    new MutationObserver(() => window.heads.push(head.textContent)).observe(head, {
        subtree: true, childList: true, characterData: true,
    });
}"""


def test_a_run_is_stopped_and_resumed_on_the_page_and_stopped_in_a_second_browser(tiny_app, open_page, alpaca_file):
    page = open_page(tiny_app)
    add_file(page, alpaca_file)
    page.evaluate(_NOTE_HEADS)
    start_run(page, max_steps=5000, max_length=128, rank=8)
    state_is(page, "Running", 60)
    expect(page.locator(".titleline")).to_contain_text("of 5,000")
    # While the worker starts, nobody knows yet how many steps there are.
    heads = page.evaluate("window.heads")
    assert len(heads) > 1 and not [head for head in heads if "of –" in head or "of 0" in head]
    page.locator("#train-stop").click()
    state_is(page, "Stopped", 60)
    page.get_by_role("button", name="Resume").click()
    state_is(page, "Running", 60)
    second = open_page(tiny_app, viewport={"width": 390, "height": 844})
    tab(second, "Train")
    state_is(second, "Running", 20)
    second.locator("#train-stop").click()
    state_is(page, "Stopped", 60)
    assert page.errors == []


def test_a_newcomers_path_with_the_starter_model(starter_home, tmp_path, open_page, app_on):
    """Some of the sample, five steps of GaLore through accelerate's launcher, and the arena before and after.

    Eight records are held out, not the sample's 32 that count: each is computed five times, in a sixth of a second.
    """
    home = tmp_path / "home"
    sample = json.loads((ROOT / "assets" / "sample-messages.json").read_text(encoding="utf-8"))
    parts = {part: [each for each in sample if each["split"] == part] for part in ("train", "eval")}
    (tmp_path / "messages.json").write_text(json.dumps(parts["train"][:92] + parts["eval"][:8]), encoding="utf-8")
    own_model(
        shutil.copytree(starter_home.models / "starter", home / "models" / "starter"), Home(home)
    )  # as when fetched
    with app_on(home) as url:
        page = open_page(url)
        add_file(page, tmp_path / "messages.json")
        expect(page.locator(".set-title")).to_contain_text("100 of 100 records")
        expect(page.locator(".tok .tr").first).to_be_visible()
        before = compare(page, "Turn this message into JSON.\n\nDinner with Ann on Friday at 7.", 24, 180)
        start_run(page, max_steps=5, batch_size=2)
        state_is(page, "Running", 120)
        page.reload()
        tab(page, "Train")
        state_is(page, "Completed", 480)
        before_and_after(page, 240)
        page.locator("#arena-beside").select_option("")
        page.locator("#arena-model").select_option(index=page.locator("#arena-model option").count() - 1)
        after = compare(page, "Turn this message into JSON.\n\nDinner with Ann on Friday at 7.", 24, 180)
        assert before[0] != after[0]
        assert page.foreign == [] and page.errors == []
        config = json.loads(next((home / "runs").glob("run-*/config.json")).read_text())
        assert config["method"] == "galore" and config["model"]["id"] == "starter"
