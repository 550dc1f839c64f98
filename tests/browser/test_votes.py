"""A class's vote in three browsers at once: an owner at the projector, two guests on phones."""

from contextlib import ExitStack

import pytest

from tests.browser.conftest import new_context, running_app
from tests.browser.steps import held, until

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def shared(tiny_home):
    """The address of an app where ann is the owner and everybody else a guest."""
    with running_app(tiny_home, "--auth", "ann:secret") as url:
        yield url


@pytest.fixture
def visit(browser):
    """visit(url, **context options): a page whose `got` holds every byte that it was sent, and `errors` its mistakes."""
    contexts = []

    def open_(url: str, **options):
        context = new_context(browser, **options)
        contexts.append(context)
        page = context.new_page()
        page.got, page.errors = [], []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("response", lambda answer: page.got.append(answer))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def owner(visit, shared):
    page = visit(f"{shared}sign-in", viewport={"width": 1280, "height": 900})
    page.fill("input[name=name]", "ann")
    page.fill("input[name=password]", "secret")
    waiting = ExitStack()
    waiting.enter_context(held(page, "models"))  # before the page is there, which may ask at once
    page.press("input[name=password]", "Enter")
    page.release_models = waiting.close
    page.click('#panels button[role=tab][data-tab-id="arena"]')
    page.wait_for_selector("#votes summary")
    return page


def start(owner, prompts: str, title: str) -> str:
    """Opens a vote; its link."""
    owner.click("#votes summary")
    owner.fill("#votes textarea", prompts)
    owner.fill("#votes .title input", title)
    owner.press("#votes .title input", "Tab")
    # A vote is opened on the arena's models: not before its menu is filled.
    assert owner.locator("#votes .votes-form .btn.strong").is_disabled()
    owner.release_models()
    owner.click("#votes .votes-form .btn.strong")
    owner.wait_for_selector("#votes .votes-code")
    return owner.get_attribute("#votes .votes-link", "href")


def said(page) -> str:
    """Everything that the page was told about the vote. (That the page itself,
    the same for every vote, names no contestant is tested in tests/ui/test_votes_pages.py.)"""
    texts = []
    for answer in page.got:
        if "component_server" in answer.url:
            texts.append(answer.text())
    assert texts
    return "\n".join(texts)


def test_two_phones_vote_blind_and_the_board_fills_live(owner, visit, shared):
    link = start(owner, "Hello\nWhat is rain?\nSay more", "Class 7b")
    assert link.startswith(f"{shared}vote?vote=vote-")
    phones = [visit(link, **PHONE), visit(link, **PHONE, locale="zh-TW")]
    for phone in phones:
        phone.wait_for_selector("#ballot .ballot-bar[role=group]")
        assert phone.inner_text("#ballot h1") == "Class 7b"
        assert phone.locator("#ballot .answer").count() == 2
        assert "top_p" not in said(phone) and "lane" not in said(phone)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert phones[1].inner_text("#ballot .ballot-bar .btn >> nth=0") == "左邊較好"

    for phone in phones:
        phone.tap("#ballot .ballot-bar .btn >> nth=0")
        phone.wait_for_selector("#ballot .ballot-next")
        assert phone.locator("#ballot .answer.chosen").count() == 1
        assert phone.locator("#ballot .answer h2 b").count() == 2  # both are named now
    until(owner, "document.querySelector('#votes .votes-count b')?.textContent === '2'")
    assert owner.locator("#votes .strength-row[role=row]").count() == 4

    before = phones[0].inner_text("#ballot .ballot-prompt"), phones[0].inner_text("#ballot .answers")
    phones[0].tap("#ballot .ballot-bar .btn >> text=Take back")
    phones[0].wait_for_selector("#ballot .ballot-bar[role=group]")
    assert before != (phones[0].inner_text("#ballot .ballot-prompt"), phones[0].inner_text("#ballot .answers"))
    until(owner, "document.querySelector('#votes .votes-count b')?.textContent === '1'")

    shown = phones[0].inner_text("#ballot .answers")
    phones[0].reload()
    phones[0].wait_for_selector("#ballot .ballot-bar[role=group]")
    assert phones[0].inner_text("#ballot .answers") == shown

    owner.click("#votes .votes-actions >> text=Make a preference data set")
    owner.wait_for_selector("#votes .votes-actions >> text=Train on it")

    owner.click("#votes .votes-actions >> text=Close the vote")
    owner.click("#votes .votes-actions >> text=Nobody can vote after that")
    owner.wait_for_selector("#votes .votes-side >> text=This vote is closed")
    phones[0].tap("#ballot .ballot-bar .btn >> nth=0")
    phones[0].wait_for_selector("#ballot .notice >> text=not counted")
    phones[0].wait_for_selector("#ballot .conclusion")  # the board, once the vote is closed
    assert not [page.errors for page in (owner, *phones) if page.errors]


def test_a_guests_own_question_comes_back_as_two_answers(owner, visit):
    owner.release_models()
    owner.click("#votes summary")
    owner.wait_for_selector("#votes .votes-form, #votes .votes-running")
    if owner.locator("#votes .votes-picker select").count():
        owner.select_option("#votes .votes-picker select", "")
    owner.fill("#votes textarea", "")
    owner.press("#votes textarea", "Tab")
    owner.check("#votes .votes-own input")
    owner.click("#votes .votes-form .btn.strong")
    owner.wait_for_selector("#votes .votes-code")
    phone = visit(owner.get_attribute("#votes .votes-link", "href"), **PHONE)
    phone.wait_for_selector("#ballot textarea")
    phone.fill("#ballot textarea", "Why is it wet?")
    phone.tap("#ballot .ballot-ask .btn")
    phone.wait_for_selector("#ballot .ballot-bar[role=group]")
    assert phone.inner_text("#ballot .ballot-prompt") == "Why is it wet?"
    assert not phone.errors


def test_a_link_of_no_vote_is_a_sentence(visit, shared):
    phone = visit(f"{shared}vote?vote=vote-20260101-000000-abcdef", **PHONE)
    phone.wait_for_selector("#ballot .notice >> text=There is no such vote")
