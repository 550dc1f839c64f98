"""Models by name where a model is chosen: what each would take is shown before a byte is fetched, and what it is made of."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.steps import SECONDS, tab
from tests.browser.test_best_step import shoot

pytestmark = pytest.mark.slow


def test_presets_tell_memory_first_and_a_missing_network_is_a_sentence(tiny_app, open_page):
    page = open_page(tiny_app)
    tab(page, "Train")
    page.locator("#train-model").select_option("+")
    row = page.locator(".preset").filter(has_text="SmolLM2-135M")
    expect(row.locator(".preset-cost")).to_have_text(
        re.compile(r"[\d.]+ GB, (fits|[\d.]+ [GM]B too much)"), timeout=240 * SECONDS
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
