"""Long calls in a thread: progress on the way, the result at last, and an end when nobody waits any more."""

import threading

import pytest

from llmdemo.core.errors import UserError
from llmdemo.ui.background import with_progress


def test_the_result_comes_last_and_the_newest_progress_before_it():
    def call(progress, should_stop):
        for step in range(5):
            progress(step / 5, "reading")
        return "done"

    news = list(with_progress(call))
    assert news[-1] == ("result", "done")
    assert all(kind == "progress" for kind, _ in news[:-1])


def test_an_error_of_the_call_is_raised_where_it_is_waited_for():
    def call(progress, should_stop):
        raise UserError("No.", "Yes.")

    with pytest.raises(UserError, match="No."):
        list(with_progress(call))


def test_closing_the_generator_tells_the_call_to_stop():
    ended = threading.Event()
    going = threading.Event()

    def call(progress, should_stop):
        going.set()
        while not should_stop():
            threading.Event().wait(0.005)
        ended.set()

    news = with_progress(call)
    next(news)
    assert going.wait(5)
    news.close()
    assert ended.wait(5)
