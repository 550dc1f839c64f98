"""The data panel in a real browser: what was found, a record token by token, all records page by page."""

import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_a_problem_opens_its_record_token_by_token_and_all_records_are_listed(tiny_app, open_page, tmp_path):
    rows = [{"instruction": f"What is {n} plus {n}?", "input": "", "output": f"It is {2 * n}."} for n in range(30)]
    rows[2], rows[4]["output"] = dict(rows[0]), "word " * 900
    path = tmp_path / "found.json"
    path.write_text(json.dumps(rows))
    page = open_page(tiny_app)
    page.set_input_files("#data-file input[type=file]", str(path))
    expect(page.locator(".set-title h2")).to_have_text("found.json")
    expect(page.locator(".findings .code").first).to_have_text("duplicate")

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


def test_an_export_is_downloaded_as_it_was_made(tiny_app, open_page, tmp_path):
    rows = [{"instruction": f"Add {n} and 1.", "input": "", "output": f"{n + 1}"} for n in range(30)]
    path = tmp_path / "taken.json"
    path.write_text(json.dumps(rows))
    page = open_page(tiny_app)
    page.set_input_files("#data-file input[type=file]", str(path))
    expect(page.locator(".set-title h2")).to_have_text("taken.json")
    with page.expect_download() as download:
        page.locator("[data-key=export]").click()
    assert "Add 29 and 1." in download.value.path().read_text(encoding="utf-8")
    assert page.errors == [] and page.foreign == []
