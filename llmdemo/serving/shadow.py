"""Answers requests a second time, by the model on trial, while nobody else is being answered; callers never see it.

What comes faster than it can be answered is left out and counted. Imports torch through the arena.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.serving.errors import ApiError
from llmdemo.serving.generation import Timing
from llmdemo.serving.registry import Served

MOST_WAITING = 64
_IDLE_SECONDS = 60.0
"""How long a request waits for a moment in which nobody is answered."""
_LOOK_SECONDS = 0.1
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Again:
    """A request that the model on trial shall answer too."""

    id: str
    """Of the answer that the caller got."""
    served: Served
    """The version with the model on trial."""
    make: Callable[[], Any]
    """The arena's request for it; raises ApiError where the request is not one for that model."""


class Shadow:
    """One for the app. `done(again, answer, timing, error)` gets what came of each; answer is None after an error."""

    def __init__(
        self,
        arena: Callable[[], Any],
        busy: Callable[[], bool],
        done: Callable[[Again, str | None, Timing, ApiError | None], None],
    ):
        self._arena, self._busy, self._done = arena, busy, done
        self._waiting: queue.Queue[Again] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.left_out = 0
        """Requests that were not answered a second time, as there was no time."""

    def note(self, again: Again) -> None:
        """Returns at once."""
        try:
            self._waiting.put_nowait(again)
        except queue.Full:
            self.left_out += 1
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
                self._thread.start()

    def join(self) -> None:
        """Waits until all that was noted is answered, or left out. For tests."""
        self._waiting.join()

    def _work(self) -> None:
        while True:
            again = self._waiting.get()
            try:
                if self._is_idle():
                    self._one(again)
                else:
                    self.left_out += 1
            except Exception:
                log.exception("the model on trial could not answer")
            finally:
                self._waiting.task_done()

    def _is_idle(self) -> bool:
        until = time.monotonic() + _IDLE_SECONDS
        while self._busy():
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _one(self, again: Again) -> None:
        timing, error, answer = Timing(time.monotonic()), None, None
        try:
            answer = "".join(self._pieces(again.make(), timing))
        except ApiError as problem:
            error = problem
        except UserError as problem:
            error = ApiError(404, str(problem), "model_gone")
        timing.ended = time.monotonic()
        self._done(again, answer, timing, error)

    def _pieces(self, request: Any, timing: Timing) -> Iterator[str]:
        """The text of the first answer, piece by piece. Raises ApiError where the decoding fails."""
        with contextlib.closing(self._arena().events(request)) as events:
            for event in events:
                if event["type"] == "begin":
                    timing.began, timing.prompt_tokens = time.monotonic(), event["prompt_tokens"][0]
                elif event["type"] == "pieces":
                    timing.first, timing.tokens = timing.first or time.monotonic(), event["tokens"]
                    yield from (piece.text for piece in event["pieces"] if piece.index == 0)
                    if event["done"]:
                        return
                elif event["type"] == "end" and event["state"] != "completed":
                    raise ApiError(503, str(event.get("message") or event["state"]), event["state"])
