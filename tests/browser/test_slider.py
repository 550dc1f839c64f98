"""A new model from nothing, and a slider through its training: what the model says changes with the step."""

import time

import pytest
from gradio_client import Client
from playwright.sync_api import expect

from tests.browser.steps import add_file, state_is, tab
from tests.browser.test_best_step import shoot

pytestmark = pytest.mark.slow
WORDS = ("cat", "dog", "owl", "fox", "horse", "donkey", "sparrow", "hedgehog")


def story(n: int) -> str:
    return " ".join(f"The {WORDS[(n + k) % 8]} sees the {WORDS[3 * k % 8]}." for k in range(12))


def test_a_model_is_pretrained_and_looked_at_as_it_learned_and_the_api_takes_its_steps(tiny_app, open_page, tmp_path):
    path = tmp_path / "animals.txt"
    path.write_text("\n\n".join(story(n) for n in range(60)))
    page = open_page(tiny_app)
    add_file(page, path)
    tab(page, "Train")
    chosen = page.locator("#train-data option", has_text="animals.txt").get_attribute("value")
    page.locator("#train-data").select_option(chosen)
    page.locator("#train-model").select_option(label="A new model, from scratch")
    expect(page.get_by_text("LoRA", exact=True)).to_have_count(0)
    page.get_by_text("Settings", exact=True).click()
    page.locator("#f-model_size").select_option("1M")
    for key, value in (("vocabulary_size", 300), ("max_steps", 20), ("batch_size", 4), ("max_length", 32), ("rank", 8),
                       ("keep_steps", 5), ("learning_rate", 0.005)):  # fmt: skip
        page.locator(f"#f-{key}").fill(str(value))
        page.locator(f"#f-{key}").press("Tab")
    expect(page.locator("#train-form .summary")).to_contain_text("Pretraining")
    shoot(page, "pretrain-form")
    page.get_by_role("button", name="Start", exact=True).click()
    state_is(page, "Completed", 150)
    expect(page.locator("#run-state")).to_contain_text("weights and a vocabulary of")
    expect(page.locator("#run-state")).to_contain_text("The weights are kept every 5 steps")
    shoot(page, "pretrain-run")
    page.get_by_role("button", name="Try it in the Arena").click()
    slider = page.locator("#arena-step")
    expect(slider).to_be_visible()
    expect(page.locator("#arena .lane")).to_have_count(4)
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_visible()
    first = page.locator("#arena .lane .text").first
    finished = first.inner_text()
    expect(page.locator(".step-slider output")).to_have_text("finished")
    slider.focus()
    page.keyboard.press("Home")
    begun = time.monotonic()
    expect(page.locator(".step-slider output")).to_have_text("after step 0")
    expect(first).not_to_have_text(finished)
    print(f"another step's first words after {time.monotonic() - begun:.2f} s")
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_visible()
    shoot(page, "slider")
    page.keyboard.press("End")
    expect(first).to_have_text(finished)
    assert page.errors == [] and page.foreign == []

    app = Client(tiny_app, verbose=False)
    run_id = app.predict(api_name="/list_runs")[0]["run_id"]
    settings = {"max_new_tokens": 8, "lanes": ["greedy"]}
    texts = {
        step: app.predict(f"{run_id}@{step}", "The cat", settings, api_name="/compare")["lanes"]["greedy"]["text"]
        for step in (0, 5, 20)
    }
    assert texts[0] != texts[20]
    with pytest.raises(Exception, match="not kept"):
        app.predict(f"{run_id}@6", "The cat", settings, api_name="/compare")
