"""A small server that speaks the part of the hub's protocol that reading a data set needs; used by tests only."""

import hashlib
import json
from urllib.parse import unquote, urlsplit

from tests.local_server import LocalServer

SHA = "0123456789abcdef0123456789abcdef01234567"


class HubServer(LocalServer):
    """Serves repositories {id: {path: bytes}} on 127.0.0.1; `url` is what HF_ENDPOINT must be. `asked` lists requests."""

    def __init__(self, repos: dict[str, dict[str, bytes]], licence: str = "cc-by-4.0", gated: tuple = ()):
        self.repos, self.licence, self.gated, self.asked = repos, licence, gated, []
        super().__init__()

    def answer(self, handler):
        path, sent = unquote(urlsplit(handler.path).path), self.body_of(handler)
        self.asked.append(f"{handler.command} {path}")
        for repo, files in self.repos.items():
            if (
                path.startswith((f"/api/datasets/{repo}/", f"/datasets/{repo}/resolve/"))
                or path == f"/api/datasets/{repo}"
            ):
                if repo in self.gated and "/resolve/" in path:
                    return self.send(handler, 403, b"{}", {"X-Error-Code": "GatedRepo"})
                return self._repo(handler, repo, files, path, sent)
        return self.send(handler, 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def _repo(self, handler, repo, files, path, sent):
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in files.items()
        ]
        if path in (
            f"/api/datasets/{repo}",
            f"/api/datasets/{repo}/revision/main",
            f"/api/datasets/{repo}/revision/{SHA}",
        ):
            info = {
                "id": repo, "_id": "1", "sha": SHA, "private": False, "gated": "manual" if repo in self.gated else False,
                "disabled": False, "downloads": 5, "likes": 1, "tags": [f"license:{self.licence}", "arxiv:2305.11206"],
                "cardData": {"license": self.licence}, "lastModified": "2024-01-01T00:00:00.000Z",
                "createdAt": "2024-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": entry["path"], "size": entry["size"]} for entry in entries],
            }  # fmt: skip
            return self.send(handler, 200, info)
        if "/tree/" in path:
            below = path.split("/tree/", 1)[1].partition("/")[2]
            found = _listed(entries, below, "recursive=true" in urlsplit(handler.path).query.lower())
            return self.send(handler, 200, found)
        if "/paths-info/" in path:
            wanted = json.loads(sent).get("paths", []) if sent[:1] == b"{" else []
            found = [entry for entry in entries if entry["path"] in wanted]
            return self.send(handler, 200, found)
        if "/resolve/" in path:
            name = path.split("/resolve/", 1)[1].partition("/")[2]
            if name in files:
                return self._file(handler, files[name])
            return self.send(handler, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": SHA})
        return self.send(handler, 404, b"{}", {})

    def _file(self, handler, data: bytes):
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        asked = handler.headers.get("Range")
        if not asked:
            return self.send(handler, 200, data, headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last) + 1 if last else len(data), len(data))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return self.send(handler, 206, data[start:stop], headers)


def _listed(entries: list[dict], below: str, recursive: bool) -> list[dict]:
    """The entries below a folder, or those right inside it with its folders."""
    inside = [entry for entry in entries if entry["path"].startswith(f"{below}/" if below else "")]
    if recursive:
        return inside
    rest = {entry["path"]: entry["path"][len(below) + 1 if below else 0 :] for entry in inside}
    folders = {path[: len(path) - len(tail)] + tail.split("/")[0] for path, tail in rest.items() if "/" in tail}
    files = [entry for entry in inside if "/" not in rest[entry["path"]]]
    return [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)] + files
