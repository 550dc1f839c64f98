"""Dynamic batching of decoding steps: concurrent comparisons that share weights take their next step in one forward.

On a CPU the time of a step is mostly the time to read the weights, and one read serves the rows of every request. There is
no worker thread: the last thread to hand in its request computes the batch for all. Prompts are read in the same forwards,
so many tokens at a time that who decodes beside them need not wait long. Knows no lanes and no model.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from llmdemo.decoding.thread_budget import ThreadBudget

_WAIT_SECONDS = 0.02
"""Longest wait for a thread that was in the previous batch and has not come back: its comparison may have ended."""
_MOST_ROWS = 512
"""No further request joins a forward that has so many rows."""

T = TypeVar("T")


class StepBatcher(Generic[T]):
    """Batches the requests of several threads for one set of weights. Thread-safe."""

    def __init__(self, threads: ThreadBudget):
        self._threads = threads
        self._condition = threading.Condition()
        self._pending: list[_Request[T]] = []
        self._previous: set[int] = set()  # idents of the threads whose requests were in the latest batch
        self._computing = False

    def is_alone(self) -> bool:
        """Whether no other thread has asked for anything in the latest batch, or waits."""
        with self._condition:
            others = {*self._previous, *(other.thread for other in self._pending)} - {threading.get_ident()}
            return not others

    def leave(self) -> None:
        """This thread asks for no more: nobody waits for it."""
        with self._condition:
            self._previous.discard(threading.get_ident())
            self._condition.notify_all()

    def step(self, inputs: T, compute: Callable[[list[T]], Sequence[Any]], rows: int = 1) -> Any:
        """What `compute` makes of `inputs`; blocks until it is there.

        `compute` maps the inputs of all requests in the batch to what comes of them, in the same order. It runs in one of the
        waiting threads; what it raises is raised in every thread whose request was in that batch. `rows`: how much the
        request is to compute; those of few rows come first, once.
        """
        request: _Request[T] = _Request(inputs, rows)
        with self._condition:
            self._pending.append(request)
            self._condition.notify_all()
        while True:
            with self._condition:
                self._wait(request)
                if request.result is not None:
                    return request.value()
                batch = self._batch()
                self._computing = True
            results: Sequence[Any]
            try:
                with self._threads.limited():
                    results = compute([other.inputs for other in batch])
            except BaseException as error:
                results = [error] * len(batch)
            with self._condition:
                for other, result in zip(batch, results, strict=True):
                    other.result = result
                self._computing = False
                self._condition.notify_all()

    def _batch(self) -> "list[_Request[T]]":
        """Takes what is computed next out of what is pending. What was left out once comes first: steps follow one another
        without end, and a prompt that never fits beside them would wait until their texts have ended."""
        batch: list[_Request[T]] = []
        for request in sorted(self._pending, key=lambda other: (not other.left_out, other.rows)):
            if not batch or sum(other.rows for other in batch) + request.rows <= _MOST_ROWS:
                batch.append(request)
        self._pending = [request for request in self._pending if request not in batch]
        for request in self._pending:
            request.left_out = True
        self._previous = {other.thread for other in batch}
        return batch

    def _wait(self, request: "_Request[T]") -> None:
        """Returns when `request` is computed, or when this thread has to compute the pending requests."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while request.result is None:
            if self._computing:
                self._condition.wait()
                deadline = time.monotonic() + _WAIT_SECONDS
                continue
            missing = self._previous - {other.thread for other in self._pending}
            left = deadline - time.monotonic()
            if not missing or left <= 0:
                return
            self._condition.wait(left)


class _Request(Generic[T]):
    """One thread's next step. A thread has one request at a time."""

    def __init__(self, inputs: T, rows: int):
        self.thread, self.inputs, self.rows = threading.get_ident(), inputs, rows
        self.left_out = False
        self.result: Any = None

    def value(self) -> Any:
        """The result, or what computing it raised."""
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result
