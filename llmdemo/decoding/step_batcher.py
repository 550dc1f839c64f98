"""Dynamic batching of decoding steps: concurrent comparisons that share weights take their next step in one forward.

On a CPU the time of a step is mostly the time to read the weights, and one read serves the rows of every request. There is
no worker thread: the last thread to hand in its request computes the batch for all. Knows no lanes and no model.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch

from llmdemo.decoding.thread_budget import ThreadBudget

_WAIT_SECONDS = 0.02
"""Longest wait for a thread that was in the previous batch and has not come back: its comparison may have ended."""

T = TypeVar("T")


class StepBatcher(Generic[T]):
    """Batches the requests of several threads for one set of weights. Thread-safe."""

    def __init__(self, threads: ThreadBudget):
        self._threads = threads
        self._condition = threading.Condition()
        self._pending: list[_Request[T]] = []
        self._previous: set[int] = set()  # idents of the threads whose requests were in the latest batch
        self._computing = False

    def step(self, inputs: T, compute: Callable[[list[T]], list[torch.Tensor]]) -> torch.Tensor:
        """Logits (R, V) of `inputs`; blocks until they are computed.

        `compute` maps the inputs of all requests in the batch to their logits, in the same order. It runs in one of the
        waiting threads; what it raises is raised in every thread whose request was in that batch.
        """
        request: _Request[T] = _Request(inputs)
        with self._condition:
            self._pending.append(request)
            self._condition.notify_all()
            self._wait(request)
            if request.result is not None:
                return request.value()
            batch, self._pending, self._computing = self._pending, [], True
            self._previous = {other.thread for other in batch}
        results: Sequence[torch.Tensor | BaseException]
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
        return request.value()

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

    def __init__(self, inputs: T):
        self.thread, self.inputs = threading.get_ident(), inputs
        self.result: torch.Tensor | BaseException | None = None

    def value(self) -> torch.Tensor:
        """The result, or what computing it raised."""
        if isinstance(self.result, BaseException):
            raise self.result
        assert self.result is not None
        return self.result
