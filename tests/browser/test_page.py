"""The page itself in a real browser: bad files, untrusted text, languages, narrow screens, keyboard, other hosts."""

import json
import shutil

import pytest
from playwright.sync_api import expect

from llmdemo.core.store import Home
from tests.browser.steps import until, use_sample
from tests.conftest import own_model

PANELS = ("Data", "Train", "Arena", "Evaluate")

pytestmark = pytest.mark.slow


def upload(page, path) -> None:
    page.set_input_files("#data-file input[type=file]", str(path))


BAD_FILES = {
    "picture.json": (b"\x89PNG\r\n\x1a\n" + b"\0" * 200, "picture"),
    "empty.json": (b"", "empty"),
    "latin.csv": ("instruction,output\ncaf\xe9,ol\xe9\n".encode("latin-1"), "UTF-8"),
    "broken.json": (b'[{"instruction": "a", "output": "b"},\n{"instruction": "c" "output": "d"}]', "line 2"),
    "unanswered.json": (json.dumps([{"instruction": "Name a fruit.", "output": ""}] * 3).encode(), "answer"),
}


def test_a_bad_file_is_one_calm_sentence_and_leaves_nothing(tiny_app, tiny_home, open_page, tmp_path):
    page = open_page(tiny_app)
    for name, (content, said) in BAD_FILES.items():
        (tmp_path / name).write_bytes(content)
        before = sorted((tiny_home / "datasets").iterdir())
        upload(page, tmp_path / name)
        expect(page.locator("#data-adding .notice")).to_contain_text(said)
        assert sorted((tiny_home / "datasets").iterdir()) == before
        use_sample(page)  # the page goes on
        expect(page.locator(".set-title h2")).to_be_visible()
        expect(page.locator("#data-adding .notice")).to_have_count(0)
    assert page.errors == []


def test_a_file_over_the_limit_is_refused_before_it_is_sent(app_on, tiny_model_folder, open_page, tmp_path):
    own_model(shutil.copytree(tiny_model_folder, tmp_path / "home" / "models" / "starter"), Home(tmp_path / "home"))
    (tmp_path / "large.json").write_bytes(b"[" + b" " * 200_000 + b"]")
    with app_on(tmp_path / "home", env={"LLMDEMO_MAX_UPLOAD_BYTES": "100000"}) as url:
        page = open_page(url)
        upload(page, tmp_path / "large.json")
        expect(page.locator(".too-large .notice")).to_contain_text("LLMDEMO_MAX_UPLOAD_BYTES")
        assert page.locator(".toast-body").count() == 0 and page.errors == []


def test_unknown_columns_are_asked_for(tiny_app, open_page, tmp_path):
    path = tmp_path / "plain.json"
    path.write_text(
        json.dumps(
            [{"ask": f"What is {n} plus one?", "tell": f"It is {n + 1}, of course, as always."} for n in range(30)]
        )
    )
    page = open_page(tiny_app)
    upload(page, path)
    page.get_by_role("button", name="Use these columns").click()
    expect(page.locator(".set-title h2")).to_have_text("plain.json")
    expect(page.locator("#data-columns form")).to_have_count(0)


def test_text_from_data_is_shown_as_text(tiny_app, open_page, tmp_path):
    evil = "<img src=http://other.example/x onerror=document.title='hit'><script>document.title='hit'</script>![x](http://other.example/y)"
    path = tmp_path / "<b>evil<b>.json"
    path.write_text(json.dumps([{"instruction": f"{evil} {n}", "output": f"{evil} {n}"} for n in range(30)]))
    page = open_page(tiny_app)
    upload(page, path)
    expect(page.locator(".set-title h2")).to_contain_text("evil")
    expect(page.locator(".tok")).to_contain_text("onerror")
    page.get_by_role("radio", name="conversation").check()
    expect(page.locator(".talk")).to_contain_text("<script>")
    page.get_by_role("tab", name="Train", exact=True).click()
    expect(page.locator("#train-data")).to_contain_text("evil")
    assert page.title() != "hit" and page.foreign == []
    assert page.locator("#panels img, #panels script").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_no_panel_is_wider_than_the_screen(width, tiny_app, open_page):
    page = open_page(tiny_app, viewport={"width": width, "height": 844})
    for name in PANELS:
        page.get_by_role("tab", name=name, exact=True).click()
        expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.foreign == [] and page.errors == []


def test_a_chinese_browser_gets_chinese(tiny_app, open_page):
    page = open_page(tiny_app, locale="zh-TW")
    for name in ("資料", "訓練", "競技場", "評估"):
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_visible()
    expect(page.locator("h1")).to_have_text("微調與解碼")
    expect(page.locator("#data-sample")).to_have_text("使用範例資料")
    expect(page.locator("#data-file .drop")).to_contain_text("拖到這裡")
    assert page.evaluate("document.documentElement.lang") == "zh-TW"


def test_the_panels_are_reached_by_keyboard(tiny_app, open_page):
    page = open_page(tiny_app)
    expect(page.locator("#data-sample")).to_be_visible()
    page.get_by_role("tab", name="Data", exact=True).focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "tab":
            continue
        break
    assert page.evaluate("document.activeElement.closest('#panels')"), "the focus stays in the panel"
    expect(page.locator(":focus")).not_to_have_css("outline-style", "none")


def test_what_is_drawn_anew_keeps_the_focus_and_what_is_being_typed(tiny_app, open_page, alpaca_file):
    page = open_page(tiny_app)
    upload(page, alpaca_file)
    expect(page.locator(".set-title h2")).to_have_text(alpaca_file.name)  # no longer another's
    expect(page.locator(".tok").first).to_be_visible()

    def redraw(view: str, shown: str) -> None:
        """As late figures do: without the focus going anywhere, and with the same elements."""
        button = page.locator("#data-train-on").element_handle()
        page.evaluate(f"document.querySelector('#data-report input[value={view}]').click()")
        page.wait_for_selector(shown)
        assert button.evaluate("button => button.isConnected"), "what stays is not made anew"

    search = page.get_by_role("searchbox", name="Search the records")
    search.press_sequentially("mess")
    search.evaluate("field => field.setSelectionRange(2, 3)")
    redraw("talk", ".talk")
    assert search.evaluate("field => [field.selectionStart, field.selectionEnd]") == [2, 3]
    search.press("End")
    page.keyboard.type("age")
    expect(search).to_have_value("message")
    page.get_by_role("button", name="Next record").focus()
    redraw("tokens", ".tok")
    expect(page.get_by_role("button", name="Next record")).to_be_focused()


def test_the_form_of_columns_says_what_is_missing_keeps_what_was_chosen_and_can_be_left(tiny_app, open_page, tmp_path):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps([{"ask": f"What is {n}?", "tell": f"It is {n}.", "more": "x"} for n in range(9)]))
    page = open_page(tiny_app)
    upload(page, path)
    form = page.locator("#data-columns form")
    menus = form.locator("select")
    menus.first.select_option("preference")
    for index, column in ((1, "ask"), (2, "tell"), (3, "")):
        menus.nth(index).select_option(column)
    page.get_by_role("button", name="Use these columns").click()
    expect(form.locator(".notice")).to_contain_text("Choose a column for")
    expect(menus.nth(3)).to_have_attribute("aria-invalid", "true")
    assert menus.nth(1).input_value() == "ask" and menus.nth(2).input_value() == "tell"
    page.locator("#data-columns-cancel").click()
    expect(form).to_have_count(0)
    expect(page.locator("#data-file input[type=file]")).to_be_attached()
    assert page.errors == []


def test_the_large_view_uses_the_whole_width_and_stays(tiny_app, open_page):
    page = open_page(tiny_app, viewport={"width": 1920, "height": 1000})
    width = "document.querySelector('.gradio-container').getBoundingClientRect().width"
    assert page.evaluate(width) < 1400
    page.get_by_role("button", name="Large view").click()
    assert page.evaluate(width) > 1800
    page.reload()
    page.wait_for_selector(".large-switch[aria-pressed=true]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1920


def test_markup_that_reaches_the_page_runs_no_script(tiny_app, open_page):
    page = open_page(tiny_app)
    refused = page.evaluate("""new Promise((done) => {
        document.addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
        document.body.insertAdjacentHTML("beforeend", '<img src="data:," onerror="window.ran = true">');
    })""")
    assert refused == "script-src-attr" and page.evaluate("window.ran") is None


def test_no_text_is_evaluated_on_any_panel(tiny_app, open_page):
    """Gradio makes functions of text for gr.HTML and the js of events: assets/lib/no-eval.js does that instead."""
    page = open_page(tiny_app)
    heard = "document.addEventListener('securitypolicyviolation', (event) => refused.push(event.blockedURI))"
    page.add_init_script(f"window.refused = []; {heard}")
    page.reload()
    for panel, island in (
        ("Train", "train-form"),
        ("Arena", "arena"),
        ("Evaluate", "evaluate-form"),
        ("Learn", "lessons"),
    ):
        page.get_by_role("tab", name=panel, exact=True).click()
        expect(page.locator(f".island-{island} *").first).to_be_visible()
    assert page.evaluate("refused") == [] and page.errors == []
    tried = """new Promise((done) => setTimeout(() => {
        try { done(new Function("return 1")()) } catch (error) { done(error.name) }
    }))"""
    assert page.evaluate(tried) == "EvalError" and page.evaluate("refused") == ["eval"]


def test_a_page_at_rest_draws_no_frame(tiny_app, open_page):
    """Gradio's sign of loading went on for ever: a tenth of a core, as long as the page was open."""
    page = open_page(tiny_app)
    drawn = """new Promise((done) => {
        const own = window.requestAnimationFrame;
        let frames = 0;
        window.requestAnimationFrame = (act) => { frames += 1; return own(act); };
        setTimeout(() => { window.requestAnimationFrame = own; done(frames); }, 500);
    })"""
    until(page, f"{drawn}.then((frames) => frames === 0)")


def test_an_address_with_view_api_opens_the_page_of_the_endpoints(tiny_app, open_page):
    page = open_page(tiny_app + "?view=api")
    expect(page.get_by_text("/start_run").first).to_be_visible()
    assert page.errors == []


def test_a_second_visit_fetches_no_script_again(tiny_app, open_page):
    page = open_page(tiny_app)
    ours = "performance.getEntriesByType('resource').filter(e => e.name.includes('/page-'))"
    first = page.evaluate(f"{ours}.reduce((sum, e) => sum + e.transferSize, 0)")
    assert 20_000 < first < 200_000
    page.goto(tiny_app)
    page.wait_for_selector("#data-report .island *")
    assert page.evaluate(f"{ours}.reduce((sum, e) => sum + e.transferSize, 0)") < 5_000


def test_the_api_page_opens_without_other_hosts(tiny_app, open_page):
    page = open_page(tiny_app)
    page.get_by_text("Use via API").click()
    expect(page.get_by_text("/start_run").first).to_be_visible()
    assert page.foreign == []
