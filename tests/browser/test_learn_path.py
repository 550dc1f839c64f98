"""The path in a real browser: the first result at a button's press, and where a token arises, base beside tuned."""

import pytest
from playwright.sync_api import expect

from llmdemo.core.store import Home
from tests.browser.conftest import running_app
from tests.browser.steps import compare
from tests.conftest import make_llama, make_tokenizer, own_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """An app whose starter is a tiny random Llama wide enough for the default rank."""
    home = tmp_path_factory.mktemp("learn") / "home"
    tokenizer = make_tokenizer()
    model = make_llama(len(tokenizer), hidden_size=160, intermediate_size=192, max_position_embeddings=512)
    for part in (model, tokenizer):
        part.save_pretrained(home / "models" / "starter")
    own_model(home / "models" / "starter", Home(home))
    with running_app(home) as url:
        yield url


def test_start_here_begins_at_once_and_gives_a_before_and_an_after_and_a_lesson_is_resumed(app, open_page):
    page = open_page(app)
    page.locator("#start-here").click()
    said = page.locator(".lesson-said h3")
    expect(said).to_have_text(["The message", "Before training"])
    expect(said).to_have_text(["The message", "Before training", "After training", "Expected answer"])
    expect(page.locator(".lessons a.done")).to_have_count(1)

    page.goto(f"{app}?lesson=galore")
    expect(page.locator(".galore-steps")).to_have_count(0)  # predict first
    page.locator(".predict input").nth(0).check()
    expect(page.locator(".why")).to_contain_text("Not quite")
    page.locator(".lesson-range input").fill("7")
    expect(page.locator(".lesson")).to_contain_text("100.0 % of the energy")
    expect(page.locator("#start-here")).to_have_count(0)
    page.goto(app)
    page.get_by_role("tab", name="Learn", exact=True).click()
    expect(page.locator(".lessons a[aria-current]")).to_have_text("GaLore by hand")
    assert page.errors == [] and page.foreign == []


def test_a_token_tells_in_which_layer_it_arises_and_to_what_it_is_owed(app, open_page):
    page = open_page(app)
    compare(page, "What is the capital of France?", 6, 60)
    page.locator("#arena .lane .token:not(.part)").nth(0).click()
    page.get_by_text("Where does it come from?").click()
    rows = page.locator(".lens-table tbody tr")
    expect(rows).to_have_count(2)
    expect(page.locator(".lens").first).to_contain_text("of 2 on.")
    page.locator(".alternatives select").select_option("gradient_x_input")
    expect(page.locator(".scored span.for").first).to_be_visible()
    assert page.errors == [] and page.foreign == []
