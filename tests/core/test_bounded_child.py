"""A child process that reads what a stranger made is ended when it takes too much, and knows no secrets."""

import subprocess
import sys
import threading

import pytest

from llmdemo.core.bounded_child import BoundedChild

LIMITED = "from llmdemo.core.bounded_child import limit; "
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are Linux's")


def made(code, patience=30.0, **options):
    return BoundedChild(["-c", code], patience, **options)


def test_it_says_what_it_has_to_say_in_whole_lines_of_bounded_size():
    child = made("print('one'); print('two'); print('x' * 100, end='')")
    assert child.answer(1000) == [b"one\n", b"two\n"]
    assert child.end(10) == 0 and not child.was_silent
    endless = made("while True: print('a' * 99)")
    assert endless.answer(250) == [b"a" * 99 + b"\n"] * 2
    assert endless.end() < 0


def test_a_silent_one_is_ended():
    child = made("import time; print(1, flush=True); time.sleep(60)", patience=0.3)
    assert child.answer(100) == [b"1\n"]
    assert child.end() < 0 and child.was_silent


def test_what_is_done_with_its_words_is_not_its_silence():
    child = made("import sys; print(1, flush=True); sys.stdin.read(); print(2)", patience=60)
    child.pause()
    child._patience = 0.0
    assert child.answer(100) == [b"1\n", b"2\n"]  # its input is empty, so that it goes on at once
    assert child.end(10) == 0 and not child.was_silent


def test_it_ends_when_the_person_stops():
    stop = threading.Event()
    child = made("import time; print(1, flush=True); time.sleep(60)", should_stop=stop.is_set)
    assert child.out.readline() == b"1\n"
    stop.set()
    assert child.answer(10) == [] and child.end() < 0 and not child.was_silent
    with pytest.raises(ValueError):
        child.out.read()


def test_who_waits_is_told_that_it_still_runs():
    child = made("import time; time.sleep(60)")
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.05)
    assert child.end() < 0


def test_it_knows_no_secret_but_those_that_it_needs(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    monkeypatch.setenv("MY_PASSWORD", "secret")
    code = "import os; print(os.environ.get('HF_TOKEN'), os.environ.get('MY_PASSWORD'), os.environ['ADDED'])"
    child = made(code, env={"ADDED": "1"})
    assert child.answer(100) == [b"None None 1\n"] and child.end(10) == 0
    child = made(code, env={"ADDED": "1"}, keep=("HF_TOKEN",))
    assert child.answer(100) == [b"hf_x None 1\n"] and child.end(10) == 0


@linux
@pytest.mark.parametrize(
    "asked, taken",
    [
        ("data_bytes=2**28", "bytearray(2**29)"),
        ("more_address_bytes=2**28", "bytearray(2**29)"),
        ("file_bytes=2**20", "open(__import__('tempfile').mkdtemp() + '/x', 'wb').write(bytes(2**21))"),
    ],
)
@pytest.mark.slow
def test_it_can_take_no_more_than_its_limits(asked, taken):
    whole = f"{LIMITED} limit({{}})\ntry:\n {taken}\nexcept (MemoryError, OSError):\n print('refused')\nelse:\n print('taken')"
    child = made(whole.format(asked))
    assert child.answer(100) in ([b"refused\n"], []) and child.end(10) in (0, -25)
    child = made(whole.format(""))
    assert child.answer(100) == [b"taken\n"] and child.end(10) == 0


@linux
@pytest.mark.slow
def test_its_processor_time_counts_from_its_limit_on():
    child = made(f"{LIMITED} sum(range(10**6)); limit(cpu_seconds=1); print(1, flush=True)\nwhile True: pass")
    assert child.answer(100) == [b"1\n"] and child.end(10) == -24  # SIGXCPU
