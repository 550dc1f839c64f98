"""Gradio is imported without what it does for code editors, and is otherwise what it was."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Counts the components' sources that are parsed: an import that writes stubs parses each one's, twice.
COUNTED = """
import ast, sys
parsed = []
parse = ast.parse
def counting(source, *rest, **named):
    parsed.append(source)
    return parse(source, *rest, **named)
ast.parse = counting
{before}
import gradio
print(len([source for source in parsed if "class Textbox(" in source]), hasattr(gradio.Textbox, "submit"))
"""


@pytest.mark.parametrize(
    ("before", "parsed"), [("import llmdemo.ui", "0 True"), ("", "2 True")], ids=["by us", "mutation: by itself"]
)
@pytest.mark.slow
def test_no_component_s_source_is_parsed_and_its_events_are_there(before, parsed):
    command = [sys.executable, "-c", COUNTED.format(before=before)]
    assert subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip() == parsed


def test_an_import_that_is_over_and_a_second_call_change_nothing():
    over = "import sys, types; sys.modules['gradio.component_meta'] = types.ModuleType('gradio.component_meta');"
    for before in (over, "import sys, llmdemo.ui;"):
        command = f"{before} found = len(sys.meta_path); import llmdemo.ui; llmdemo.ui.quick_import.install();"
        subprocess.run([sys.executable, "-c", f"{command} assert len(sys.meta_path) == found"], cwd=ROOT, check=True)
