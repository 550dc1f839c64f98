"""What a visitor does on the page, step by step: a panel, a file, settings, a run, a comparison. Each waits for what it causes."""

import re
import time
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

SECONDS = 1000  # Playwright counts in milliseconds
LONGEST = 120 * SECONDS
"""Of a wait that says nothing else: three tests share two cores with linters, and what is right costs no wait."""


def until(page, expression: str, arg=None) -> None:
    """Waits until JavaScript is true on the page. (wait_for_function evaluates text there, which the page's policy forbids.)"""
    end = time.monotonic() + LONGEST / SECONDS
    while not page.evaluate(expression, arg):
        if time.monotonic() > end:
            pytest.fail(f"not true within {LONGEST / SECONDS:.0f} s: {expression}")
        page.wait_for_timeout(50)


def tab(page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def add_file(page, path) -> None:
    page.set_input_files("#data-file input[type=file]", str(path))
    expect(page.locator(".set-title h2")).to_have_text(path.name)


def choose_data(page, menu: str, title: str) -> None:
    """The newest data set in a menu that is called so; another one of the same name has its time behind the title."""
    option = page.locator(f"{menu} option", has_text=re.compile(f"^{re.escape(title)}( ·|$)")).first
    page.locator(menu).select_option(option.get_attribute("value"))


def set_field(page, key: str, value) -> None:
    field = page.locator(f"#f-{key}")
    field.fill(str(value))
    field.press("Tab")


def start_run(page, **settings) -> None:
    tab(page, "Train")
    if settings:
        page.get_by_text("Settings", exact=True).click()
        for key, value in settings.items():
            set_field(page, key, value)
    page.get_by_role("button", name="Start", exact=True).click()


def state_is(page, words: str, seconds: float) -> None:
    shown = page.locator("#run-state .state b").first
    expect(shown).to_have_text(re.compile(f"^({words}|Failed)$"), timeout=max(seconds * SECONDS, LONGEST))
    if shown.inner_text() == "Failed":
        pytest.fail(page.locator("#run-state").inner_text())


def use_sample(page) -> None:
    """The button that adds the sample, where it is: on the first screen, else beside the data."""
    page.locator("#welcome-start:visible, #data-sample:visible").first.click()


def before_and_after(page, seconds: float) -> None:
    """Presses "Try it in the Arena", and waits until the base and the tuned model have answered side by side."""
    page.get_by_role("button", name="Try it in the Arena").click()
    expect(page.locator("#arena .modelname")).to_have_count(2, timeout=max(seconds * SECONDS, LONGEST))
    expect(page.locator("#arena .lane")).to_have_count(8, timeout=max(seconds * SECONDS, LONGEST))
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_visible(
        timeout=max(seconds * SECONDS, LONGEST)
    )


def compare(page, prompt: str, new_tokens: int, seconds: float, lanes: int = 4) -> list[str]:
    """Types the prompt, presses Compare, waits for all lanes; returns what each says."""
    tab(page, "Arena")
    page.locator("#arena textarea").first.fill(prompt)
    page.get_by_label("New tokens", exact=True).fill(str(new_tokens))
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator("#arena .lane")).to_have_count(lanes, timeout=max(seconds * SECONDS, LONGEST))
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_visible(
        timeout=max(seconds * SECONDS, LONGEST)
    )
    return page.locator("#arena .lane .text").all_inner_texts()


@contextmanager
def held(page, question: str):
    """What the page asks by this name arrives at the app when the block is left."""
    routes, going = [], [True]

    def keep(route):
        if going and f'"{question}"' in (route.request.post_data or ""):
            routes.append(route)
        else:
            route.fallback()

    page.route("**/component_server**", keep)
    yield
    _has_come(page, routes, question)  # a panel may ask a moment after it is seen
    going.clear()
    for route in routes:
        route.continue_()
    page.unroute("**/component_server**", keep)


@contextmanager
def late_answer(page, question: str, ask):
    """What the page asks by `ask()` is answered at once, and the answer arrives when the block is left, later than those
    to newer questions."""
    kept = []

    def keep(route):
        asked = not kept and f'"{question}"' in (route.request.post_data or "")
        if asked:
            kept.append((route, route.fetch()))
        else:
            route.continue_()

    page.route("**/component_server**", keep)
    with page.expect_request(lambda request: f'"{question}"' in (request.post_data or "")):
        ask()
    yield
    _has_come(page, kept, question)
    route, response = kept[0]
    with page.expect_response(lambda answer: answer.request == route.request):
        route.fulfill(response=response)
    page.unroute("**/component_server**", keep)


def _has_come(page, found: list, question: str) -> None:
    """Waits until what the page asks by this name has been found."""
    end = time.monotonic() + LONGEST / SECONDS
    while not found:
        if time.monotonic() > end:
            pytest.fail(f"nothing asked for {question}")
        page.wait_for_timeout(50)
