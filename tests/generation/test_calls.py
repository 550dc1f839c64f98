"""Several calls at a time: their order, a failure in the middle, a stop."""

import threading

from llmdemo.generation.calls import Calls
from llmdemo.jobs.worker import Stopped


def test_results_come_in_the_order_of_the_items_whichever_is_done_first():
    second_done = threading.Event()

    def call(lane, item):
        if item == 0:
            assert second_done.wait(10)
        if item == 1:
            second_done.set()
        return item * 10

    calls = Calls(["a", "b"], lambda share: None, lambda lane: None)
    assert calls.map(call, range(5)) == [0, 10, 20, 30, 40] and calls.failure is None


def test_no_lane_is_used_twice_at_a_time():
    using, lock, clashes = set(), threading.Lock(), []

    def call(lane, item):
        with lock:
            clashes.append(lane in using)
            using.add(lane)
        with lock:
            using.remove(lane)

    Calls(["a", "b", "c"], lambda share: None, lambda lane: None).map(call, range(200))
    assert len(clashes) == 200 and not any(clashes)


def test_what_was_done_before_a_failure_stays_and_nothing_is_begun_after_it():
    begun = []

    def call(lane, item):
        begun.append(item)
        if item == 2:
            raise ValueError("full")
        return item

    calls = Calls(["only"], lambda share: None, lambda lane: None)
    assert calls.map(call, range(9)) == [0, 1, None, *[None] * 6]
    assert str(calls.failure) == "full" and begun == [0, 1, 2]


def test_a_stop_ends_the_calls_that_are_on_their_way():
    closed, closing = [], threading.Event()

    def close(lane):
        closed.append(lane)
        closing.set()

    def call(lane, item):
        if item == 0:
            return "done"
        assert closing.wait(20), "nobody closed the lane"
        raise OSError("closed")

    def tell(share):
        if share > 0:
            raise Stopped

    calls = Calls(["a", "b"], tell, close)
    found = calls.map(call, range(6))
    assert found[0] == "done" and found[1:] == [None] * 5
    assert isinstance(calls.failure, Stopped) and closed == ["a", "b"]
