"""Threads of a step: all when the machine is idle, one when others compute, and never any other text for it."""

import io
import itertools
import os
import threading

import pytest
import torch

from llmdemo.core import threads
from llmdemo.decoding import DecodeSettings, decode_lanes, run
from llmdemo.decoding.thread_budget import ThreadBudget, runnable

CPU = torch.device("cpu")


@pytest.fixture
def two_threads(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "FULL", 2)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("running", "cores", "count"),
    [(1, 2, 2), (2, 2, 1), (3, 2, 1), (40, 2, 1), (1, 64, 2), (30, 64, 2), (64, 64, 1), (None, 2, 2)],
)
def test_free_cores_are_used_and_one_at_least(two_threads, running, cores, count):
    assert ThreadBudget(CPU, look=lambda: running, cores=cores).count() == count


def test_a_moments_noise_does_not_change_the_number(two_threads):
    seen = itertools.chain([1] * 8, [3], itertools.repeat(1))
    budget = ThreadBudget(CPU, look=lambda: next(seen), cores=2)
    assert [budget.count() for _ in range(8)] == [2] * 8


def test_the_number_is_set_for_the_step_and_set_back(two_threads):
    with ThreadBudget(CPU, look=lambda: 9, cores=2).limited():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), ThreadBudget(CPU, look=lambda: 9, cores=2).limited():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_a_thread_that_begins_while_another_is_held_back_is_not(two_threads):
    found = []

    def begins():
        # What torch tells it is the other's number, for good.
        found.append((torch.get_num_threads(), ThreadBudget(CPU, look=lambda: 1, cores=2).count()))

    with ThreadBudget(CPU, look=lambda: 9, cores=2).limited():
        thread = threading.Thread(target=begins)
        thread.start()
        thread.join()
    assert found == [(1, 2)]


def test_a_number_that_was_another_threads_is_not_set_back(two_threads):
    numbers = []

    def begins():
        with ThreadBudget(CPU, look=lambda: 1, cores=2).limited():
            numbers.append(torch.get_num_threads())
        numbers.append(torch.get_num_threads())

    with ThreadBudget(CPU, look=lambda: 9, cores=2).limited():
        thread = threading.Thread(target=begins)
        thread.start()
        thread.join()
    assert numbers == [2, 2]


def test_a_busy_machine_changes_no_text(two_threads, tiny_llama, monkeypatch):
    model, settings = tiny_llama(1), DecodeSettings(max_new_tokens=12)

    def texts(running):
        monkeypatch.setattr(run, "ThreadBudget", lambda device: ThreadBudget(device, look=lambda: running, cores=2))
        steps = list(decode_lanes(model, [5, 6, 7], settings))
        return {name: result.token_ids for step in steps for name, result in step.results.items()}

    assert texts(1) == texts(9)


def test_torchs_own_threads_that_wait_for_the_next_product_are_no_other_program(two_threads, monkeypatch):
    """They go on running for milliseconds: counted, they would take the second thread from every other step."""
    x, native = torch.ones(1000, 1000), {thread.native_id for thread in threading.enumerate()}
    for _ in range(3):
        x @ x
    if not any(int(number) not in native for number in os.listdir("/proc/self/task")):
        pytest.skip("this torch computes in one thread")
    real, running = open, "R"

    def opened(path, *given, **named):
        if path == "/proc/loadavg":
            return io.StringIO(f"1.00 1.00 1.00 {1 + others}/200 4242")
        thread = str(path).removeprefix("/proc/self/task/").removesuffix("/stat")
        return (
            io.BytesIO(f"{thread} (a (b) c) {running} 1".encode()) if thread.isdigit() else real(path, *given, **named)
        )

    monkeypatch.setattr("builtins.open", opened)
    others = sum(int(number) not in native for number in os.listdir("/proc/self/task"))
    assert runnable() == 1
    running = "S"
    assert runnable() == 1 + others


def test_the_machine_can_be_asked_or_says_that_it_cannot():
    assert runnable() is None or runnable() >= 1
