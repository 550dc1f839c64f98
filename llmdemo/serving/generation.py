"""Decodes for a request in a thread of its own, for an event loop to read; ends within a step once nobody reads.

Requests beyond what is answered at once wait in line; beyond the line they are refused. Knows no bodies and no HTTP.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.serving.errors import ApiError

log = logging.getLogger(__name__)
_POLL_SECONDS = 0.25
_BUSY_SECONDS = 5.0


class Slots:
    """At most `most` requests at once, `waiting` more in line, first come first served. Any thread may call it."""

    def __init__(self, most: int, waiting: int):
        self._most, self._waiting = max(1, most), waiting
        self._lock = threading.Lock()
        self._running = 0
        self._line: deque[threading.Event] = deque()

    @property
    def queued(self) -> int:
        """Requests that wait now."""
        return len(self._line)

    @property
    def running(self) -> int:
        """Requests that are being answered now."""
        return self._running

    def enter(self) -> threading.Event:
        """A ticket, set once its turn has come. Raises ApiError 429 where the line is full."""
        ticket = threading.Event()
        with self._lock:
            if self._running < self._most and not self._line:
                self._running += 1
                ticket.set()
            elif len(self._line) >= self._waiting:
                raise ApiError(
                    429,
                    f"{self._running} requests are being answered and {len(self._line)} wait, which is as many as this "
                    "app takes (LLMDEMO_MAX_SERVING, LLMDEMO_MAX_SERVING_WAITING). Ask again in a while.",
                    "rate_limit_exceeded",
                    wait=_BUSY_SECONDS,
                )
            else:
                self._line.append(ticket)
        return ticket

    def leave(self, ticket: threading.Event) -> None:
        """For each ticket once, whether its turn came or not."""
        with self._lock:
            if not ticket.is_set():
                self._line.remove(ticket)
            elif self._line:
                self._line.popleft().set()
            else:
                self._running -= 1


@dataclass
class Timing:
    """What is measured of one request, in seconds of time.monotonic(); None for what did not happen."""

    asked: float
    began: float | None = None
    first: float | None = None
    ended: float | None = None
    prompt_tokens: int = 0
    tokens: int = 0


class Generation:
    """One request on its way. `async for` gives the arena's events; leaving it early ends the decoding."""

    def __init__(self, arena: Any, requests: Sequence[Any], slots: Slots, done: Callable[["Generation"], None]):
        self._arena, self._requests, self._slots, self._done = arena, requests, slots, done
        self._events: asyncio.Queue[dict | ApiError | None] = asyncio.Queue()
        self._gone = threading.Event()
        self.timing = Timing(time.monotonic())
        self.error: ApiError | None = None
        self.surprise: float | None = None
        """Mean −log p, in nats a token, of the first prompt under the model; None: not known."""
        self._texts: dict[tuple[int, int], list[str]] = {}
        self.ticket = slots.enter()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, name="serving", daemon=True).start()

    def stop(self) -> None:
        """Ends the decoding within one step. Harmless when done again, or after the end."""
        if self.timing.ended is not None:
            return
        self._gone.set()
        for request in self._requests:
            self._arena.stop(request.run_id)

    async def events(self) -> AsyncIterator[dict]:
        """begin, pieces … of each prompt, in order. Raises ApiError where the decoding fails."""
        while (event := await self._events.get()) is not None:
            if isinstance(event, ApiError):
                raise event
            yield event

    def answers(self, prompt: int = 0) -> list[str]:
        """The texts of a prompt's answers, in the order of their index, as far as they have come."""
        return ["".join(parts) for (number, _), parts in sorted(self._texts.items()) if number == prompt]

    @property
    def was_left(self) -> bool:
        """Whether nobody read it to its end."""
        return self._gone.is_set()

    # ---- in the thread ----

    def _work(self) -> None:
        try:
            while not self.ticket.wait(_POLL_SECONDS):
                if self._gone.is_set():
                    return
            for number, request in enumerate(self._requests):
                for event in self._one(request):
                    for piece in event.get("pieces", ()):
                        self._texts.setdefault((number, piece.index), []).append(piece.text)
                    self._put({**event, "prompt": number})
        except ApiError as error:
            self.error = error
            self._put(error)
        except Exception as error:  # a bug: the caller is told that there is one, the log which
            log.exception("a served request failed")
            self.error = ApiError(
                500, f"The app made a mistake ({type(error).__name__}). Its log says more.", "server_error"
            )
            self._put(self.error)
        finally:
            self.timing.ended = time.monotonic()
            self._slots.leave(self.ticket)
            try:
                self._done(self)
            finally:
                self._put(None)

    def _one(self, request: Any) -> Iterator[dict]:
        """The events of one prompt that a reader needs. Closing the arena's own ends its decoding."""
        with contextlib.closing(self._arena.events(request)) as events:
            for event in events:
                if self._gone.is_set():
                    return
                if event["type"] == "end":
                    _raise_unless_done(event)
                elif event["type"] == "begin":
                    self.timing.began = self.timing.began or time.monotonic()
                    self.timing.prompt_tokens += event["prompt_tokens"][0]
                    before = self.timing.tokens
                    yield event
                elif event["type"] == "pieces":
                    self.timing.first = self.timing.first or time.monotonic()
                    self.timing.tokens = before + event["tokens"]
                    self.surprise = (
                        event.get("surprise", self.surprise) if request is self._requests[0] else self.surprise
                    )
                    yield event
                    if event["done"]:
                        return

    def _put(self, event: dict | ApiError | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the app has ended
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)


def _raise_unless_done(end: dict) -> None:
    if end["state"] == "failed":
        said = UserError(end["message"], end.get("hint", ""))
        full = "memory" in end["message"]
        raise ApiError(503 if full else 400, str(said), "out_of_memory" if full else "invalid_value")
    if end["state"] == "stopped":
        raise ApiError(503, "The app is being stopped. Ask again once it has been started.", "stopped", wait=10)
