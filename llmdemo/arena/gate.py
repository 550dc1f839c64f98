"""Who may compute with a model: one alone, or several companions at once. Knows no model and no run."""

import threading
from collections.abc import Callable

_LOOK_SECONDS = 0.1


class Gate:
    """First come, first served; any number of companions are inside together, or one who is alone.

    `with gate:` goes in alone.
    """

    def __init__(self):
        self._condition = threading.Condition()
        self._waiting: list[object] = []
        self._inside = 0
        self._alone = False

    def enter(self, shares: Callable[[], bool] | None = None, should_stop: Callable[[], bool] | None = None) -> bool:
        """Waits for its turn; `shares` says then whether it goes in as a companion. False if `should_stop` came true first."""
        turn = object()
        with self._condition:
            self._waiting.append(turn)
            try:
                while self._waiting[0] is not turn or not self._fits(alone := not (shares and shares())):
                    self._condition.wait(_LOOK_SECONDS if should_stop else None)
                    if should_stop and should_stop():
                        return False
                self._inside, self._alone = self._inside + 1, alone
                return True
            finally:
                self._waiting.remove(turn)
                self._condition.notify_all()

    def try_enter(self) -> bool:
        """Goes in alone if nobody is inside or waits."""
        with self._condition:
            if self._waiting or self._inside:
                return False
            self._inside, self._alone = 1, True
            return True

    def leave(self) -> None:
        """To be called once for each time that went in."""
        with self._condition:
            self._inside -= 1
            self._alone = False
            self._condition.notify_all()

    def would_wait(self, shares: bool) -> bool:
        """Whether one who came now would have to wait."""
        with self._condition:
            return bool(self._waiting) or not self._fits(not shares)

    def _fits(self, alone: bool) -> bool:
        return not self._alone and not (alone and self._inside)

    def __enter__(self) -> "Gate":
        self.enter()
        return self

    def __exit__(self, *_) -> None:
        self.leave()
