"""The app as a process of its own, and a Chromium to look at it with. Without a Chromium these tests fail, they do not skip."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmdemo.core.store import Home
from tests import forked
from tests.browser.steps import LONGEST, SECONDS
from tests.conftest import own_model
from tests.run import BROWSERS
from tests.waiting import free_port, page_of

ROOT = Path(__file__).resolve().parents[2]
NO_BROWSER = (
    "No Chromium was found for the browser tests. Install Debian's (apt-get install chromium) or Playwright's "
    "(python -m playwright install chromium)."
)


_CONTEXTS: list = []
"""The visitors' browsers of this module's tests, for what a test that fails says."""
_MOST_SHOWN = 4000
"""Characters of a page."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A browser test that fails says what its pages showed: on another machine nobody can look."""
    report = yield
    if report.failed and report.when == "call":
        for page in [page for context in _CONTEXTS for page in context.pages]:
            report.sections.append((page.url, _shown(page)))
    return report


def _shown(page) -> str:
    from playwright.sync_api import Error

    try:
        said = [page.inner_text("body", timeout=5 * SECONDS)[:_MOST_SHOWN], *getattr(page, "errors", [])]
    except Error as error:
        return str(error)
    return "\n".join(line for line in "\n".join(said).splitlines() if line.strip())


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium: the system's, else Playwright's own; fails with a sentence when there is neither.

    Ended with each module: Playwright's loop runs in this thread until then, and other tests' asyncio.run would fail.
    """
    from playwright.sync_api import Error, expect, sync_playwright

    expect.set_options(timeout=LONGEST)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error:
            pytest.fail(NO_BROWSER)
        yield found
        _CONTEXTS.clear()
        found.close()


def new_context(browser, **options):
    """A visitor's browser with nothing stored; `options` as Playwright's new_context takes them.

    It wants no motion: the bar of work whose length nobody knows, and the caret of an answer that is on its way, would
    have Chromium draw 60 times a second while a test waits for a worker.
    """
    usual = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", "reduced_motion": "reduce"}
    context = browser.new_context(**{**usual, **options})
    context.set_default_timeout(LONGEST)
    _CONTEXTS.append(context)
    return context


def first_page(context, url: str):
    """A page of this browser that shows `url`; its `foreign` and `errors` list what it must not have done."""
    page = context.new_page()
    page.foreign, page.errors = [], []
    page.on("request", lambda request: page.foreign.append(request.url) if _foreign(request.url, url) else None)
    page.on("pageerror", lambda error: page.errors.append(f"{error.message}\n{error.stack}"))
    page.on("console", lambda said: page.errors.append(said.text) if "Security Policy" in said.text else None)
    page.goto(url)
    page.wait_for_selector("#data-report .island *")
    return page


@pytest.fixture
def open_page(browser):
    """open_page(url, **context options): a page whose `foreign` and `errors` lists what it must not have done."""
    contexts = []

    def open_(url: str, **options):
        context = new_context(browser, **options)
        contexts.append(context)
        return first_page(context, url)

    yield open_
    for context in contexts:
        context.close()


def _foreign(url: str, own: str) -> bool:
    return not url.startswith((own, "data:", "blob:", "about:"))


@contextmanager
def running_app(home: Path, *flags: str, env: dict | None = None):
    """`python app.py` on `home` and a free port; yields its address. Ends it, and what it left running, afterwards."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    environment = {
        **os.environ,
        "LLMDEMO_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "LLMDEMO_MIN_FREE_BYTES": "0",
        "LLMDEMO_SPARE_SECONDS": "0",
        **(env or {}),
    }
    command = [sys.executable, "app.py", "--port", str(port), *flags]
    with open(home.parent / f"app-{port}.log", "wb") as log:
        process = forked.start(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            page_of(url, process)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def tiny_home(tmp_path_factory, tiny_model_folder) -> Path:
    """A home folder whose starter model is a tiny random Llama: everything is real but the weights."""
    home = tmp_path_factory.mktemp("browser") / "home"
    own_model(shutil.copytree(tiny_model_folder, home / "models" / "starter"), Home(home))
    return home


@pytest.fixture(scope="module")
def tiny_app(tiny_home):
    """The address of an app with the tiny model, shared by the tests of a module."""
    with running_app(tiny_home) as url:
        yield url


@pytest.fixture
def app_on():
    """running_app, for tests that need an app of their own."""
    return running_app
