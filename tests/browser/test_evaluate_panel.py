"""The evaluate panel in a real browser: two tiny models compared record by record, a classifier measured and tried."""

import json
import re
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from llmdemo.core.store import write_json
from tests.browser.conftest import running_app
from tests.browser.steps import choose_data, late_answer
from tests.evaluation.conftest import JudgeServer

pytestmark = pytest.mark.slow

TUNED, CLASSIFIER = "run-20260101-000000-abcdef", "run-20260102-000000-abcdef"


@pytest.fixture(scope="module")
def home_with_models(tmp_path_factory, tiny_model_folder):
    """A home folder with the tiny starter, a tuned copy of it and a classifier, all of random weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    home = tmp_path_factory.mktemp("evaluate") / "home"
    for folder in (home / "models" / "starter", *(home / "runs" / name / "model" for name in (TUNED, CLASSIFIER))):
        shutil.copytree(tiny_model_folder, folder)
    torch.manual_seed(1)
    tuned = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    for parameter in tuned.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    tuned.save_pretrained(home / "runs" / TUNED / "model")
    names = {0: "ham", 1: "spam"}
    labels = {name: number for number, name in names.items()}
    classifier = AutoModelForSequenceClassification.from_pretrained(tiny_model_folder, id2label=names, label2id=labels)
    classifier.config.pad_token_id = AutoTokenizer.from_pretrained(tiny_model_folder).pad_token_id
    classifier.save_pretrained(home / "runs" / CLASSIFIER / "model")
    for name, title in ((TUNED, "tuned"), (CLASSIFIER, "spotter")):
        write_json(home / "runs" / name / "model" / "origin.json", {"title": title})
    return home


@pytest.fixture(scope="module")
def app(home_with_models):
    """The address of an app on it; each test has files of its own."""
    with running_app(home_with_models) as url:
        yield url


def upload(page, path) -> None:
    page.set_input_files("#data-file input[type=file]", str(path))
    expect(page.locator(".set-title h2")).to_have_text(path.name)


def test_models_are_compared_and_a_classifier_is_tried(app, open_page, tmp_path):
    evil = "<img src=x onerror=document.title='hit'>"
    rows = [{"instruction": f"{evil} Add {n} and {n + 1}.", "output": f"{2 * n + 1}"} for n in range(60)]
    (tmp_path / "sums.json").write_text(json.dumps(rows))
    labelled = [
        f"{'spam' if n % 4 == 0 else 'ham'}\t{'win a prize' if n % 4 == 0 else 'see you'} {n}" for n in range(120)
    ]
    (tmp_path / "texts.tsv").write_text("label\ttext\n" + "\n".join(labelled))
    page = open_page(app)
    upload(page, tmp_path / "sums.json")
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    expect(page.locator("#evaluate-second")).to_have_value(TUNED)
    page.locator("#evaluate-first").select_option(TUNED)
    expect(page.locator("#evaluate-second")).to_have_value("")  # no model stands beside itself
    page.locator("#evaluate-first").select_option("starter")
    page.locator("#evaluate-second").select_option(TUNED)
    page.locator("#evaluate-start").click()
    expect(page.locator(".figures tbody tr")).to_have_count(10)
    page.locator(".sorter", has_text="ROUGE-L").first.click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("ROUGE-L")
    page.locator(".records .link").first.click()
    expect(page.locator(".unfolded")).to_contain_text("onerror")
    assert page.title() != "hit"
    page.get_by_text("only where they differ").click()
    expect(page.locator("[data-key=differ]")).to_be_checked()
    with page.expect_download() as saved:
        page.locator("[data-key=csv]").click()
    assert saved.value.suggested_filename.startswith("eval-")
    assert saved.value.path().read_text(encoding="utf-8-sig").count("onerror") >= 6
    page.reload()  # the evaluation is the server's: another visit shows it
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    expect(page.locator(".figures tbody tr")).to_have_count(10)
    page.get_by_role("tab", name="Data", exact=True).click()
    upload(page, tmp_path / "texts.tsv")
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    choose_data(page, "#evaluate-data", "texts.tsv · 120")
    with late_answer(page, "overview", lambda: page.locator(".island-evaluate-side [data-key^=open-]").click()):
        page.locator("#evaluate-start").click()
        expect(page.locator(".confusion")).to_be_visible()
    expect(page.locator("#evaluate-result th", has_text="recall, macro")).to_be_visible()
    page.locator("#evaluate-threshold").fill("0.2")
    expect(page.locator(".threshold b")).to_have_text("0.20")
    page.locator(".use textarea").fill("win a prize")
    page.locator("#evaluate-classify").click()
    expect(page.locator(".shares > div")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.foreign == [] and page.errors == []


@contextmanager
def judge_with(right: str):
    """(address, Authorization headers it was sent) of an endpoint that answers to one key alone."""
    server = JudgeServer()
    server.say = lambda _: "[RESULT] A: 4, B: 4" if server.keys[-1] == f"Bearer {right}" else 401
    yield server.url, server.keys
    server.close()


def test_a_corrected_key_goes_to_its_own_judge_and_to_no_other(app, open_page, tmp_path):
    rows = [{"instruction": f"Add {n} and {n + 2}.", "output": f"{2 * n + 2}"} for n in range(40)]
    (tmp_path / "judged.json").write_text(json.dumps(rows))
    with judge_with("sk-right") as (one, ones), judge_with("sk-other") as (two, twos):
        page = open_page(app)
        upload(page, tmp_path / "judged.json")
        page.get_by_role("tab", name="Evaluate", exact=True).click()
        expect(page.locator("#evaluate-second")).to_have_value(TUNED)
        page.locator("#evaluate-form summary").click()
        page.locator("#evaluate-limit").fill("2")
        page.locator("#evaluate-form input[value=endpoint]").check(force=True)
        started = page.locator(".island-evaluate-side [data-key^=open-]")
        for count, (address, key) in enumerate(((one, "sk-wrong"), (two, "sk-other")), 1):
            for field, value in (("url", address), ("model", "m"), ("key", key)):
                page.locator(f"#judge-{field}").fill(value)
            before = started.count()
            page.locator("#evaluate-start").click()
            expect(started).to_have_count(before + 1)
            said = page.locator("#evaluate-result").get_by_text("refused the key" if count == 1 else "judged by m")
            expect(said).to_be_visible()
        started.nth(1).click()  # the first one again
        expect(page.locator("[data-key=judge-key]")).to_have_value("sk-wrong")
        page.locator("[data-key=judge-key]").fill("sk-right")
        page.locator("[data-key=resume]").click()
        expect(page.locator("#evaluate-result").get_by_text("refused the key")).to_have_count(0)
        expect(page.locator("#evaluate-result").get_by_text("judged by m")).to_be_visible()
        expect(page.locator("#evaluate-result")).to_contain_text("done")
        assert set(ones) == {"Bearer sk-wrong", "Bearer sk-right"} and set(twos) == {"Bearer sk-other"}
        assert "sk-" not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, location.href])")
        assert page.errors == []


def test_strategies_are_compared_and_searched_and_a_record_opens_in_the_arena(app, open_page, tmp_path):
    rows = [{"instruction": f"Add {n} and {n + 3}.", "output": f"{2 * n + 3}"} for n in range(80)]
    (tmp_path / "searched.json").write_text(json.dumps(rows))
    page = open_page(app)
    upload(page, tmp_path / "searched.json")
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    page.get_by_role("radio", name="Compare strategies").check()
    page.locator("#evaluate-second").select_option("")
    for unwanted in ("Beam search", "Best of n", "Self-consistency"):
        page.locator(".lanechips").get_by_role("checkbox", name=unwanted).uncheck()
    page.get_by_text("Search a strategy's values").click()
    page.locator("#evaluate-search").select_option("sample")
    page.locator("#evaluate-search-values").fill("temperature: 0.2, 1.5")
    page.locator("#evaluate-start").click()
    expect(page.locator(".strategies .figures tbody tr")).to_have_count(4)
    expect(page.locator(".searched .found")).to_contain_text("was best on one half")
    page.locator(".records .link").first.click()
    page.locator("[data-key=arena]").click()
    expect(page.locator("#arena-prompt")).to_have_value(re.compile(r"Add \d+ and"))
    assert page.foreign == [] and page.errors == []
