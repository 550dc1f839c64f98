"""Imports without the collector: it pauses, leaves out what came, and is afterwards as it was. In a process of its own:
what this one has imported is looked through for seconds once it is no longer left out."""

import subprocess
import sys
from pathlib import Path

import pytest

BEGINNING = """
import gc
from llmdemo.core.imports import uncollected
assert gc.isenabled() and gc.get_freeze_count() == 0
"""
LEFT_OUT = """
with uncollected():
    assert not gc.isenabled()
    import never_imported_before
assert gc.isenabled() and gc.get_freeze_count() > 1000
"""
NOTHING_CAME = """
with uncollected():
    assert not gc.isenabled()
assert gc.isenabled() and gc.get_freeze_count() == 0
"""
ERROR = """
def failing():
    try:
        with uncollected():
            import there_is_no_such_module
    except ImportError:
        return True
gc.disable()
assert failing() and not gc.isenabled()
gc.enable()
assert failing() and gc.isenabled()
"""


@pytest.mark.parametrize(
    "code",
    [LEFT_OUT, NOTHING_CAME, ERROR],
    ids=["what was imported is left out", "no garbage where nothing came", "as it was after an error"],
)
def test_the_collector_pauses_while_something_is_imported(tmp_path, code):
    (tmp_path / "never_imported_before.py").write_text("values = [[n] for n in range(1000)]\n")
    script = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{BEGINNING}{code}print('held')"
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "held\n", ended.stderr
