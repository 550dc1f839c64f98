"""Events on their way from a handler to the page that waits for them, as server-sent events. Knows not what they mean.

A handler writes batches of events from any thread; GET /streams/<name> reads them. Each batch is one message with its
number as id and a JSON list as data. After a break the page asks again with the last id it has (Last-Event-ID) and gets
what follows. Nobody waits for a reader: a stream keeps its latest batches, `MOST_BYTES` of them, and tells a reader who
has fallen behind those that it cannot go on. Who may read is decided before (request_limits.py).
"""

import asyncio
import json
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from llmdemo.core.sentences import pack, say

PREFIX = "/streams/"
EVERYBODYS = "page"
"""The stream that each visitor reads (page_stream.py); every other belongs to who asked for its work."""
MOST_BYTES = 16 * 2**20
"""What one stream keeps: a comparison at the largest settings writes less, so that a break of any length loses nothing."""
_MOST_KEPT, _MOST_KEPT_BYTES = 64, 64 * 2**20
"""Streams that nobody writes or reads any more, kept for who comes back after a break, and their bytes together."""
HEARTBEAT_SECONDS = 10.0
"""Without events a comment goes out this often, so that no proxy takes the connection for dead, nor the page."""
GRACE_SECONDS = 3.0
"""How long a stream whose page has gone may stay without a reader before its work is stopped: a page that lost its
connection comes back within that, and a closed one costs no more than that."""
_PLACE_SECONDS = 1.0
_UNKNOWN_LOOKS = 20
"""Looks, one each `_PLACE_SECONDS`, at which nothing is known of a request before the reader is told so."""


class EventStream:
    """The events of one piece of work. Any thread may write; readers are coroutines of one event loop."""

    def __init__(self, most_bytes: int = MOST_BYTES, *, before: int = 0):
        """`before`: the number that comes before the first batch's."""
        self._most = most_bytes
        self._batches: deque[bytes] = deque()
        self._bytes, self._dropped = 0, before
        self._readers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._leave: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self.begun = self.ended = False

    @property
    def count(self) -> int:
        """The latest batch's number."""
        return self._dropped + len(self._batches)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    def add(self, events: list[dict]) -> None:
        """Appends a batch and wakes the readers; returns at once, however slow they are."""
        batch = _json(events)
        with self._lock:
            self._batches.append(batch)
            self._bytes += len(batch)
            while self._bytes > self._most and len(self._batches) > 1:
                self._bytes -= len(self._batches.popleft())
                self._dropped += 1
        self._wake()

    def begin(self) -> None:
        self.begun = True
        self._wake()

    def end(self) -> None:
        """No more batches come."""
        self.ended = True
        self._wake()

    def after(self, number: int) -> list[bytes] | None:
        """The batches behind batch `number`; None where some of them are kept no longer, or a number is told that no batch
        has had."""
        with self._lock:
            skipped = number - self._dropped
            return list(self._batches)[skipped:] if 0 <= skipped <= len(self._batches) else None

    @contextmanager
    def reader(self, app_ends: asyncio.Event) -> Iterator[asyncio.Event]:
        """While the body runs, somebody reads; the event is set whenever there is news, and when the app ends."""
        news, loop = asyncio.Event(), asyncio.get_running_loop()
        with self._lock:
            self._readers[news] = loop
        at_end = asyncio.create_task(_pass_on(app_ends, news))
        try:
            yield news
        finally:
            at_end.cancel()
            with self._lock:
                del self._readers[news]
            self._watch(loop)

    def page_has_gone(self, stop: Callable[[], None]) -> None:
        """The queue has lost the page: `stop` is called unless somebody reads within `GRACE_SECONDS`, now or after the
        last reader has left. Called in the event loop."""
        self._leave = stop
        self._watch(asyncio.get_running_loop())

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._leave and not self._readers and not self.ended:
            loop.call_later(GRACE_SECONDS, self._stop_if_unread)

    def _stop_if_unread(self) -> None:
        if self._leave and not self._readers and not self.ended:
            self._leave()

    def _wake(self) -> None:
        with self._lock:
            readers = list(self._readers.items())
        for news, loop in readers:
            with suppress(RuntimeError):  # the loop was closed, as the app ends
                loop.call_soon_threadsafe(news.set)


class EventStreams:
    """The streams by name. `where(app, name)` tells of a request that has not begun: {"place", "waiting"}, {"refused":
    why}, {"running": True}, or {} for an unknown one."""

    def __init__(self, where: Callable[[object, str], dict] = lambda app, name: {}):
        self._where = where
        self._streams: dict[str, EventStream] = {}
        self._users: dict[str, int] = {}
        self._kept: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def use(self, name: str) -> Iterator[EventStream]:
        """The stream of this name, a new one if there is none. Afterwards it is kept for a while, if it has begun."""
        with self._lock:
            stream = self._streams.setdefault(name, EventStream())
            self._users[name] = self._users.get(name, 0) + 1
            self._kept.pop(name, None)
        try:
            yield stream
        finally:
            with self._lock:
                self._users[name] -= 1
                if not self._users[name]:
                    del self._users[name]
                    self._kept[name] = None
                    self._forget()

    @contextmanager
    def writing(self, name: str) -> Iterator[EventStream]:
        """The stream of this name for who fills it: it has begun, and afterwards it has ended."""
        with self.use(name) as stream:
            stream.begin()
            try:
                yield stream
            finally:
                stream.end()

    def _forget(self) -> None:
        """Drops what never began, and the oldest of what nobody uses."""
        for name in [name for name in self._kept if not self._streams[name].begun]:
            del self._kept[name], self._streams[name]
        size = sum(self._streams[name].size for name in self._kept)
        while len(self._kept) > _MOST_KEPT or size > _MOST_KEPT_BYTES:
            name, _ = self._kept.popitem(last=False)
            size -= self._streams.pop(name).size

    def route(self) -> Route:
        """GET /streams/<name>: the stream's messages from behind Last-Event-ID on, until its end."""
        return Route(PREFIX + "{name}", self._answer, methods=["GET"])

    async def _answer(self, request: Request) -> StreamingResponse:
        messages = self._messages(request.app, request.path_params["name"], last_event_id(request), end_of_app(request))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(messages, media_type="text/event-stream", headers=headers)

    async def _messages(self, app: object, name: str, number: int, app_ends: asyncio.Event) -> AsyncIterator[bytes]:
        yield b": here\n\n"  # the head goes out at once
        with self.use(name) as stream, stream.reader(app_ends) as news:
            if not stream.begun:
                async for message in self._waiting(app, name, stream, news):
                    yield message
            while stream.begun and not app_ends.is_set():
                news.clear()
                ended, batches = (
                    stream.ended,
                    stream.after(number),
                )  # in this order: the last batch comes before the end
                if batches is None:
                    yield _message(_failed("err_stream_behind"))
                    return
                for batch in batches:
                    number += 1
                    yield numbered(number, batch)
                if ended:
                    return
                if not batches and not await comes(news, HEARTBEAT_SECONDS):
                    yield b": still here\n\n"

    async def _waiting(self, app: object, name: str, stream: EventStream, news: asyncio.Event) -> AsyncIterator[bytes]:
        """Until the work begins: its place in the queue, whenever that changes. Ends, with a message, where it will not
        begin."""
        told: dict = {}
        unknown, quiet = 0, 0.0
        while not stream.begun and not await comes(news, _PLACE_SECONDS):
            where, quiet = self._where(app, name), quiet + _PLACE_SECONDS
            unknown = 0 if where else unknown + 1
            if unknown > _UNKNOWN_LOOKS:
                yield _message(_failed("err_stream_unknown"))
                return
            if "refused" in where:
                yield _message(
                    {"type": "end", "state": "failed", "message": where["refused"], "hint": "", "seconds": 0}
                )
                return
            if "place" in where and where != told:
                told, quiet = where, 0.0
                yield _message({"type": "queued", **where})
            elif quiet >= HEARTBEAT_SECONDS:
                quiet = 0.0
                yield b": still here\n\n"


def end_of_app(request: Request) -> asyncio.Event:
    """Set when the app ends. A stream that went on would keep the server from ending, which waits for its answers."""
    return getattr(request.app, "stop_event", None) or asyncio.Event()


async def _pass_on(event: asyncio.Event, to: asyncio.Event) -> None:
    await event.wait()
    to.set()


async def comes(news: asyncio.Event, seconds: float) -> bool:
    """Whether `news` is set within so many seconds."""
    try:
        await asyncio.wait_for(news.wait(), seconds)
    except TimeoutError:
        return False
    return True


def last_event_id(request: Request) -> int:
    """The number of the last batch that the reader has; 0 for none."""
    return event_number(request.headers.get("last-event-id", ""))


def event_number(text: str) -> int:
    """A batch's number as a reader tells it; 0 for what is none."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def numbered(number: int, batch: bytes | list[dict]) -> bytes:
    """A batch as a message with its number as id."""
    data = batch if isinstance(batch, bytes) else _json(batch)
    return b"id: %d\ndata: %s\n\n" % (number, data)


def _json(events: list[dict]) -> bytes:
    return json.dumps(events, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _message(event: dict) -> bytes:
    """A message without an id: it is about the stream itself, and does not count among its events."""
    return b"data: %s\n\n" % _json([pack(event)])


def _failed(key: str) -> dict:
    return {"type": "end", "state": "failed", "message": say(key), "hint": say(f"{key}_hint"), "seconds": 0}
