"""A local server that speaks the part of the hub's protocol that fetching a model needs."""

import hashlib
from urllib.parse import unquote, urlsplit

import pytest

from tests.local_server import LocalServer

SHA = "0123456789abcdef0123456789abcdef01234567"


class ModelHub(LocalServer):
    """Serves {repository: {file name: bytes}}; `asked` lists the requests, `tokens` what they showed.

    The files of those in `gated` are kept for who has signed in.
    """

    def __init__(self):
        self.repos: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.gated: set[str] = set()
        super().__init__()

    def answer(self, handler):
        path = unquote(urlsplit(handler.path).path)
        self.asked.append(path)
        self.tokens.append(handler.headers.get("Authorization"))
        for repo, files in self.repos.items():
            if path.startswith(f"/api/models/{repo}/tree/"):
                return self.send(handler, 200, [self._entry(name, data) for name, data in files.items()])
            if path.startswith(f"/api/models/{repo}"):
                return self.send(handler, 200, self._info(repo, files))
            if path.startswith(f"/{repo}/resolve/") and repo in self.gated and not self.tokens[-1]:
                return self.send(handler, 401, {"error": "Access is restricted"}, {"X-Error-Code": "GatedRepo"})
            if path.startswith(f"/{repo}/resolve/") and path.rpartition("/")[2] in files:
                return self._file(handler, files[path.rpartition("/")[2]])
        return self.send(handler, 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def _entry(self, name, data):
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _info(self, repo, files):
        siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
        return {"id": repo, "sha": SHA, "siblings": siblings, "private": False, "tags": [], "downloads": 0}

    def _file(self, handler, data):
        self.send(handler, 200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": SHA})


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
