"""Callers of the routes that a test can hold up: a decoder whose steps wait, one request straight to the routes."""

import json
import threading
import time


class SlowSteps:
    """In the place of decode_lanes: each step of it waits, so that a caller can leave in the middle."""

    def __init__(self, arena):
        from llmdemo.decoding import decode_lanes

        self.made, self.closed, self._decode = 0, threading.Event(), decode_lanes
        arena._decode = self

    def __call__(self, model, ids, settings):
        try:
            for step in self._decode(model, ids, settings):
                self.made += 1
                time.sleep(0.01)
                yield step
        finally:
            self.closed.set()


def asgi(serving, key, body, receive, send):
    """Sends one request straight to the routes."""
    from starlette.applications import Starlette

    from llmdemo.serving.routes import routes

    raw = json.dumps(body).encode()
    given = iter([{"type": "http.request", "body": raw, "more_body": False}])

    async def incoming():
        first = next(given, None)
        return first if first else await receive()

    headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {key}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers, "query_string": b""}
    return Starlette(routes=routes(serving))(scope, incoming, send)
