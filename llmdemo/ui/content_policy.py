"""The Content-Security-Policy of every answer: what a page of this app may load and run. Knows no path and no visitor.

A page's own inline scripts, of which Gradio writes several with the app's configuration in them, are named by their
SHA-256, so that any other script that reaches a page's markup stays text. Gradio makes functions of text too, for gr.HTML
and for the js of events: a script that comes before its own (assets/lib/no-eval.js) does that without evaluating any, for
the texts of versions that were TRIED (tests/browser/test_page.py).
"""

import base64
import hashlib
import re
from asyncio import to_thread
from collections.abc import Callable

import brotli  # Gradio brings it
from starlette.types import Message, Scope, Send

TRIED = ("6.31.",)
"""Beginnings of versions of Gradio with which no text of the page is evaluated."""
_INLINE = re.compile(rb"<script(?![^>]*\bsrc\b)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
_DIRECTIVES = (
    "default-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self' data: blob:",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
)


def policy(page: bytes = b"", ancestors: str = "", evaluates: bool = False) -> str:
    """The header's value for an HTML `page`; `ancestors` may be a directive about frames. `evaluates`: with 'unsafe-eval'.

    A browser hashes a script after it has made all line ends of the page into \\n, and so does this.
    """
    found = _INLINE.findall(page.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in found if script]
    scripts = " ".join(["script-src 'self'", *dict.fromkeys(hashes), *(["'unsafe-eval'"] if evaluates else [])])
    return "; ".join([scripts, *_DIRECTIVES, *filter(None, [ancestors])])


def uncompressed(scope: Scope) -> Scope:
    """`scope` as one that takes no compression: what is inside answers with text that can be read."""
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() != b"accept-encoding"]}


def is_page(start: Message) -> bool:
    """Whether the answer that begins so is an HTML page in plain text that is shown: no download, which may be large, and whose
    bytes are the reader's."""
    names = {name.lower(): value for name, value in start["headers"]}
    downloaded = names.get(b"content-disposition", b"").startswith(b"attachment")
    return (
        names.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in names and not downloaded
    )


def with_first_script(page: bytes, address: str, since: int = 0) -> bytes:
    """A `page` of Gradio with our script at `address` before all others, other pages as they are. Gradio's own `head` comes
    later than its scripts: they write it. `since`: behind which event the page begins to hear (page_stream.py)."""
    if not address or b"<gradio-app" not in page:
        return page
    told = f' data-since="{since}"' if since else ""
    return page.replace(b"<script", f'<script src="{address}"{told}></script><script'.encode(), 1)


def with_policy(
    scope: Scope,
    send: Send,
    headers_of: Callable[[bytes], list[tuple[bytes, bytes]]],
    first_script: str = "",
    since: Callable[[], int] = lambda: 0,
) -> Send:
    """`send` that holds an HTML page until it is whole, and sends it with the headers that `headers_of` its bytes
    gives and `with_first_script`, compressed if the reader of `scope` takes Brotli; other answers go on as they come,
    with those of no page. A header that the answer has itself stays as it is. `since` is called in a thread."""
    held: list[Message] = []
    takes = b"br" in dict(scope["headers"]).get(b"accept-encoding", b"").replace(b" ", b"").split(b",")

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            if is_page(message):
                held.append(message)
                return
            message = _extended(message, headers_of(b""))
        if not held:
            return await send(message)
        held.append(message)
        if message.get("more_body"):
            return
        number = await to_thread(since) if first_script else 0
        page = with_first_script(b"".join(part.get("body", b"") for part in held[1:]), first_script, number)
        start = _extended(held[0], headers_of(page))
        if takes and page:
            page = brotli.compress(page, quality=4)
            start = _extended(start, [(b"content-encoding", b"br"), (b"vary", b"accept-encoding")])
        kept = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        held.clear()
        await send({**start, "headers": [*kept, (b"content-length", str(len(page)).encode())]})
        await send({"type": "http.response.body", "body": page})

    return sender


def _extended(message: Message, headers: list[tuple[bytes, bytes]]) -> Message:
    present = {name.lower() for name, _ in message["headers"]}
    return {**message, "headers": [*message["headers"], *(pair for pair in headers if pair[0] not in present)]}
