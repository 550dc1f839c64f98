"""Comparisons that are the same: computed once, told whole to everybody, each of whom can leave."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmdemo.arena.shared import SharedComparisons
from llmdemo.core.sentences import Sentence, say

STEPS = 5


class Work:
    """Computes STEPS batches of two events; counts how often it began, waits at step `pause` until `goes` is set."""

    def __init__(self, pause=None, fails=False):
        self.begun = self.closed = 0
        self.pause, self.fails = pause, fails
        self.reached, self.goes = threading.Event(), threading.Event()

    def __call__(self, leaving):
        self.begun += 1
        try:
            yield [{"type": "waiting"}]
            for n in range(STEPS):
                if n == self.pause:
                    self.reached.set()
                    while not self.goes.wait(0.01):
                        if leaving():
                            yield []
                if self.fails and n == 3:
                    raise ValueError("broken")
                yield [{"type": "step", "n": n}, {"type": "token", "i": 10 + n}]
        finally:
            self.closed += 1


WHOLE = [event for n in range(STEPS) for event in ({"type": "step", "n": n}, {"type": "token", "i": 10 + n})]


def watch(shared, key, work, left=lambda: False):
    with shared.watch(key, work, left) as view:
        events = [event for event in view.events if event["type"] != "waiting"]
    return events, view


def test_those_who_ask_while_it_runs_get_all_of_it_and_it_is_computed_once():
    shared, work = SharedComparisons(), Work(pause=2)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(watch, shared, "a", work)
        assert work.reached.wait(5)
        others = [pool.submit(watch, shared, "a", work) for _ in range(7)]
        work.goes.set()
        assert all(each.result(5)[0] == WHOLE for each in [first, *others])
    assert work.begun == work.closed == 1
    assert not first.result()[1].is_shared and all(each.result()[1].is_shared for each in others)


def test_who_asks_later_gets_what_was_kept_with_its_time_and_another_key_is_computed():
    shared, work = SharedComparisons(), Work()
    _, first = watch(shared, "a", work)
    events, again = watch(shared, "a", work)
    assert events == WHOLE and again.is_shared and again.seconds == first.seconds > 0
    watch(shared, "b", work)
    assert work.begun == 2


def test_what_is_kept_is_as_it_was_sentences_and_names_of_tokens_too():
    shared = SharedComparisons()

    def work(leaving):
        yield [{"type": "begin", "note": say("noun_job")}, {"type": "names", "names": {7: "a"}}]

    assert watch(shared, "a", work)[0] == (again := watch(shared, "a", work)[0])
    assert isinstance(again[0]["note"], Sentence) and again[0]["note"].key == "noun_job"


def test_the_first_can_leave_and_the_others_get_the_rest():
    shared, work, stopped = SharedComparisons(), Work(pause=2), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(watch, shared, "a", work, stopped.is_set)
        assert work.reached.wait(5)
        second = pool.submit(watch, shared, "a", work)
        stopped.set()  # who computes leaves in the middle of its step
        assert first.result(5)[0] == WHOLE[:4]
        work.goes.set()
        assert second.result(5)[0] == WHOLE
    assert work.begun == work.closed == 1


def test_when_all_have_left_it_ends_and_nothing_of_it_is_kept():
    shared, work = SharedComparisons(), Work()
    seen = []
    with shared.watch("a", work, lambda: len(seen) > 3) as view:
        seen.extend(view.events)
    assert work.closed == 1 and seen[-1] == WHOLE[3]
    assert watch(shared, "a", work)[0] == WHOLE and work.begun == 2


def test_a_viewer_who_does_not_read_on_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("llmdemo.arena.shared._PATIENCE_SECONDS", 0.05)
    shared, work = SharedComparisons(), Work()
    with shared.watch("a", work, lambda: False) as view:
        next(view.events)
        assert watch(shared, "a", work)[0] == WHOLE
    assert work.begun == work.closed == 1


def test_what_fails_fails_for_all_and_is_tried_anew():
    shared, work = SharedComparisons(), Work(pause=2, fails=True)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(watch, shared, "a", work)
        assert work.reached.wait(5)
        second = pool.submit(watch, shared, "a", work)
        work.goes.set()
        for each in (first, second):
            with pytest.raises(ValueError, match="broken"):
                each.result(5)
    with pytest.raises(ValueError, match="broken"):
        watch(shared, "a", work)
    assert work.begun == 2


def test_the_latest_are_kept_within_their_number_and_bytes():
    shared, work = SharedComparisons(most_kept=2), Work()
    for key in "abca":
        watch(shared, key, work)
    assert work.begun == 4  # a left when c came
    tiny = SharedComparisons(most_bytes=1)
    watch(tiny, "a", work), watch(tiny, "a", work)
    assert work.begun == 6


def test_what_has_no_key_is_one_viewers_alone_and_nothing_of_it_is_kept():
    shared, marks = SharedComparisons(), [object(), object()]

    def work(leaving):
        yield [{"type": "pieces", "pieces": marks}]  # no JSON

    for _ in range(2):
        events, view = watch(shared, None, work)
        assert events[0]["pieces"] is marks and not view.is_shared
