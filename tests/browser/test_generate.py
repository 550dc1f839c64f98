"""A preference data set made by two temperatures of an endpoint and a judge, and trained on: the whole way on the page."""

import json

import pytest
from playwright.sync_api import expect

from tests.evaluation.conftest import JudgeServer

pytestmark = pytest.mark.slow


def says(body):
    """A maker whose answers are longer at a higher temperature, and a judge that likes those, whichever place they have."""
    if "prompt" in body:
        text = f"Is the number {body['seed']} odd?"
        return 200, {}, json.dumps({"choices": [{"text": text, "finish_reason": "stop"}]}).encode()
    asked = body["messages"][-1]["content"]
    if "###Response A" in asked:
        first = asked.index("because") < asked.index("###Response B")
        return "[RESULT] A: 5, B: 2" if first else "[RESULT] A: 1, B: 4"
    return f"{asked[-12:]} Yes, because it is so." if body["temperature"] else f"{asked[-12:]} Yes."


def test_pairs_of_two_temperatures_are_made_and_a_run_on_them_begins(tiny_app, open_page):
    server = JudgeServer()
    server.say = says
    page = open_page(tiny_app)
    page.locator("#data-generate > button").click()
    page.locator("#generate-kind").select_option("pairs")
    page.locator("#generate-model_id").select_option("-endpoint-")
    for name, value in (("url", server.url), ("model", "maker"), ("number", "24")):
        page.locator(f"#generate-{name}").fill(value)
    page.locator("#data-generate").get_by_role("radio", name="an API endpoint").check()
    page.locator("#generate-judge-url").fill(server.url)
    page.locator("#generate-judge-model").fill("judge")
    page.locator("#generate-start").click()
    expect(page.locator(".set-title h2")).to_have_text("Made by maker", timeout=300_000)
    server.close()
    assert {body["temperature"] for body in server.asked if body["model"] == "maker" and "messages" in body} == {0, 1}
    expect(page.locator("#data-report")).to_contain_text("preference")

    page.get_by_role("button", name="Train on it").click()
    expect(page.locator("#train-data")).to_contain_text("Made by maker")
    page.locator("#train-start").click()
    expect(page.locator("#train-run")).to_contain_text("Made by maker")
    assert page.errors == [] and page.foreign == []
