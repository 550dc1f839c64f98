"""A race in a real browser, with a tiny model and the real worker; the form follows the data's task, the card its numbers."""

import pytest
from playwright.sync_api import expect

from tests.browser.steps import choose_data

pytestmark = pytest.mark.slow


def test_two_methods_race_and_the_best_one_fills_the_form(tiny_app, open_page, alpaca_file, tmp_path):
    spam = tmp_path / "spam.tsv"
    spam.write_text("".join(f"{('ham', 'spam')[n % 2]}\ttext number {n}\n" for n in range(40)))
    page = open_page(tiny_app)
    for path in (spam, alpaca_file):
        page.set_input_files("#data-file input[type=file]", str(path))
        expect(page.locator(".set-title h2")).to_have_text(path.name)
    page.get_by_role("tab", name="Train", exact=True).click()
    page.get_by_text("Settings", exact=True).click()

    choose_data(page, "#train-data", "spam.tsv · 40")
    expect(page.locator("#f-class_weights")).to_be_visible()
    expect(page.locator("#learn summary").first).to_contain_text("classification")
    choose_data(page, "#train-data", "sums.json · 40")
    expect(page.locator("#f-loss_on")).to_be_visible()
    expect(page.locator("#f-class_weights")).to_have_count(0)
    for key, value in {"max_steps": 4, "max_length": 64, "rank": 8, "batch_size": 4}.items():
        page.locator(f"#f-{key}").fill(str(value))
        page.locator(f"#f-{key}").press("Tab")

    usual = page.locator("#f-learning_rate").input_value()
    page.locator("#f-learning_rate").fill("")
    page.locator("#f-learning_rate").press("Tab")
    expect(page.locator("#f-learning_rate")).to_have_value(usual)  # nothing typed: what will be taken is shown

    page.locator("#learn-numbers").click()
    expect(page.locator(".learn-table tbody tr.total")).to_be_visible()

    page.locator("#exp-open").click()
    page.locator("[data-key=race-adamw]").uncheck()
    page.locator("[data-key=race-lora-rank]").fill("8")  # its default is more than so small a model has
    page.locator("[data-key=race-lora-rank]").press("Tab")
    page.locator("#race-start").click()
    expect(page.locator("#exp-state")).to_have_text("Completed")
    rows = page.locator(".exp-table tbody tr")
    expect(rows).to_have_count(2)
    assert all("kB" in row or "MB" in row for row in rows.all_inner_texts())
    with page.expect_download() as download:
        page.locator("[data-key=exp-csv]").click()
    assert download.value.path().read_text().count("\n") == 3
    choose_data(page, "#train-data", "spam.tsv · 40")
    expect(page.locator("#exp-try")).to_be_visible()  # the race's model writes, whatever the form has now
    page.locator("#exp-use").click()
    expect(page.locator("#f-max_steps")).to_have_value("4")
    assert page.errors == [] and page.foreign == []
