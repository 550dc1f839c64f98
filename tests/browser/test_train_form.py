"""The learn card in a real browser: formula, words and numbers are those of the loss that is chosen."""

import json

import pytest
from playwright.sync_api import expect

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
    page.locator("#train-data").select_option(label="pairs.json · 40")
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
    page.locator("#train-data").select_option(label="many.csv · 120")
    page.locator("#learn-numbers").click()
    table = page.locator(".learn-table")
    expect(table).to_contain_text("12 of 20 classes")
    expect(table).to_contain_text("· right")
    expect(table.locator("td.piece")).to_have_count(12)
    assert page.errors == [] and page.foreign == []
