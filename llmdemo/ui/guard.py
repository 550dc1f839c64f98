"""What every HTTP request passes first: no posts from other sites, no content from other hosts. Knows no panel.

Gradio itself guards localhost only: on other addresses it would answer a post that another site's page sends with the
visitor's cookies.
"""

import os
from urllib.parse import urlsplit

from llmdemo.ui.door import VISITOR

_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Gradio puts its configuration into inline scripts, and runs gr.HTML's js_on_load through Function().
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """ASGI middleware: 403 for a post whose Origin is not this host; security headers on every answer.

    Behind the door: it knows who asks.
    """

    def __init__(self, app):
        self._app = app
        # A Space is shown inside a frame of the hub's page; elsewhere nobody has a reason to frame the app.
        ancestors = "" if os.environ.get("SPACE_ID") else "; frame-ancestors 'self'"
        self._headers = [
            (b"content-security-policy", (_POLICY + ancestors).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
        ]

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal:
            return await _refuse(send, refusal)

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                extra = [pair for pair in self._headers if pair[0] not in present]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope) -> str:
        if scope["method"] in _SAFE:
            return ""
        visitor = scope.get(VISITOR)
        if visitor is not None and not visitor.is_owner and scope["path"].rstrip("/").endswith("/upload"):
            return "Visitors cannot upload: only the owners of this app can."
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        own = {headers.get(name, b"").decode("latin-1").lower() for name in (b"host", b"x-forwarded-host")} - {""}
        if origin and urlsplit(origin).netloc.lower() not in own:
            return "This request comes from another site. Open the app itself and try again."
        return ""


async def _refuse(send, sentence: str) -> None:
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
