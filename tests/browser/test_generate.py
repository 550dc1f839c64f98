"""A preference data set made by two temperatures of an endpoint and a judge, and trained on: the whole way on the page."""

import json

import pytest
from playwright.sync_api import expect

from tests.evaluation.conftest import JudgeServer

pytestmark = pytest.mark.slow


def says(body):
    """A maker whose answers are longer at a higher temperature, and a judge that likes those, whichever place they have."""
    asked = body["messages"][-1]["content"]
    if "###Response A" in asked:
        first = asked.index("because") < asked.index("###Response B")
        return "[RESULT] A: 5, B: 2" if first else "[RESULT] A: 1, B: 4"
    return f"{asked[-12:]} Yes, because it is so." if body["temperature"] else f"{asked[-12:]} Yes."


def test_pairs_of_two_temperatures_are_made_and_a_run_on_them_begins(tiny_app, open_page, tmp_path):
    rows = [{"instruction": f"Is the number {n} {'odd' if n % 2 else 'even'}?", "output": "Yes."} for n in range(24)]
    path = tmp_path / "asked.json"
    path.write_text(json.dumps(rows))
    server = JudgeServer()
    server.say = says
    page = open_page(tiny_app)
    page.set_input_files("#data-file input[type=file]", str(path))
    expect(page.locator(".set-title h2")).to_have_text("asked.json", timeout=60_000)
    page.locator("#data-generate > button").click()
    page.locator("#generate-kind").select_option("pairs")
    page.locator("#generate-dataset").select_option(index=1)
    page.locator("#generate-model_id").select_option("-endpoint-")
    for name, value in (("url", server.url), ("model", "maker"), ("number", "24")):
        page.locator(f"#generate-{name}").fill(value)
    page.locator("#data-generate").get_by_role("radio", name="an API endpoint").check()
    page.locator("#generate-judge-url").fill(server.url)
    page.locator("#generate-judge-model").fill("judge")
    page.locator("#generate-start").click()
    expect(page.locator(".set-title h2")).to_have_text("Made by maker", timeout=90_000)
    server.close()
    assert {body["temperature"] for body in server.asked if body["model"] == "maker"} == {0, 1}
    expect(page.locator("#data-report")).to_contain_text("preference")

    page.get_by_role("button", name="Train on it").click()
    expect(page.locator("#train-data")).to_contain_text("Made by maker", timeout=30_000)
    page.locator("#train-start").click()
    expect(page.locator("#train-run")).to_contain_text("Made by maker", timeout=60_000)
    assert page.errors == [] and page.foreign == []
