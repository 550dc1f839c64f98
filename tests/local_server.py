"""An HTTP server on this computer in the place of another host; a subclass says what it answers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LocalServer:
    """Answers each request, in a thread of its own, by `answer(handler)`. `address` is host and port, `url` with http://."""

    protocol = "HTTP/1.1"

    def __init__(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = self.protocol

            def log_message(self, *_):
                return

            def handle_any(self):
                server.answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = handle_any

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.address}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def body_of(handler: BaseHTTPRequestHandler) -> bytes:
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))

    @staticmethod
    def send(handler: BaseHTTPRequestHandler, code: int, value, headers: dict[str, str] | None = None) -> None:
        """An answer of bytes, or of a value as JSON; to HEAD its headers alone."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        kind = {} if isinstance(value, bytes) else {"Content-Type": "application/json"}
        handler.send_response(code)
        for name, text in {**kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            handler.send_header(name, text)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)
