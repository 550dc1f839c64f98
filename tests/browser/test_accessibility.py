"""axe-core finds nothing on any panel, in any of its states, in light and in dark.

axe comes from npm with the other tools for the page's scripts (tests/assets/check.py).
"""

import importlib.util
import json
import shutil
import signal
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from llmdemo import prepare
from llmdemo.core.store import Home, new_id, write_json
from llmdemo.data.ingest import add_dataset
from llmdemo.evaluation import Evaluations
from llmdemo.evaluation.worker import work
from llmdemo.jobs import Jobs
from llmdemo.settings import Settings
from llmdemo.training.worker import main as train
from tests.browser.conftest import running_app
from tests.browser.steps import LONGEST, SECONDS, compare, tab, until
from tests.conftest import own_model
from tests.waiting import over
from tests.workers import in_this_process

pytestmark = pytest.mark.slow
ASSETS = Path(__file__).resolve().parents[1] / "assets"
AXE = ASSETS / "node_modules" / "axe-core" / "axe.min.js"
GRADIOS_OWN = ["footer", ".toast-wrap", "#train-import"]
"""Parts of Gradio that it draws by itself."""
NO_TRANSITION = (
    "!document.getAnimations().some((each) => each instanceof CSSTransition && each.playState === 'running')"
)


@pytest.fixture(scope="module")
def axe() -> str:
    """axe's source; fetched from npm where it is not there, and left out with a sentence on a machine without node."""
    spec = importlib.util.spec_from_file_location("check", ASSETS / "check.py")
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    if reason := check.why_not():
        pytest.skip(reason)
    assert check.fetched(), "axe could not be fetched from npm"
    return AXE.read_text(encoding="utf-8")


def violations(page, axe: str, state: str, schemes=("light", "dark")) -> list[str]:
    """What axe finds on the page as it is, in these colours: "state, scheme: rule: the elements"."""
    if not page.evaluate("!!window.axe"):
        page.evaluate(axe)
    told = []
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        until(page, f"document.body.classList.contains('dark') === {str(scheme == 'dark').lower()}")
        until(page, NO_TRANSITION)  # a colour on its way to another one has neither's contrast
        found = page.evaluate(
            "async (own) => (await axe.run({exclude: own.map((each) => [each])}, {resultTypes: ['violations']})).violations",
            GRADIOS_OWN,
        )
        told += [
            f"{state}, {scheme}: {each['id']}: {[node['target'] + [node['html'][:120]] for node in each['nodes'][:4]]}"
            for each in found
        ]
    return told


@pytest.fixture(scope="module")
def worked(tiny_model_folder, tmp_path_factory):
    """An app with data that has problems, a finished run of it, a finished classifier, and an evaluation of each.

    The workers' work is done in this process, before the app starts: tests/browser/test_tasks.py has them started there.
    """
    folder = tmp_path_factory.mktemp("worked")
    home = Home(folder / "home").prepare()
    own_model(shutil.copytree(tiny_model_folder, home.models / "starter"), home)
    rows = [{"instruction": f"Add {n} and {n + 3}.", "output": f"The sum is {2 * n + 3}."} for n in range(40)]
    rows += [{"instruction": "Add 1 and 4.", "output": "Another one."}, {"instruction": "", "output": "x"}]
    (folder / "sums.json").write_text(json.dumps(rows))
    texts = "".join(f"{'spam' if n % 3 == 0 else 'ham'}\tnumber {n} wins\n" for n in range(60))
    (folder / "texts.tsv").write_text(texts)
    settings = Settings(home=home.root, min_free_bytes=0)
    with Evaluations(Jobs(home, settings, in_this_process(work, home))) as evaluations:
        for name in ("texts.tsv", "sums.json"):
            dataset_id = add_dataset(home, settings, folder / name, name).dataset_id
            run_id = trained(home, dataset_id=dataset_id, max_steps=4, max_length=64, rank=8)
            models = [run_id] if name == "texts.tsv" else ["starter", run_id]
            evaluation_id = evaluations.start({"dataset_id": dataset_id, "model_ids": models, "max_new_tokens": 16})
            status = over(evaluations, evaluation_id, LONGEST / SECONDS)
            assert status["state"] == "completed", status
    with running_app(home.root) as url:
        yield url


def trained(home: Home, **values) -> str:
    """The id of a run with these settings, trained by the worker's own function."""
    run_dir = home.runs / new_id("run")
    about = {"id": run_dir.name, "name": "worked", "named": False, "created": time.time()}
    run_dir.mkdir()
    write_json(run_dir / "config.json", {**prepare.whole_config(*prepare.checked(home, values)), "run": about})
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert train(run_dir) == 0, (run_dir / "events.jsonl").read_text()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    return run_dir.name


def test_the_first_screen_and_empty_panels(tiny_app, open_page, axe):
    page = open_page(tiny_app)
    found = []
    for name in ("Data", "Train", "Arena", "Evaluate", "Learn"):
        tab(page, name)
        found += violations(page, axe, f"{name}, empty")
    assert found == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_panel_with_work_in_it(scheme, width, worked, open_page, axe):
    page = open_page(worked, color_scheme=scheme, viewport={"width": width, "height": 844})
    found = []
    expect(page.locator(".tok").first).to_be_visible()
    found += violations(page, axe, "data, tokens", [scheme])
    for view in ("conversation", "list"):
        page.get_by_role("radio", name=view).check(force=True)
        found += violations(page, axe, f"data, {view}", [scheme])
    tab(page, "Train")
    expect(page.locator("#run-state")).to_be_visible()
    page.get_by_text("Settings", exact=True).click()
    page.locator("#exp-open").click()
    page.locator("#train-form .help").first.click()
    page.locator("#train-run .plot-table summary").click()
    found += violations(page, axe, "train, a finished run", [scheme])
    tab(page, "Evaluate")
    for shown in (".figures", ".confusion"):
        page.locator("#evaluate-side .sets button.link").nth(0 if shown == ".figures" else 1).click()
        expect(page.locator(shown)).to_be_visible()
        found += violations(page, axe, f"evaluate, {shown}", [scheme])
    compare(page, "Add 3 and 4.", 12, 60)
    found += violations(page, axe, "arena, compared", [scheme])
    page.locator(".lane[data-strategy=top_p] .token:not(.part)").nth(2).click()
    page.locator(".alternatives .tried summary").first.click()
    found += violations(page, axe, "arena, alternatives", [scheme])
    assert found == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_lesson_asks_first_and_then_shows_something_in_place(scheme, width, tiny_app, open_page, axe):
    """Without data and without a run: each lesson works on the sample and the starter, or says what it needs."""
    page = open_page(tiny_app, viewport={"width": width, "height": 844})
    tab(page, "Learn")
    lessons = json.loads((ASSETS.parents[1] / "assets" / "learn" / "lessons.json").read_text())["lessons"]
    found = []
    for lesson in [each["id"] for each in lessons if each["id"] != "start"]:
        page.locator(f".lessons a[href*='lesson={lesson}']").click()
        expect(page.locator(".lesson .why")).to_have_count(0)
        page.locator(".predict input").first.check()
        expect(page.locator(".lesson .why")).to_be_visible()
        waiting = page.locator("#lessons [role=status]", has_text="Computing")
        expect(waiting).to_have_count(0)
        expect(page.locator(".lesson .notice.error")).to_have_count(0)
        found += violations(page, axe, f"lesson {lesson}", [scheme])
    for place in ("Quiz", "For teachers", "Resources"):
        page.get_by_role("radio", name=place).check(force=True)
        found += violations(page, axe, place, [scheme])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert found == [] and page.errors == [] and page.foreign == []
