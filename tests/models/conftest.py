"""A local server that speaks the part of the hub's protocol that fetching a model needs."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

SHA = "0123456789abcdef0123456789abcdef01234567"


class ModelHub:
    """Serves {repository: {file name: bytes}}; `asked` lists the requests, `tokens` what they showed.

    The files of those in `gated` are kept for who has signed in.
    """

    def __init__(self):
        self.repos: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.gated: set[str] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                return

            def do_GET(self):
                hub.answer(self, True)

            def do_HEAD(self):
                hub.answer(self, False)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler, body: bool):
        path = unquote(urlsplit(handler.path).path)
        self.asked.append(path)
        self.tokens.append(handler.headers.get("Authorization"))
        for repo, files in self.repos.items():
            if path.startswith(f"/api/models/{repo}/tree/"):
                return self._json(handler, [self._entry(name, data) for name, data in files.items()])
            if path.startswith(f"/api/models/{repo}"):
                return self._json(handler, self._info(repo, files))
            if path.startswith(f"/{repo}/resolve/") and repo in self.gated and not self.tokens[-1]:
                return self._send(
                    handler, 401, b'{"error":"Access is restricted"}', {"X-Error-Code": "GatedRepo"}, body
                )
            if path.startswith(f"/{repo}/resolve/") and path.rpartition("/")[2] in files:
                return self._file(handler, files[path.rpartition("/")[2]], body)
        return self._send(handler, 404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})

    def _entry(self, name, data):
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _info(self, repo, files):
        siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
        return {"id": repo, "sha": SHA, "siblings": siblings, "private": False, "tags": [], "downloads": 0}

    def _json(self, handler, value):
        self._send(handler, 200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, handler, data, body):
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": SHA}
        self._send(handler, 200, data, headers, body)

    def _send(self, handler, code, data, headers, body=True):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if body:
            handler.wfile.write(data)


@pytest.fixture
def hub(monkeypatch):
    server = ModelHub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.close()


@pytest.fixture
def no_hub(monkeypatch):
    """A hub that refuses every connection."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def model_copy(tiny_model_folder, tmp_path):
    """A copy of the tiny model's folder that a test may spoil."""
    import shutil

    return shutil.copytree(tiny_model_folder, tmp_path / "model")
