"""Islands and their guards: errors become sentences, words cannot end a script, nothing is loaded from elsewhere."""

import re

import gradio as gr
import pytest

from llmdemo.errors import UserError
from llmdemo.ui import bridge, words
from llmdemo.ui.theme import theme


def test_a_user_error_comes_back_as_its_two_sentences():
    def act(_):
        raise UserError("Row 3 is empty.", "Fill it in.")

    assert bridge.guarded(act)({}) == {"error": {"message": "Row 3 is empty.", "hint": "Fill it in."}}


def test_a_bug_is_told_without_its_inside_and_printed_in_the_terminal(capsys):
    def act(_):
        raise KeyError("/secret/path")

    answer = bridge.guarded(act)({})
    assert "KeyError" in answer["error"]["message"] and "/secret/path" not in str(answer)
    assert "/secret/path" in capsys.readouterr().err


def test_a_call_without_data_gets_an_empty_dict():
    assert bridge.guarded(lambda data: data)(None) == {}


def test_an_island_offers_its_functions_to_its_script_and_no_others():
    def look(_):
        return {"seen": True}

    with gr.Blocks():
        island = bridge.island("x", [look], events=["select"])
    assert island.look({}) == {"seen": True}
    assert island.look._is_server_fn
    assert "x" in island.html_template and "${value}" not in island.html_template


def test_words_cannot_end_the_script_that_holds_them():
    head = bridge.head({"en": {"a": "</script><script>alert(1)</script>"}})
    assert "</script><script>alert(1)" not in head


def test_the_page_names_no_other_host():
    """Links for people may be in texts; addresses that a browser fetches by itself may not be anywhere."""
    scripts = bridge.head(words.for_scripts())
    addresses = set(re.findall(r"https?://[\w./-]+", bridge.css() + scripts))
    spaces = {f"http://www.w3.org/{name}" for name in ("2000/svg", "1999/xhtml", "1998/Math/MathML")}
    assert addresses <= spaces | {"http://localhost"}  # the last is shown in an empty field, as an example
    assert theme()._stylesheets == []
    assert "@import" not in bridge.css() and "@font-face" not in bridge.css()


@pytest.mark.parametrize(
    "sink", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"]
)
def test_our_scripts_never_turn_text_into_markup(sink):
    assert sink not in bridge.head({"en": {}, "zh": {}})


def test_a_notice_without_a_message_hides_itself():
    assert bridge.notice() == {}
    assert bridge.notice(message="Done.", kind="info") == {"kind": "info", "message": "Done.", "hint": ""}
