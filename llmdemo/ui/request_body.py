"""Reads a request's body within bounds of bytes and time, and hands on what was made of it. Knows ASGI, no page."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from llmdemo.access.json_body import Refused
from llmdemo.core.sentences import say

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 30.0
"""Within which a body that is no upload must have come whole."""
IDLE_SECONDS = 60.0
"""How long an upload may send nothing."""
_MOST_PATHS_BYTES = 2**20


class Disconnected(Exception):
    """Who asked has gone before the request was whole."""


async def read(receive: Receive, most: int, variable: str, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body. Raises Refused when it is longer than `most` bytes or takes longer than `seconds`."""
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > most:
                    raise too_large(most, variable)
                if not message.get("more_body"):
                    return b"".join(pieces)
    except TimeoutError:
        raise Refused(408, say("http_slow", seconds=round(seconds))) from None


def too_large(most: int, variable: str) -> Refused:
    """What a caller is told whose body has more than `most` bytes."""
    return Refused(413, say("http_too_large", most=most, variable=variable))


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once, and then what comes after it (that the caller has gone)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def with_json(scope: dict, body: bytes) -> dict:
    """`scope` as that of a request whose body is this JSON, whatever it said of its body before."""
    described = (b"content-type", b"content-length", b"content-encoding", b"transfer-encoding")
    headers = [pair for pair in scope["headers"] if pair[0].lower() not in described]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return {**scope, "headers": headers}


def streamed(receive: Receive, most: int, variable: str, idle: float = IDLE_SECONDS) -> Receive:
    """`receive` of an upload: it ends with Refused at `most` bytes, or when nothing comes for `idle` seconds."""
    seen, whole = 0, False

    async def counted() -> Message:
        nonlocal seen, whole
        if whole:  # only that the caller goes is still to come
            return await receive()
        try:
            async with asyncio.timeout(idle):
                message = await receive()
        except TimeoutError:
            raise Refused(408, say("http_upload_stalled", seconds=round(idle))) from None
        seen += len(message.get("body", b""))
        whole = not message.get("more_body")
        if seen > most:
            raise too_large(most, variable)
        return message

    return counted


def noting_paths(send: Send, note: Callable[[list[str]], None]) -> Send:
    """`send` of an upload's answer; `note` gets the paths that it lists, before the caller does."""
    pieces: list[bytes] = []
    good = False

    async def sender(message: Message) -> None:
        nonlocal good
        if message["type"] == "http.response.start":
            good = message["status"] == 200
        elif good:
            pieces.append(message.get("body", b""))
            if not message.get("more_body") and sum(map(len, pieces)) <= _MOST_PATHS_BYTES:
                note(_paths(b"".join(pieces)))
        await send(message)

    return sender


def _paths(body: bytes) -> list[str]:
    try:
        told = json.loads(body)
    except ValueError:
        return []
    return [path for path in told if isinstance(path, str)] if isinstance(told, list) else []
