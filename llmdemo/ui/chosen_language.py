"""The language that was chosen from the page's menu (`choose` of assets/lib/words.js keeps it in a cookie).

Gradio's scripts and ours take the language from `navigator` as soon as they run, before anything that `launch(head=…)` adds.
So a page for somebody who has chosen begins with a script that puts the chosen language before the browser's own.
"""

import json
import re
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmdemo.core.languages import languages, wanted_language
from llmdemo.ui.content_policy import is_page

_COOKIE = re.compile(r"(?:^|;\s*)llmdemo-language=([\w-]+)")
_SCRIPT = """<head><script>{
  const all = [%s, ...navigator.languages];
  Object.defineProperty(navigator, "languages", { value: all });
  Object.defineProperty(navigator, "language", { value: all[0] });
}</script>"""


def chosen_language(headers: Mapping[str, str]) -> str:
    """The tag of the chosen language; "" where none was chosen that is there."""
    found = _COOKIE.search(headers.get("cookie", ""))
    return found[1] if found and found[1] in languages() else ""


def language_of(headers: Mapping[str, str]) -> str:
    """The language of the page that sent these headers (names in small letters): as chosen there, else the browser's."""
    return chosen_language(headers) or wanted_language(headers.get("accept-language", ""))


class ChosenLanguage:
    """ASGI middleware that puts the script into pages. It stands inside of what compresses them."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chosen = scope["type"] == "http" and scope["method"] == "GET" and chosen_language(Headers(scope=scope))
        await self._app(scope, receive, _with_script(send, chosen) if chosen else send)


def _with_script(send: Send, chosen: str) -> Send:
    started: Message | None = None
    body = b""

    async def sender(message: Message) -> None:
        nonlocal started, body
        if message["type"] == "http.response.start":
            if not is_page(message):
                return await send(message)
            started = message
        elif started is None:
            await send(message)
        else:
            body += message.get("body", b"")
            if not message.get("more_body"):
                whole = body.replace(b"<head>", (_SCRIPT % json.dumps(chosen)).encode(), 1)
                headers = MutableHeaders(raw=list(started["headers"]))
                headers["content-length"] = str(len(whole))
                await send({**started, "headers": headers.raw})
                await send({"type": "http.response.body", "body": whole})

    return sender
