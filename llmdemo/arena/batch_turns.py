"""Whose prompt comes next when several batches are under way. Knows no batch, no model and no visitor.

A batch takes a turn for each of its prompts and then stands at the end of the line again: a batch that begins late waits
for one prompt of each of the others, not for all of theirs.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_POLL_SECONDS = 0.1
"""How often a waiter asks `should_stop`."""


class BatchTurns:
    """A semaphore that is first come, first served. Any thread may call it."""

    def __init__(self, places: int):
        self._free = places
        self._waiting: list[object] = []
        self._condition = threading.Condition()

    def would_wait(self) -> bool:
        """Whether a turn that is asked for at this moment would have to wait."""
        with self._condition:
            return bool(self._waiting) or not self._free

    @contextmanager
    def turn(self, should_stop: Callable[[], bool]) -> Iterator[bool]:
        """Waits for a place and has it inside `with`; gives False, and no place, if `should_stop` came true first."""
        has_place = self._acquire(should_stop)
        try:
            yield has_place
        finally:
            if has_place:
                self._release()

    def _acquire(self, should_stop: Callable[[], bool]) -> bool:
        ticket = object()
        with self._condition:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or not self._free:
                    self._condition.wait(_POLL_SECONDS)
                    if should_stop():
                        return False
                self._free -= 1
                return True
            finally:
                self._waiting.remove(ticket)
                self._condition.notify_all()

    def _release(self) -> None:
        with self._condition:
            self._free += 1
            self._condition.notify_all()
