"""Imports without the collector: it pauses, leaves out what came, and is afterwards as it was."""

import gc
import sys

import pytest

from llmdemo.core.imports import uncollected


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that was not imported yet."""
    (tmp_path / "never_imported_before.py").write_text("values = [[n] for n in range(1000)]\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "never_imported_before"
    sys.modules.pop("never_imported_before", None)
    gc.collect()
    gc.freeze()  # as tests/conftest.py does


def test_the_collector_pauses_and_leaves_out_what_was_imported(module):
    gc.unfreeze()
    assert gc.isenabled()
    with uncollected():
        assert not gc.isenabled()
        __import__(module)
    assert gc.isenabled() and gc.get_freeze_count() > 1000


def test_where_nothing_is_imported_no_garbage_is_kept(module):
    gc.unfreeze()
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_a_collector_that_was_off_stays_off_also_after_an_error(module):
    gc.disable()
    try:
        with pytest.raises(ImportError), uncollected():
            __import__("there_is_no_such_module")
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ImportError), uncollected():
        __import__("there_is_no_such_module")
    assert gc.isenabled()
