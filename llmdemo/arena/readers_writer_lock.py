"""A FIFO readers-writer lock: holders share it, or one has it alone. Knows no model and no comparison."""

import threading
from collections.abc import Callable

_POLL_SECONDS = 0.1
"""How often a waiter that can be cancelled asks `should_stop`."""


class ReadersWriterLock:
    """First come, first served. `with lock:` holds it exclusively."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: list[object] = []
        self._holders = 0
        self._exclusive = False

    def acquire(
        self, is_shared: Callable[[], bool] | None = None, should_stop: Callable[[], bool] | None = None
    ) -> bool:
        """Waits for its turn and takes the lock; False if `should_stop` came true first.

        `is_shared` is asked when the turn has come, as the previous holder may have changed the answer: True takes the
        lock shared, False (or no `is_shared`) exclusively.
        """
        ticket = object()
        with self._condition:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or not self._is_free(exclusive := not (is_shared and is_shared())):
                    self._condition.wait(_POLL_SECONDS if should_stop else None)
                    if should_stop and should_stop():
                        return False
                self._holders, self._exclusive = self._holders + 1, exclusive
                return True
            finally:
                self._waiting.remove(ticket)
                self._condition.notify_all()

    def try_acquire(self) -> bool:
        """Takes the lock exclusively if nobody holds it or waits for it."""
        with self._condition:
            if self._waiting or self._holders:
                return False
            self._holders, self._exclusive = 1, True
            return True

    def release(self) -> None:
        """To be called once for each acquire that returned True."""
        with self._condition:
            self._holders -= 1
            self._exclusive = False
            self._condition.notify_all()

    def would_wait(self, shared: bool) -> bool:
        """Whether an acquire at this moment would have to wait."""
        with self._condition:
            return bool(self._waiting) or not self._is_free(exclusive=not shared)

    def is_wanted(self) -> bool:
        """Whether somebody waits for it."""
        with self._condition:
            return bool(self._waiting)

    def _is_free(self, exclusive: bool) -> bool:
        return not self._exclusive and not (exclusive and self._holders)

    def __enter__(self) -> "ReadersWriterLock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
