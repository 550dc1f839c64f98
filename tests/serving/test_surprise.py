"""When prompts are measured: a visitor who compares again at once does not wait for the last prompt's measurement."""

import threading

import pytest

from llmdemo.serving import surprise as module
from llmdemo.serving.registry import Served
from llmdemo.serving.surprise import Surprise

SERVED = Served("arena", "starter", {}, 0.0)


@pytest.fixture
def clock(monkeypatch):
    """Time as the module sees it; `clock[0]` is set by the test."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_comparisons_prompt_is_measured_after_a_time_of_rest_and_not_before(clock):
    measured = threading.Event()
    watch = Surprise(lambda model_id, prompt, most: measured.set() or 1.0)
    watch._thread = threading.current_thread()  # the test takes its turns by itself
    watch.note(SERVED, "one", at_rest=True)
    assert watch._beside() == module.REST_SECONDS and not measured.is_set()
    clock[0] += module.REST_SECONDS - 1
    watch.note(SERVED, "two", at_rest=True)
    assert watch._beside() == module.REST_SECONDS and not measured.is_set()
    clock[0] += module.REST_SECONDS
    assert watch._beside() == 0.0 and measured.is_set()


def test_served_requests_are_measured_at_once_and_join_waits_for_all():
    found = []
    watch = Surprise(lambda model_id, prompt, most: found.append(prompt) or 1.0)
    watch.note(SERVED, "compared", at_rest=True)
    watch.note(SERVED, "served")
    watch.join()
    assert sorted(found) == ["compared", "served"]


def test_a_model_in_use_is_left_alone(clock):
    watch = Surprise(lambda model_id, prompt, most: None)
    watch._thread = threading.current_thread()
    watch.note(SERVED, "one", at_rest=True)
    clock[0] += module.REST_SECONDS
    assert watch._beside() == 0.0 and not watch._at_rest
