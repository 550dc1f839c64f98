"""The data panel in a real browser: what was found, a record token by token, all records page by page; and what a run's
model knew of its data."""

import json
import re
import time

import pytest
from playwright.sync_api import expect

from llmdemo.core.store import write_json
from tests.browser.conftest import running_app
from tests.browser.steps import tab

pytestmark = pytest.mark.slow
FACTS = [("highly", "France", "Paris"), ("unknown", "Vorland", "Zemlith")]


@pytest.fixture(scope="module")
def tiny_app(tiny_home):
    """As conftest's, with a run whose model lost a fact that it knew, and learned one that it did not."""
    run = tiny_home / "runs" / "run-20260101-000000-abcdef"
    run.mkdir(parents=True)
    write_json(
        run / "config.json", {"run": {"id": run.name, "name": "facts", "created": time.time()}, "method": "galore"}
    )
    asked = [
        {"index": n, "class": name, "trained": True, "question": f"Capital of {land}?", "expected": town}
        for n, (name, land, town) in enumerate(FACTS)
    ]
    events: list[dict] = [{"type": "start", "pid": 1, "step": 0, "total_steps": 8}, {"type": "asked", "records": asked}]
    for step, right in ((0, 0), (8, 1)):
        groups = [
            {"class": name, "trained": True, "n": 1, "right": int(n == right), "loss": 2.0 - n}
            for n, (name, _, _) in enumerate(FACTS)
        ]
        events.append(
            {"type": "known", "step": step, "groups": groups, "right": [right], "wrong": [[1 - right, "Rome"]]}
        )
    events.append({"type": "end", "state": "completed", "reason": "", "message": "", "hint": ""})
    lines = (json.dumps({"t": n + 1, **event}) + "\n" for n, event in enumerate(events))
    (run / "events.jsonl").write_text("".join(lines))
    with running_app(tiny_home) as url:
        yield url


def test_a_file_that_is_dropped_while_another_is_sent_is_added_after_it(tiny_app, open_page, tmp_path):
    for name, count in (("long.json", 2500), ("short.json", 30)):
        rows = [{"instruction": f"Add {n} and {n}.", "output": f"It is {2 * n}."} for n in range(count)]
        (tmp_path / name).write_text(json.dumps(rows))
    page = open_page(tiny_app)
    page.route("**/gradio_api/upload", lambda route: None)
    for name in ("long.json", "short.json"):
        page.set_input_files("#data-file input[type=file]", str(tmp_path / name))
    expect(page.locator("#data-working")).to_contain_text("Sending long.json")
    expect(page.locator("#data-working")).to_contain_text("Then: short.json")
    page.unroute("**/gradio_api/upload")  # what was held goes on
    expect(page.locator("#data-side .set-name").filter(has_text="long.json")).to_have_count(1)
    expect(page.locator(".set-title h2")).to_have_text("short.json")
    expect(page.locator("#data-working")).to_have_count(0)
    assert page.errors == []


def test_a_file_that_is_stopped_is_not_added_and_the_next_one_is(tiny_app, open_page, tmp_path):
    for name in ("unwanted.json", "wanted.json"):
        (tmp_path / name).write_text(json.dumps([{"instruction": f"Say {name}.", "output": "Yes."}] * 3))
    page = open_page(tiny_app)
    page.route("**/gradio_api/upload", lambda route: None)
    for name in ("unwanted.json", "wanted.json"):
        page.set_input_files("#data-file input[type=file]", str(tmp_path / name))
    expect(page.locator("#data-working")).to_contain_text("Sending unwanted.json")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#data-working")).to_contain_text("Sending wanted.json")
    page.unroute("**/gradio_api/upload")
    expect(page.locator(".set-title h2")).to_have_text("wanted.json")
    expect(page.locator("#data-side .set-name").filter(has_text="unwanted.json")).to_have_count(0)
    assert page.errors == []


_PUT_FILES = """(names) => {
    const given = (name) => {
        const rows = Array.from({length: 30}, (_, n) => ({instruction: `Add ${n} for ${name}`, output: String(n)}));
        const files = new DataTransfer();
        files.items.add(new File([JSON.stringify(rows)], name));
        return files;
    };
    const input = document.querySelector("#data-file input[type=file]");
    for (const name of names) {
        input.files = given(name).files;
        input.dispatchEvent(new Event("change", {bubbles: true}));
    }
    const files = given("beside.json");
    const drop = new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: files});
    document.querySelector("h1").dispatchEvent(drop);
    return drop.defaultPrevented;
}"""


def test_no_file_is_lost_of_those_that_come_at_once_or_beside_the_zone(tiny_app, open_page):
    """Gradio's field forgot what came while others were on their way, and the browser opened what was dropped beside it."""
    page = open_page(tiny_app)
    page.wait_for_selector("#data-file input[type=file]", state="attached")
    assert page.evaluate(_PUT_FILES, ["early.json", "earlier.json"])
    for name in ("early.json", "earlier.json", "beside.json"):
        expect(page.locator("#data-side .set-name").filter(has_text=re.compile(f"^{name}$"))).to_have_count(1)
    assert page.errors == [] and page.foreign == []


def test_a_problem_opens_its_record_token_by_token_and_all_records_are_listed(tiny_app, open_page, tmp_path):
    rows = [{"instruction": f"What is {n} plus {n}?", "input": "", "output": f"It is {2 * n}."} for n in range(30)]
    rows[2], rows[4]["output"] = dict(rows[0]), "word " * 900
    path = tmp_path / "found.json"
    path.write_text(json.dumps(rows))
    page = open_page(tiny_app)
    page.set_input_files("#data-file input[type=file]", str(path))
    expect(page.locator(".set-title h2")).to_have_text("found.json")
    expect(page.locator(".findings .kind").first).to_have_text("duplicates")

    page.get_by_role("button", name="Show row 3", exact=True).click()
    expect(page.locator(".record .tag")).to_have_text("left out")
    page.get_by_role("button", name="Show row 5", exact=True).click()
    expect(page.locator(".tok .cut-mark")).to_contain_text("512")
    page.locator(".tok .gone").first.hover()
    expect(page.locator(".token-said")).to_contain_text("token 513 of")
    page.get_by_role("button", name="Show row 3", exact=True).click()
    expect(page.locator(".tok .eos.tr")).to_have_count(1)
    page.get_by_role("radio", name="everything").check()
    expect(page.locator(".record .cap").first).to_contain_text("including the end token")

    page.get_by_role("radio", name="list", exact=True).check()
    expect(page.locator(".listing tbody tr")).to_have_count(20)
    page.get_by_label("Next record").click()
    expect(page.locator(".listing tbody tr")).to_have_count(10)
    page.locator(".searchline input").fill("17 PLUS")
    page.keyboard.press("Enter")
    expect(page.locator(".listing tbody tr")).to_have_count(1)
    expect(page.locator(".facts.wide").first).to_contain_text("memory to train")
    assert page.errors == [] and page.foreign == []


def test_an_export_is_downloaded_as_it_was_made_and_its_note_goes_with_its_data_set(tiny_app, open_page, tmp_path):
    page, note = open_page(tiny_app), "30 cells begin as formulas do"
    for name, sign in (("kept.json", ""), ("taken.json", "=")):
        rows = [{"instruction": f"{sign}Add {n} and 1.", "input": "", "output": f"{n + 1}"} for n in range(30)]
        (tmp_path / name).write_text(json.dumps(rows))
        page.set_input_files("#data-file input[type=file]", str(tmp_path / name))
        expect(page.locator(".set-title h2")).to_have_text(name)
    page.locator("[data-key=export-shape]").select_option("alpaca")
    page.locator("[data-key=export-format]").select_option("csv")
    for _ in range(2):  # the same note is shown again
        with page.expect_download() as download:
            page.locator("[data-key=export]").click()
        assert "Add 29 and 1." in download.value.path().read_text(encoding="utf-8")
        expect(page.locator("#data-note")).to_contain_text(note)
        for name in ("kept.json", "taken.json"):
            page.locator(".sets").get_by_role("button", name=name, exact=True).click()
            expect(page.locator(".set-title h2")).to_have_text(name)
            expect(page.locator("#data-note")).not_to_contain_text(note)
    assert page.errors == [] and page.foreign == []


def test_several_files_at_once_are_one_data_set(tiny_app, open_page, tmp_path):
    for name, first in (("one.json", 0), ("two.json", 30)):
        rows = [{"instruction": f"Add {n} and 2.", "input": "", "output": f"{n + 2}"} for n in range(first, first + 30)]
        (tmp_path / name).write_text(json.dumps(rows))
    page = open_page(tiny_app)
    page.set_input_files("#data-file input[type=file]", [str(tmp_path / name) for name in ("one.json", "two.json")])
    expect(page.locator(".set-title h2")).to_have_text("one + 1", timeout=60_000)
    expect(page.locator(".set-title")).to_contain_text("60 of 60 records")
    assert page.errors == [] and page.foreign == []


def test_what_a_run_lost_and_learned_of_what_its_model_knew_is_drawn_and_listed(tiny_app, open_page):
    page = open_page(tiny_app)
    tab(page, "Train")
    box = page.locator("#run-knowledge")
    expect(box).to_contain_text("highly known", timeout=20_000)
    assert box.locator("svg.plot").count() == 2  # right answers and loss; nothing was held out
    expect(box.locator("tbody tr")).to_contain_text(["Capital of France?"])
    box.get_by_role("radio", name="wrong before, right now").check()
    expect(box.locator("tbody tr")).to_contain_text(["Zemlith"])
    assert page.errors == [] and page.foreign == []
