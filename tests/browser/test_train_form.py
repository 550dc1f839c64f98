"""Beside the train form: the learn card, whose formula, words and numbers are those of the loss that is chosen; and models
by name where a model is chosen: what each would take is shown before a byte is fetched, and what it is made of."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.steps import SECONDS, choose_data, tab
from tests.browser.test_best_step import shoot

pytestmark = pytest.mark.slow


def test_the_preference_card_follows_the_chosen_loss(tiny_app, open_page, tmp_path):
    pairs = tmp_path / "pairs.json"
    pairs.write_text(
        json.dumps([{"prompt": f"Say {n}.", "chosen": f"Here is {n}.", "rejected": f"No {n}!"} for n in range(40)])
    )
    page = open_page(tiny_app)
    page.set_input_files("#data-file input[type=file]", str(pairs))
    expect(page.locator(".set-title h2")).to_have_text("pairs.json")
    page.get_by_role("tab", name="Train", exact=True).click()
    page.get_by_text("Settings", exact=True).click()
    choose_data(page, "#train-data", "pairs.json · 40")
    card, formula = page.locator("#learn"), page.locator("#learn math")
    expect(card).to_contain_text("logsigmoid")
    expect(formula).to_contain_text("σ")
    page.locator("#learn-numbers").click()
    table = page.locator(".learn-table")
    expect(table).to_contain_text("0.693")

    page.locator("#f-preference_loss").select_option("robust")
    expect(formula).to_contain_text("ε")
    page.locator("#f-preference_loss").select_option("ipo")
    expect(card).to_contain_text("squared distance")
    expect(formula).not_to_contain_text("σ")
    expect(table).to_contain_text("target 1/(2β)")
    expect(table).to_contain_text("25.000")  # (0 − 1/(2·0.1))²
    assert page.errors == [] and page.foreign == []


def test_of_many_classes_the_right_one_is_among_those_shown(tiny_app, open_page, tmp_path):
    many = tmp_path / "many.csv"
    many.write_text("label,text\n" + "".join(f"kind{n % 20:02},text number {n}\n" for n in range(120)))
    page = open_page(tiny_app)
    page.set_input_files("#data-file input[type=file]", str(many))
    expect(page.locator(".set-title h2")).to_have_text("many.csv")
    page.get_by_role("tab", name="Train", exact=True).click()
    choose_data(page, "#train-data", "many.csv · 120")
    page.locator("#learn-numbers").click()
    table = page.locator(".learn-table")
    expect(table).to_contain_text("12 of 20 classes")
    expect(table).to_contain_text("· right")
    expect(table.locator("td.piece")).to_have_count(12)
    assert page.errors == [] and page.foreign == []


def test_presets_tell_memory_first_and_a_missing_network_is_a_sentence(tiny_app, open_page):
    page = open_page(tiny_app)
    tab(page, "Train")
    page.locator("#train-model").select_option("+")
    row = page.locator(".preset").filter(has_text="SmolLM2-135M")
    expect(row.locator(".preset-cost")).to_have_text(
        re.compile(r"[\d.]+\sGB, (fits|[\d.]+\s[GM]B too much)"), timeout=240 * SECONDS
    )
    large = page.locator(".preset").filter(has_text="Meta-Llama-3-8B")
    expect(large).to_contain_text("too much")
    expect(large).to_contain_text("accept its licence")
    row.locator(".preset-name").click()
    expect(row).to_contain_text("30 layers · 9 heads")
    expect(row).to_contain_text("FineWeb-Edu")
    expect(row.locator(".arch figcaption")).to_contain_text("LlamaForCausalLM: 134,515,008 parameters")
    expect(row.locator(".arch-bar i").first).to_be_visible()
    shoot(page, "presets")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    row.get_by_role("button", name="Fetch").click()
    expect(page.locator("#train-form .notice")).to_contain_text("cannot be reached")
    page.locator("#train-model").select_option("starter")
    page.get_by_text("What the model is made of").click()
    expect(page.locator(".inside .arch figcaption")).to_contain_text("LlamaForCausalLM")
    assert page.errors == [] and page.foreign == []
