"""A small server that speaks the part of the hub's protocol that reading a data set needs; used by tests only."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Serves repositories {id: {path: bytes}} on 127.0.0.1; `url` is what HF_ENDPOINT must be. `asked` lists requests."""

    def __init__(self, repos: dict[str, dict[str, bytes]], licence: str = "cc-by-4.0", gated: tuple = ()):
        self.repos, self.licence, self.gated, self.asked = repos, licence, gated, []
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _listed(entries: list[dict], below: str, recursive: bool) -> list[dict]:
    """The entries below a folder, or those right inside it with its folders."""
    inside = [entry for entry in entries if entry["path"].startswith(f"{below}/" if below else "")]
    if recursive:
        return inside
    rest = {entry["path"]: entry["path"][len(below) + 1 if below else 0 :] for entry in inside}
    folders = {path[: len(path) - len(tail)] + tail.split("/")[0] for path, tail in rest.items() if "/" in tail}
    files = [entry for entry in inside if "/" not in rest[entry["path"]]]
    return [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)] + files


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        return

    def do_GET(self):
        self._answer(body=True)

    def do_HEAD(self):
        self._answer(body=False)

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        self._answer(body=True, sent=self.rfile.read(size))

    def _answer(self, body: bool, sent: bytes = b""):
        path = unquote(urlsplit(self.path).path)
        self.server_hub.asked.append(f"{self.command} {path}")
        for repo, files in self.server_hub.repos.items():
            if (
                path.startswith((f"/api/datasets/{repo}/", f"/datasets/{repo}/resolve/"))
                or path == f"/api/datasets/{repo}"
            ):
                if repo in self.server_hub.gated and "/resolve/" in path:
                    return self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body)
                return self._repo(repo, files, path, body, sent)
        return self._send(404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"}, body)

    def _repo(self, repo, files, path, body, sent):
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
                "id": repo, "_id": "1", "sha": SHA, "private": False, "gated": "manual" if repo in self.server_hub.gated else False,
                "disabled": False, "downloads": 5, "likes": 1, "tags": [f"license:{self.server_hub.licence}", "arxiv:2305.11206"],
                "cardData": {"license": self.server_hub.licence}, "lastModified": "2024-01-01T00:00:00.000Z",
                "createdAt": "2024-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": entry["path"], "size": entry["size"]} for entry in entries],
            }  # fmt: skip
            return self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, body)
        if "/tree/" in path:
            below = path.split("/tree/", 1)[1].partition("/")[2]
            found = _listed(entries, below, "recursive=true" in urlsplit(self.path).query.lower())
            return self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"}, body)
        if "/paths-info/" in path:
            wanted = json.loads(sent).get("paths", []) if sent[:1] == b"{" else []
            found = [entry for entry in entries if entry["path"] in wanted]
            return self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"}, body)
        if "/resolve/" in path:
            name = path.split("/resolve/", 1)[1].partition("/")[2]
            if name in files:
                return self._file(files[name], body)
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": SHA}, body)
        return self._send(404, b"{}", {}, body)

    def _file(self, data: bytes, body: bool):
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if not asked:
            return self._send(200, data, headers, body)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last) + 1 if last else len(data), len(data))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return self._send(206, data[start:stop], headers, body)

    def _send(self, code: int, data: bytes, headers: dict, body: bool):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)
