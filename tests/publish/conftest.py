"""A local server that speaks the part of the hub's protocol that pushing a model needs, and may fail on the way."""

import base64
import hashlib
import json
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from tests.local_server import LocalServer

TOKEN = "hf_goodgoodgoodgood"
SHA = "0123456789abcdef0123456789abcdef01234567"


class PushHub(LocalServer):
    """`repos` {"owner/name": {path: bytes}}; `private` says which of them are; `uploads` are the files that were sent."""

    def __init__(self):
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.kinds: dict[str, tuple] = {}
        self.blobs: dict[str, bytes] = {}
        self.tokens = {TOKEN: "ann"}
        self.uploads: list[str] = []
        self.break_uploads = 0
        self.refuse_commits = 0
        self.seen_tokens: set[str] = set()
        super().__init__()

    def answer(self, handler):
        path = unquote(urlsplit(handler.path).path)
        if path.startswith("/blobs/"):
            return self._take_blob(handler, path.rpartition("/")[2])
        body = self.body_of(handler)
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.seen_tokens.add(token)
        if token not in self.tokens:
            return self.send(handler, 401, {"error": "Invalid credentials in Authorization header"})
        value = json.loads(body) if body[:1] == b"{" and b"\n" not in body.strip() else body
        for start, act in (
            ("/api/whoami-v2", self._whoami),
            ("/api/repos/create", self._create),
            ("/api/models/", self._model),
            ("/api/spaces/", self._model),
            ("/api/validate-yaml", lambda *_: (200, {"errors": [], "warnings": []})),
            ("/verify", lambda *_: (200, {})),
        ):
            if path.startswith(start):
                return self.send(handler, *act(path, value, token))
        if path.endswith("/info/lfs/objects/batch"):
            return self.send(handler, *self._batch(path, value, token))
        return self._resolve(handler, path)

    def _whoami(self, path, value, token):
        return 200, {"type": "user", "name": self.tokens[token], "fullname": "Ann", "orgs": []}

    def _create(self, path, value, token):
        owner = value.get("organization") or self.tokens[token]
        name = f"{owner}/{value['name']}"
        if owner not in self.tokens.values():
            return 403, {"error": "You don't have the rights to create a model under this namespace"}
        if name in self.repos:
            return 409, {"error": "You already created this model repo", "url": f"{self.url}/{name}"}
        self.repos[name], self.private[name] = {}, value.get("private") or value.get("visibility") == "private"
        self.kinds[name] = value.get("type", "model"), value.get("sdk")
        return 200, {"url": f"{self.url}/{name}", "id": name}

    def _model(self, path, value, token):
        repo = "/".join(path.split("/")[3:5])
        rest = "/".join(path.split("/")[5:])
        if repo not in self.repos:
            return 404, {"error": "Repository not found"}
        if rest.startswith("preupload"):
            mode = {True: "lfs", False: "regular"}
            files = [
                {"path": f["path"], "uploadMode": mode[f["size"] > 10_000], "shouldIgnore": False}
                for f in value["files"]
            ]
            return 200, {"files": files}
        if rest.startswith("commit"):
            return self._commit(repo, value)
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
            for name, data in self.repos[repo].items()
        ]
        private = self.private.get(repo, False)
        return 200, entries if rest.startswith("tree") else {"id": repo, "sha": SHA, "siblings": [], "private": private}

    def _commit(self, repo, body):
        if self.refuse_commits:
            self.refuse_commits -= 1
            return 500, {"error": "Internal Error"}
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.repos[repo][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "lfsFile":
                self.repos[repo][entry["value"]["path"]] = self.blobs[entry["value"]["oid"]]
        url = f"{self.url}/{repo}/commit/{SHA}"
        return 200, {"success": True, "commitOid": SHA, "commitUrl": url, "hookOutput": ""}

    def _batch(self, path, value, token):
        objects = []
        for wanted in value["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.blobs:
                href = f"{self.url}/blobs/{wanted['oid']}"
                entry["actions"] = {"upload": {"href": href}, "verify": {"href": f"{self.url}/verify"}}
            objects.append(entry)
        return 200, {"transfer": "basic", "objects": objects}

    def _take_blob(self, handler, oid):
        if self.break_uploads:
            self.break_uploads -= 1
            handler.rfile.read(1000)
            handler.close_connection = True
            handler.connection.close()
            return
        data = handler.rfile.read(int(handler.headers["Content-Length"]))
        assert hashlib.sha256(data).hexdigest() == oid
        self.blobs[oid] = data
        self.uploads.append(oid)
        self.send(handler, 200, {})

    def _resolve(self, handler, path):
        parts = path.removeprefix("/spaces").strip("/").split("/")
        data = self.repos.get("/".join(parts[:2]), {}).get("/".join(parts[4:])) if len(parts) > 4 else None
        if data is None:
            return self.send(handler, 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": SHA}
        self.send(handler, 200, data, headers)


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub.utils._http as http

    server = PushHub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    pauses = SimpleNamespace(sleep=lambda seconds: None)  # the client's, between its own tries, and nobody else's
    monkeypatch.setattr(http, "time", pauses)
    yield server
    server.close()
