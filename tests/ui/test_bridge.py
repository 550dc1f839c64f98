"""Islands and their guards: errors become sentences, words cannot end a script, nothing is loaded from elsewhere."""

import re

import gradio as gr
import pytest

from llmdemo.core.errors import UserError
from llmdemo.ui import bridge
from llmdemo.ui.page_files import STYLES, PageFiles
from llmdemo.ui.theme import theme


def test_a_user_error_comes_back_as_its_two_sentences():
    def act(_):
        raise UserError("Row 3 is empty.", "Fill it in.")

    assert bridge.guarded(act)({}) == {"error": {"message": "Row 3 is empty.", "hint": "Fill it in."}}


def test_a_bug_is_told_without_its_inside_and_printed_in_the_terminal(capsys):
    def act(_):
        raise KeyError("/secret/path")

    answer = bridge.guarded(act)({})
    said = answer["error"]["message"]
    assert said["$say"] == "err_mistake" and "KeyError" in said["text"] and "/secret/path" not in str(answer)
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


def test_the_page_names_no_other_host():
    """Links for people may be in texts; addresses that a browser fetches by itself may not be anywhere."""
    files = PageFiles()
    # The sources of lessons and the resources are links that a person follows.
    scripts = "".join(files.files[name].decode() for name in files.files if name != "learn/lessons.json") + files.head()
    addresses = set(re.findall(r"https?://[\w./-]+", scripts))
    spaces = {f"http://www.w3.org/{name}" for name in ("2000/svg", "1999/xhtml", "1998/Math/MathML")}
    shown = {"http://localhost", "http://127.0.0.1"}  # in an empty field and in errors, as examples
    assert {address for address in addresses if not address.startswith("http://localhost")} <= spaces | shown
    assert theme()._stylesheets == []
    styles = files.files[STYLES].decode()
    assert "@import" not in styles and "@font-face" not in styles


@pytest.mark.parametrize("sink", ["outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"])
def test_our_scripts_never_turn_text_into_markup(sink):
    """innerHTML stands once in Preact, for a property that nobody here sets; eslint watches our own scripts."""
    files = {name: content.decode() for name, content in PageFiles().files.items()}
    assert not [name for name, content in files.items() if sink in content]
    ours = [name for name in files if name != "lib/preact.js"]
    assert not [name for name in ours if "innerHTML" in files[name] or "dangerouslySet" in files[name]]


def test_a_notice_without_a_message_hides_itself():
    assert bridge.notice() == {}
    assert bridge.notice(message="Done.", kind="info") == {"kind": "info", "message": "Done.", "hint": ""}
