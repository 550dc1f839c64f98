"""The arena in a real browser with a tiny model: panes, card, fork, tree, replay, links, traces, bad input."""

import json
import shutil

import pytest
from playwright.sync_api import expect

from llmdemo import data
from llmdemo.core.store import Home
from tests.browser.conftest import first_page, new_context
from tests.browser.steps import held, tab, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny_home(tiny_home, tiny_model_folder):
    """The shared home folder with a second model: a finished run."""
    shutil.copytree(tiny_model_folder, tiny_home / "runs" / "run-20260101-000000-abcdef" / "model")
    return tiny_home


@pytest.fixture
def arena(open_page, tiny_app):
    """arena(query, **context options): the page with the arena's tab open."""

    def open_(query: str = "", **options):
        page = open_page(tiny_app, **options)
        if query:
            page.goto(tiny_app + query)
        else:
            page.get_by_role("tab", name="Arena").click()
        wait_ready(page)
        return page

    return open_


def wait_ready(page):
    page.wait_for_selector(".arena .run")
    until(page, "document.querySelector('#arena-model').value === 'starter'")


@pytest.fixture(scope="module")
def compared(browser, tiny_app):
    """A page with the first comparison of its visitor, for tests that look at it and leave it as it was."""
    context = new_context(browser)
    page = first_page(context, tiny_app)
    page.get_by_role("tab", name="Arena").click()
    wait_ready(page)
    compare(page)
    yield page
    context.close()


def set_number(page, key, value):
    page.fill(f"#arena-{key}", str(value))
    page.dispatch_event(f"#arena-{key}", "change")


def compare(page, tokens=12, prompt="Hello there"):
    page.fill("#arena-prompt", prompt)
    set_number(page, "max_new_tokens", tokens)
    page.click(".arena .run")
    wait_done(page)


def wait_done(page):
    until(page, "document.querySelector('.arena .run').textContent === 'Compare'")
    # What came last is drawn in the next animation frame.
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def texts(page):
    return page.eval_on_selector_all(
        ".lane", "panes => panes.map(p => [p.dataset.strategy, p.querySelector('.text').textContent])"
    )


def test_compare_that_is_pressed_before_the_menu_of_models_has_come_waits_for_it(open_page, tiny_app):
    page = open_page(tiny_app)
    with held(page, "models"):
        tab(page, "Arena")
        page.fill("#arena-prompt", "Hello there")
        set_number(page, "max_new_tokens", 3)
        page.click(".arena .run")
        expect(page.locator(".arena .status")).to_have_text("Starting…")
    expect(page.locator(".lane")).to_have_count(4)
    wait_done(page)
    assert "Done: 3 steps" in page.inner_text(".arena .status")
    expect(page.locator(".arena .error")).to_be_hidden()
    assert page.errors == []


def test_four_strategies_answer_side_by_side(compared):
    page = compared
    assert [strategy for strategy, _ in texts(page)] == ["greedy", "top_k", "top_p", "beam"]
    for pane in page.query_selector_all(".lane"):
        assert pane.query_selector_all(".token")
        facts = pane.query_selector("dl").inner_text()
        assert "perplexity" in facts and "12" in facts and "tok/s" in facts
    assert "Done: 12 steps" in page.inner_text(".arena .status")
    assert page.errors == [] and page.foreign == []


def test_the_same_seed_gives_the_same_page_again(arena):
    page = arena()
    compare(page)
    first = texts(page)
    compare(page)
    assert texts(page) == first
    set_number(page, "seed", 123)
    compare(page)
    assert texts(page) != first


def test_pointing_at_a_token_shows_kept_and_cut_alternatives(compared):
    page = compared
    page.hover(".lane[data-strategy=top_k] .token:not(.part) >> nth=2")
    card = page.wait_for_selector(".alternatives:not([hidden])")
    assert card.inner_text().startswith("token ")
    assert len(card.query_selector_all(".bar")) >= 5
    page.hover(".lane[data-strategy=greedy] .token:not(.part) >> nth=2")
    page.wait_for_selector(".alternatives[data-strategy=greedy] .cutline")
    page.mouse.move(5, 5)
    page.wait_for_selector(".alternatives[hidden]", state="attached")


def test_other_values_are_tried_on_what_was_recorded(compared):
    page = compared
    page.click(".lane[data-strategy=top_p] .token:not(.part) >> nth=2")
    page.click(".alternatives .tried summary")
    kept = len(page.query_selector_all(".alternatives .bar:not(.cut)"))
    page.evaluate(
        "s => { s.value = 0; s.dispatchEvent(new Event('input')); }", page.query_selector("[data-tried=temperature]")
    )
    until(page, "document.querySelectorAll('.alternatives .bar:not(.cut)').length === 1")
    assert kept >= 1 and page.evaluate("document.activeElement.dataset.tried") == "temperature"
    page.click("text=Back to the recorded values")
    until(page, "n => document.querySelectorAll('.alternatives .bar:not(.cut)').length === n", arg=kept)
    page.keyboard.press("Escape")
    page.wait_for_selector(".alternatives[hidden]", state="attached")


def test_temperature_0_is_greedy(arena):
    page = arena()
    set_number(page, "temperature", 0)
    compare(page)
    said = [text for _, text in texts(page)]
    assert said[0] == said[1] == said[2]
    heads = page.eval_on_selector_all(".lane h3", "heads => heads.map(head => head.children[1].textContent)")
    assert heads == ["Greedy", "Top-k", "Top-p", "Beam search"]


def test_the_keyboard_alone_reaches_tokens_alternatives_and_a_fork(arena):
    page = arena()
    compare(page)
    third = page.eval_on_selector(
        ".lane[data-strategy=greedy]", "pane => pane.querySelectorAll('.token:not(.part)')[2].dataset.index"
    )
    page.focus(".lane[data-strategy=greedy] .token:not(.part)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.index") == third
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className").startswith("bar")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.index") == third
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_done(page)
    assert page.evaluate("document.activeElement.textContent") == "Compare", "the keyboard's place is not lost"
    assert len(page.query_selector_all(".token.forked")) == 4
    for pane in page.query_selector_all(".lane"):
        assert len(pane.query_selector_all(".token.given")) == int(third)
    assert page.errors == []


def test_one_pane_alone_can_be_forked(arena):
    page = arena()
    compare(page)
    before = dict(texts(page))
    page.click(".lane[data-strategy=top_p] .token:not(.part) >> nth=4")
    page.check(".alternatives .scope input")
    page.click(".alternatives .bar >> nth=3")
    wait_done(page)
    after = dict(texts(page))
    assert after["top_p"] != before["top_p"]
    back = page.locator(".arena .toolbar button", has_text="Back")
    assert {key: after[key] for key in ("greedy", "top_k", "beam")} == {
        key: before[key] for key in ("greedy", "top_k", "beam")
    }
    assert len(page.query_selector_all(".token.forked")) == 1
    back.click()  # a fork can be taken back
    until(page, "document.querySelectorAll('.token.forked').length === 0")
    assert dict(texts(page)) == before


def test_earlier_comparisons_outlive_the_page_and_are_reopened_and_deleted(arena):
    page = arena()
    compare(page)
    first = texts(page)
    set_number(page, "seed", 99)
    compare(page)
    page.wait_for_selector("#arena-earlier:has-text('(2)')")
    page.reload()
    page.get_by_role("tab", name="Arena").click()
    page.click("#arena-earlier")
    page.locator(".past li .open").nth(1).click()
    until(page, "document.querySelectorAll('.lane .token').length > 0")
    assert texts(page) == first and page.input_value("#arena-seed") == "7"
    page.locator(".past li .small").first.click()
    until(page, "document.querySelectorAll('.past li').length === 1")
    for _ in range(2):  # it asks once
        page.locator(".past .cap button").click()
    page.wait_for_selector("#arena-earlier", state="detached")
    assert page.errors == []


def test_the_slider_replays_the_decoding(compared):
    page = compared
    page.evaluate("s => { s.value = 3; s.dispatchEvent(new Event('input')); }", page.query_selector(".replay input"))
    until(page, "document.querySelectorAll('.lane[data-strategy=greedy] .token').length === 3")
    assert page.inner_text(".replay output") == "3 of 12"
    page.click(".replay button[aria-label='One step forward']")
    until(page, "document.querySelector('.replay output').textContent === '4 of 12'")
    page.click(".replay button[aria-label='Replay']")
    until(page, "document.querySelectorAll('.lane[data-strategy=greedy] .token').length === 12")


def test_the_beam_tree_shows_kept_and_dropped_branches_and_their_scores(compared):
    page = compared
    page.wait_for_selector(".tree .node.best")
    states = set(page.eval_on_selector_all(".tree .node", "nodes => nodes.map(n => n.classList[1])"))
    assert {"kept", "cut"} <= states or {"done", "cut"} <= states
    assert len(page.query_selector_all(".ranking li")) >= 2
    before = page.get_attribute(".tree .canvas > g", "transform")
    page.focus(".tree .canvas")
    page.keyboard.press("-")
    until(page, "t => document.querySelector('.tree .canvas > g').getAttribute('transform') !== t", arg=before)
    page.keyboard.press("0")
    page.mouse.move(0, 0)  # it may rest on another node, from an earlier test
    page.dispatch_event(".tree .node.best >> nth=1", "pointerover")
    until(page, "document.querySelector('.tree .path').textContent.includes('score')")


def test_a_link_reopens_prompt_settings_and_seed(arena):
    page = arena()
    page.fill("#arena-prompt", 'Say "hi" & <b>bye</b>?')
    set_number(page, "temperature", 1.3)
    set_number(page, "seed", 99)
    link = page.evaluate("document.querySelector('.arena').app.exchange.link()")
    page = arena("?" + link.split("?", 1)[1])
    assert page.input_value("#arena-prompt") == 'Say "hi" & <b>bye</b>?'
    assert page.input_value("#arena-temperature") == "1.3"
    assert page.input_value("#arena-seed") == "99"


def test_a_broken_link_opens_the_page_all_the_same(arena, tiny_app):
    page = arena("?arena={")
    for value in ("7", '{"settings":{"lanes":7,"seed":{}},"prompt":{"messages":[null]},"models":[3]}'):
        page.goto(f"{tiny_app}?arena={value}")
        page.wait_for_selector(".arena .run")
        until(page, "document.querySelector('#arena-model').value === 'starter'")
    assert page.errors == []


def exported(page, tmp_path):
    """The file of the comparison that is shown."""
    with page.expect_download() as download:
        page.click(".arena .actions >> text=Export")
    download.value.save_as(tmp_path / "trace.json")
    return tmp_path / "trace.json"


def test_an_exported_trace_shows_the_same_page_without_the_model(compared, arena, tmp_path):
    page = compared
    shown, file = texts(page), exported(page, tmp_path)
    trace = json.loads(file.read_text())
    assert trace["meta"]["seed"] == 7 and trace["meta"]["settings"]["num_beams"] == 4
    assert trace["meta"]["models"][0]["fingerprint"] and trace["meta"]["versions"]
    other = arena()
    other.set_input_files(".toolbar input[type=file]", file)
    other.wait_for_selector(".lane .token")
    assert texts(other) == shown
    assert "trace.json" in other.inner_text(".arena .status")
    other.hover(".lane[data-strategy=top_k] .token:not(.part) >> nth=2")
    other.wait_for_selector(".alternatives:not([hidden]) .bar")
    assert other.errors == []


def test_markup_in_a_trace_stays_text(arena, tmp_path):
    page = arena()
    compare(page)
    trace = page.evaluate("JSON.parse(JSON.stringify(document.querySelector('.arena').app.trace))")
    bomb = "<img src=x onerror='window.hacked=1'>"
    for lane in trace["lanes"]:
        for token in lane["tokens"]:
            token["s"] = bomb
    trace["names"] = [dict.fromkeys(names, bomb) for names in trace["names"]]
    trace["meta"]["models"][0]["title"] = bomb
    file = tmp_path / "bomb.json"
    file.write_text(json.dumps(trace))
    page.set_input_files(".toolbar input[type=file]", file)
    until(page, "document.querySelector('.lane .text').textContent.includes('onerror')")
    page.hover(".lane[data-strategy=top_k] .token:not(.part) >> nth=0")
    page.wait_for_selector(".alternatives:not([hidden])")
    page.dispatch_event(".tree .node >> nth=2", "pointerover")
    assert page.query_selector(".arena img") is None
    assert page.evaluate("window.hacked") is None


def test_a_file_that_is_no_trace_is_refused_in_a_sentence(arena, tmp_path):
    page = arena()
    contents = ("not json", "{}", '{"format":"llmdemo-trace","version":1}', "[]", "null")
    for number, content in enumerate(contents):
        file = tmp_path / f"other-{number}.json"
        file.write_text(content)
        page.set_input_files(".toolbar input[type=file]", file)
        expect(page.locator(".arena .error:not([hidden])")).to_contain_text(f"other-{number}.json is not a trace")


def test_stop_ends_the_run_and_the_next_one_works(arena):
    page = arena()
    page.fill("#arena-prompt", "Hello")
    set_number(page, "max_new_tokens", 200)
    page.click(".arena .run")
    page.wait_for_selector(".lane .token")
    page.click(".arena .run")
    wait_done(page)
    status = page.inner_text(".arena .status")
    # Where the hardware has bf16 a remark follows on how far the weights are rounded.
    assert status.split(" bfloat16 weights: ")[0] == "Stopped." or "Done" in status
    compare(page)
    assert "Done" in page.inner_text(".arena .status")


WRONG = [
    ("", "seed", 1, "empty"),
    ("word " * 400, "seed", 1, "tokens long"),
    ("Hello", "num_beams", 1000, "Beams is 1000"),
    ("Hello", "max_new_tokens", 10000, "New tokens is 10000"),
    ("Hello", "top_p", 0, "Top-p is 0"),
]


def test_what_cannot_be_done_is_said_and_the_next_request_works(arena):
    page = arena()
    for prompt, key, value, words in WRONG:
        page.fill("#arena-prompt", prompt)
        set_number(page, "max_new_tokens", 4)
        set_number(page, key, value)
        page.click(".arena .run")
        expect(page.locator(".arena .error:not([hidden])")).to_contain_text(words)
        if value != 1:
            assert page.get_attribute(f"#arena-{key}", "aria-invalid") == "true"
        set_number(page, "num_beams", 2)
        set_number(page, "top_p", 0.9)
        compare(page, tokens=4)
        assert page.query_selector(".arena .error:not([hidden])") is None


def test_a_comparison_that_ends_before_it_begins_leaves_the_one_before_as_it_was(arena, tmp_path):
    page = arena()
    compare(page)
    before = exported(page, tmp_path).read_text()
    page.wait_for_selector("#arena-earlier:has-text('(1)')")
    events = [{"type": "loading", "title": "starter", "bytes": 1}, {"type": "end", "state": "stopped", "seconds": 0}]
    body = "".join(f"id: {number}\ndata: {json.dumps([event])}\n\n" for number, event in enumerate(events, 1))
    page.route(
        lambda url: "/streams/" in url and not url.endswith("/page"),
        lambda route: route.fulfill(content_type="text/event-stream", body=body),
    )
    page.click(".arena .run")
    page.wait_for_selector("text=Stopped.")
    wait_done(page)
    assert exported(page, tmp_path).read_text() == before
    assert page.locator("#arena-earlier:has-text('(1)')").count() == 1


def test_a_decimal_comma_is_a_point_where_the_browser_writes_points(arena):
    page = arena()
    field = page.locator("#arena-temperature")
    field.fill("")
    field.press_sequentially("1,25")
    expect(field).to_have_value("1.25")
    page.locator("#arena-max_new_tokens").fill("")
    page.locator("#arena-max_new_tokens").press_sequentially("1,2")  # a whole number has none
    expect(page.locator("#arena-max_new_tokens")).to_have_value("12")


def test_a_number_that_is_deleted_shows_the_default_that_is_asked_with(arena):
    page = arena()
    field = page.locator("#arena-temperature")
    for typed in ("", "e"):
        field.fill("1.5")
        field.press("ControlOrMeta+a")
        field.press("Delete")
        field.press_sequentially(typed)
        field.press("Tab")
        expect(field).to_have_value("0.8")


def test_two_models_stand_side_by_side(arena):
    page = arena()
    page.select_option("#arena-beside", "run-20260101-000000-abcdef")
    compare(page)
    assert len(page.query_selector_all(".lane")) == 8
    assert len(page.query_selector_all(".modelname")) == 2
    assert page.query_selector(".token.differs") is None  # the same weights and seed: nothing differs


def test_further_panes_have_their_own_values_and_a_link_brings_them_back(arena):
    page = arena()
    page.click(".more summary")
    page.click("text=+ another lane")
    page.click("text=+ another lane")
    page.select_option(".morelane >> nth=1 >> select", "beam")
    page.check(".lanepick input >> nth=4")
    compare(page, tokens=6)
    titles = page.eval_on_selector_all(".lane h3", "heads => heads.map(head => head.children[1].textContent)")
    assert titles == ["Greedy", "Top-k", "Top-p", "Beam search", "Min-p", "Top-p · p 0.5", "Beam search · b 2"]
    assert page.inner_text(".lane >> nth=5 >> .set") == "T 0.8 · p 0.5"
    link = page.evaluate("document.querySelector('.arena').app.exchange.link()")
    other = arena("?" + link.split("?", 1)[1])
    assert other.evaluate("document.querySelector('.arena').app.form.settings().lanes") == page.evaluate(
        "document.querySelector('.arena').app.form.settings().lanes"
    )
    other.click(".morelane >> nth=0 >> button")
    compare(other, tokens=4)
    assert len(other.query_selector_all(".lane")) == 6
    assert page.errors == other.errors == []


def test_a_better_answer_becomes_a_pair_of_a_preference_data_set(arena, tiny_home):
    page = arena()
    compare(page, prompt="Which is better?")
    said = dict(texts(page))
    page.click(".lane[data-strategy=top_p] >> text=Prefer this answer")
    page.fill("#arena-picks", "Class 5b")
    page.click(".prefer .others .chip[data-strategy=greedy]")
    until(page, "document.querySelector('.prefer .said').textContent.includes('Class 5b: 1 so far')")
    page.click(".prefer .others .chip >> nth=-1")
    until(page, "document.querySelector('.prefer .said').textContent.includes('Class 5b: 3')")
    page.click("text=Train on them")
    until(page, "document.querySelector('button[data-tab-id=train]').getAttribute('aria-selected') === 'true'")
    home = Home(tiny_home)
    kept = data.open_records(
        home, next(info.dataset_id for info in data.list_datasets(home) if info.name == "Class 5b")
    )
    assert kept[0]["messages"] == [{"role": "user", "content": "Which is better?"}]
    assert kept[0]["chosen"] == said["top_p"].strip() and kept[0]["rejected"] == said["greedy"].strip()
    assert page.errors == []


def test_a_reply_becomes_a_further_turn(arena):
    page = arena()
    compare(page, prompt="First question")
    answer = dict(texts(page))["greedy"]
    page.click(".lane[data-strategy=greedy] >> text=Reply")
    assert page.input_value("#arena-prompt") == ""
    turns = page.inner_text(".turns")
    assert "First question" in turns and answer.strip()[:10] in turns
    compare(page, prompt="Second question")
    sent = page.evaluate("document.querySelector('.arena').app.trace.meta.prompt.messages.map(m => m.role)")
    assert sent == ["user", "assistant", "user"]


def test_python_is_copied(arena):
    page = arena(permissions=["clipboard-read", "clipboard-write"])
    page.fill("#arena-prompt", "Hello")
    page.click(".arena .actions >> text=Python")
    until(page, "document.querySelector('.arena .status').textContent.includes('Python copied')")
    code = page.evaluate("navigator.clipboard.readText()")
    assert "model.generate(" in code and "num_beams=4" in code


def test_nothing_sticks_out_on_a_phone(arena):
    page = arena(viewport={"width": 390, "height": 844})
    compare(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click(".lane[data-strategy=top_k] .token:not(.part) >> nth=2")
    box = page.wait_for_selector(".alternatives:not([hidden])").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_every_control_has_a_name(compared):
    page = compared
    page.click(".more summary")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('.arena button, .arena input:not([type=file]), .arena select, .arena textarea')]
        .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length))).map(e => e.outerHTML)"""
    )
    assert nameless == []


def test_a_large_tree_does_not_freeze_the_page(arena):
    """16 beams × 500 tokens, drawn a few steps at a time as a run would: a frame stays well under a tenth of a second."""
    page = arena()
    compare(page)
    median, nodes = page.evaluate(
        """() => {
        const app = document.querySelector('.arena').app, trace = app.trace, beams = 16, steps = 500;
        const lane = [...trace.lanes.values()].find(l => l.isBeam);
        lane.beams = []; lane.changes = []; lane.best = []; lane.end = null; lane.final = null; lane.info.num_beams = beams;
        let seed = 1; const random = () => (seed = seed * 16807 % 2147483647) / 2147483647;
        const took = [];
        for (let step = 0; step < steps; step += 1) {
          const edge = () => [step ? Math.floor(random() * beams) : 0, Math.floor(random() * 300), -3 * random(), -step - random()];
          const top = () => Array.from({length: 10}, () => [Math.floor(random() * 300), -3 * random(), 0]);
          const live = Array.from({length: beams}, edge);
          lane.add({type: 'beam', live, cut: Array.from({length: beams}, edge), done: [], tops: Array.from({length: step ? beams : 1}, top),
            e: Array.from({length: step ? beams : 1}, random), best: [step, [[live[0][1], 'x ']]]});
          if (step % 4 === 3) { const t = performance.now(); app.paint(); app.tree.paint(); took.push(performance.now() - t); }
        }
        return [took.sort((a, b) => a - b)[took.length >> 1], document.querySelectorAll('.tree .node').length]; }"""
    )
    assert median < 100
    assert nodes < 2000  # only what is in view is in the page


def test_a_sweep_answers_once_for_every_pair_of_values(arena):
    page = arena()
    page.click(".modes label >> nth=1")
    page.fill("#arena-rows", "0.5, 1.5")
    page.fill("#arena-columns", "0.3, 0.6, 0.9")
    compare(page)
    titles = page.eval_on_selector_all(
        ".lane h3", "heads => heads.map(head => head.firstElementChild.nextSibling.textContent)"
    )
    assert titles == [f"T {t} · p {p}" for t in ("0.5", "1.5") for p in ("0.3", "0.6", "0.9")]
    assert page.query_selector(".tree[hidden]")
    page.fill("#arena-rows", "hot")
    page.click(".arena .run")
    page.wait_for_selector(".arena .error:not([hidden])")
    assert "hot is not a list of numbers" in page.inner_text(".arena .error")
    page.fill("#arena-rows", ", ".join(str(n / 10) for n in range(1, 13)))
    page.click(".arena .run")
    until(page, "document.querySelector('.arena .error').textContent.includes('36 lanes')")
    page.click(".modes label >> nth=0")
    compare(page)
    assert len(page.query_selector_all(".lane")) == 4 and page.query_selector(".tree:not([hidden])")
    assert page.errors == []


def test_many_prompts_draw_the_trade_off(arena, tmp_path):
    page = arena()
    page.click(".modes label >> nth=2")
    file = tmp_path / "questions.jsonl"
    file.write_text('{"turns": ["First?\\nReally?", "Second"]}\n{"prompt": "Another"}\n')
    page.set_input_files(".modefields input[type=file]", file)
    until(page, "document.querySelector('#arena-prompt').value === 'First?↵Really?\\nAnother'")
    set_number(page, "max_new_tokens", 8)
    page.click(".arena .run")
    wait_done(page)
    assert len(page.query_selector_all(".scatter")) == 2
    assert len(page.query_selector_all(".scatter .mark")) == 8
    assert len(page.query_selector_all(".batch tbody tr")) == 4
    assert page.text_content(".batchtexts b") == "First?\nReally?"  # as it was in the file
    with page.expect_download():
        page.click(".arena .actions >> text=Export")
    page.click(".modes label >> nth=0")
    compare(page)
    assert page.query_selector(".batch[hidden]") and len(page.query_selector_all(".lane")) == 4
    assert page.errors == []


def test_the_page_speaks_traditional_chinese(open_page, tiny_app):
    page = open_page(tiny_app, locale="zh-TW")
    page.get_by_role("tab", name="競技場").click()
    page.wait_for_selector(".arena .run")
    assert page.inner_text(".arena .run") == "比較"
    assert not page.evaluate("document.querySelector('.arena').innerText.includes('arena_')")
