"""How uvicorn serves this app: whose connections it takes, which names it answers to, which headers it believes.

Stands before everything else, Gradio's own middleware too. Knows no visitor and no panel; authentication.py tells who asks.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from starlette.datastructures import Headers
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmdemo.access.hosts import KnownHosts, host_name, origin_host
from llmdemo.core.sentences import in_language, say
from llmdemo.settings import Settings
from llmdemo.ui import bounded_log
from llmdemo.ui.bounded_log import BoundedLog
from llmdemo.ui.chosen_language import language_of
from llmdemo.ui.request_body import Message, Receive, Send

HEAD_SECONDS = 20.0
"""Within which a new connection must have sent a whole head, and a request's head be whole once it has begun."""
SEND_SECONDS = 60.0
"""How long somebody may leave unread what is sent to them before the connection is closed."""
END_SECONDS = 1
"""How long answers that are on their way may hold up the end of the app."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    b"retry-after: 10\r\ncontent-length: %d\r\n\r\n%s"
)
_FORWARDED = (b"x-forwarded-", b"forwarded", b"x-real-ip", b"x-gradio-server", b"x-original-", b"x-http-method")
_CACHED_WITH_HOST = ("/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/call/v2/")
"""Where Gradio keeps, for all later visitors, an answer that holds the first one's Host."""


def config(app: Any, *, settings: Settings, hosts: KnownHosts, **options: Any) -> uvicorn.Config:
    """uvicorn's configuration with this app's limits; `options` as Gradio gives them."""
    logging.getLogger("uvicorn.error").addFilter(BoundedLog())
    logging.getLogger("uvicorn.error").addFilter(is_no_end)
    logging.getLogger("asyncio").addFilter(BoundedLog())
    protocol = limited_protocol(settings.max_connections, settings.connections_of_address)
    options |= {"proxy_headers": False, "server_header": False, "ws": "none", "timeout_graceful_shutdown": END_SECONDS}
    return _Config(app, hosts, http=protocol, **options)


def is_no_end(record: logging.LogRecord) -> bool:
    """For uvicorn's logger: that answers were cut off as the app ended is no mistake, and no traceback."""
    ended = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not (ended or str(record.msg).startswith("Cancel %s running task"))


class _Config(uvicorn.Config):
    """Wraps the app once it is loaded; `app` itself must stay what Gradio gave, which looks for it there."""

    def __init__(self, app: Any, hosts: KnownHosts, **options: Any):
        self._hosts, self._gradio = hosts, app
        super().__init__(app, **options)

    def load(self) -> None:
        super().load()
        self.loaded_app = Gate(self.loaded_app, self._hosts, lambda: self._gradio.get_blocks().share_url)


class Gate:
    """ASGI middleware: refuses names that are not this app's, and takes away headers that anybody may have written."""

    def __init__(self, app: Callable, hosts: KnownHosts, share_url: Callable[[], str | None] = lambda: None):
        self._app, self._hosts, self._share_url = app, hosts, share_url

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None
        if shared := origin_host(self._share_url() or ""):
            self._hosts.add(shared)
        host = self._asked_host(scope)
        if not self._hosts.has(host):
            return await _refuse(scope, send, 400, _unknown(host))
        origin = Headers(scope=scope).get("origin", "")
        own = self._is_own_origin(scope, origin, bool(shared)) if origin else True
        if scope["method"] == "OPTIONS" and not own:
            return await _refuse(scope, send, 403, say("http_other_site"))
        scope = self._believed(scope, bool(shared))
        await self._app(scope, receive, in_time(send if own else without_cors(send)))

    def _asked_host(self, scope: dict) -> str:
        """The name that the visitor asked for, which a proxy may have replaced by the app's inner one."""
        headers = Headers(scope=scope)
        forwarded = headers.get("x-forwarded-host", "") if self._hosts.proxied else ""
        return forwarded.partition(",")[0].strip() or headers.get("host", "")

    def _is_own_origin(self, scope: dict, origin: str, shared: bool) -> bool:
        """Whether a browser's page with this Origin is the app's own: another origin gets no leave to read."""
        given, believed = Headers(scope=scope), Headers(scope=self._believed(scope, shared))
        names = {given.get("host", "").lower(), believed.get("x-forwarded-host", "").lower()}
        return origin_host(origin) in names - {""}

    def _believed(self, scope: dict, shared: bool) -> dict:
        """`scope` without what a proxy may say, where there is none, and without a wrong name where it would last."""
        headers = scope["headers"]
        if not self._hosts.proxied:
            headers = [pair for pair in headers if not self._is_hearsay(pair[0], pair[1], shared)]
        path = scope["path"]
        if any(part in path for part in _CACHED_WITH_HOST) and b"page=" not in scope.get("query_string", b""):
            told = Headers(raw=headers).get("x-forwarded-host") or Headers(scope=scope).get("host", "")
            if not self._hosts.is_own(told):
                headers = [pair for pair in headers if pair[0] not in (b"host", b"x-forwarded-host")]
                headers.append((b"host", _local(scope)))
        return {**scope, "headers": headers}

    def _is_hearsay(self, name: bytes, value: bytes, shared: bool) -> bool:
        name = name.lower()
        if not name.startswith(_FORWARDED):
            return False
        if name == b"x-forwarded-host":
            return not self._hosts.is_own(value.decode("latin-1"))
        # Where a share link's tunnel ends, only this says that the visitor's side of it is https.
        return not (shared and name == b"x-forwarded-proto" and value in (b"http", b"https"))


def _local(scope: dict) -> bytes:
    host, port = (scope.get("server") or ("127.0.0.1", 80))[:2]
    return f"127.0.0.1:{port}".encode() if host else b"127.0.0.1"


def _unknown(host: str) -> str:
    name = host_name(host)
    if not name:
        return say("http_no_host", host=repr(host[:100]))
    return say("http_unknown_host", name=name[:100])


async def _refuse(scope: dict, send: Send, status: int, sentence: str) -> None:
    body = in_language(sentence, language_of(Headers(scope=scope))).encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    headers.append((b"x-content-type-options", b"nosniff"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def without_cors(send: Send) -> Send:
    """`send` without Gradio's leave for the asking origin to read the answer."""

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message["headers"] if not pair[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": kept}
        await send(message)

    return sender


def in_time(send: Send, seconds: float = SEND_SECONDS) -> Send:
    """`send` that gives up on somebody who does not read: TimeoutError ends the answer, and what makes it."""

    async def sender(message: Message) -> None:
        async with asyncio.timeout(seconds):
            await send(message)

    return sender


def limited_protocol(most: int, most_of_address: int, head_seconds: float = HEAD_SECONDS) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 protocol, with at most so many connections, and so many of one address; a head in time."""
    open_of: Counter[str] = Counter()

    class LimitedProtocol(H11Protocol):
        _counted = ""
        _waits: asyncio.TimerHandle | None = None

        def connection_made(self, transport) -> None:
            super().connection_made(transport)
            address = self.client[0] if self.client else "?"
            if open_of.total() >= most or open_of[address] >= most_of_address:
                mine = open_of[address] >= most_of_address
                name = "LLMDEMO_CONNECTIONS_OF_ADDRESS" if mine else "LLMDEMO_MAX_CONNECTIONS"
                text = f"Too many connections{' from your address' if mine else ''} ({name}). Try again in a while."
                bounded_log.say("connections", f"refused a connection of {address}: {name}")
                transport.write(_FULL % (len(text), text.encode()))
                return transport.close()
            self._counted = address
            open_of[address] += 1
            self._wait()

        def connection_lost(self, exc) -> None:
            self._stop_waiting()
            if self._counted:
                open_of[self._counted] -= 1
                open_of[self._counted] or open_of.pop(self._counted)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self._counted:
                return
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop_waiting()
            elif self._waits is None and self.conn.trailing_data[0]:
                self._wait()

        def _wait(self) -> None:
            self._waits = self.loop.call_later(head_seconds, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._waits is not None:
                self._waits.cancel()
                self._waits = None

    return LimitedProtocol
