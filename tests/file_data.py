"""Requests that name files on another host, in every shape and disguise that came to mind; and a host that counts.

`Maker.request(base)` gives one (method, path, headers, body), drawn from a seed. `CountingHost` is the other host.
"""

import json
import random
from collections.abc import Iterator

from tests.local_server import LocalServer

META = {"_type": "gradio.FileData"}
ENDPOINTS = (
    *("compare", "list_models", "add_dataset", "start_run", "run_status", "rename_dataset", "list_datasets"),
    *("python", "models", "nothing"),
)
SERVER_FUNCTIONS = ("models", "warm", "stop", "python", "retry", "process_example", "preprocess")


class CountingHost(LocalServer):
    """A server on loopback that answers everything with 200 and counts."""

    protocol = "HTTP/1.0"

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__()

    def answer(self, handler) -> None:
        self.asked.append(handler.path)
        self.send(handler, 200, b"ok")


class Maker:
    """Draws requests. `host` is the counting host's "address:port"; `functions` how many events the page has."""

    def __init__(self, seed: int, host: str, functions: int, components: list[int]):
        self.random, self.host = random.Random(seed), host
        self.functions, self.components = functions, components
        self.number = 0

    def request(self) -> tuple[str, str, dict[str, str], bytes]:
        self.number += 1
        if self.random.random() < 0.05:
            return "GET", self.get_path(), {}, b""
        path, value = self.post()
        headers, body = self.disguised(value)
        return "POST", path, headers, body

    def url(self) -> str:
        host, number = self.host, self.number
        port = host.rpartition(":")[2]
        return self.random.choice(
            [
                *[f"http://{host}/{number}.json"] * 6,
                f"http://user@{host}/{number}",
                f"http://localhost:{port}/{number}.txt",
                f"HTTP://{host}/{number}",
                f" http://{host}/{number}",
                f"//{host}/{number}",
                f"http:/{host}/{number}",
                f"http://{host}/{number}?x=.json#y",
                f"http://{host}/gradio_api/file=/{number}",
            ]
        )

    def file(self) -> dict:
        url = self.url()
        file = {"path": url, "meta": dict(META)}
        for key, value in (
            *(("url", url), ("orig_name", "a.json"), ("size", 3), ("mime_type", "text/plain")),
            *(("is_stream", False), ("is_file", True), ("name", url), ("data", url)),
        ):
            if self.random.random() < 0.3:
                file[key] = value
        if self.random.random() < 0.1:
            file["meta"] = {"_type": "gradio.FileData", "more": file["meta"]}
        if self.random.random() < 0.1:
            file["path"] = self.random.choice(["", "/etc/passwd", "x", "a\0b"])
            file["url"] = url
        items = list(file.items())
        self.random.shuffle(items)
        return dict(items)

    def nested(self, value):
        """`value` somewhere inside of lists, objects and strings of JSON."""
        for _ in range(self.random.choice([0, 0, 1, 2, 3, 8, 40])):
            kind = self.random.random()
            if kind < 0.4:
                value = [value, *([self.random.choice([None, 1, "x"])] * self.random.randrange(2))]
            elif kind < 0.9:
                value = {
                    self.random.choice(["settings", "a", "value", "data", "path", "meta", "files", "props"]): value
                }
            elif len(json.dumps(value)) < 5000:
                value = json.dumps(value)
        return value

    def post(self) -> tuple[str, dict]:
        name, value = self.random.choice(ENDPOINTS), self.nested(self.file())
        data = [*self.random.choice([[], ["starter"], ["starter", "Hello"]]), value]
        if self.random.random() < 0.3:
            data = [self.nested(self.file()) for _ in range(3)]
        slash = self.random.choice(["", "", "/"])
        join = {"data": data, "fn_index": self.random.randrange(self.functions), "session_hash": f"s{self.number}"}
        join |= self.random.choice([{}, {"event_data": value}, {"trigger_id": 1, "event_data": [value]}])
        call = {"component_id": self.random.choice(self.components), "session_hash": f"s{self.number}"}
        call |= {"fn_name": self.random.choice(SERVER_FUNCTIONS), "data": value}
        arguments = {
            "model_id": "starter",
            "prompt": value,
            "settings": value,
            "file": value,
            "name": "x",
            "config": value,
        }
        return self.random.choice(
            [
                *[("queue/join", join)] * 3,
                *[(f"call/{name}{slash}", {"data": data})] * 3,
                (f"call/v2/{name}{slash}", arguments),
                (f"run/{name}{slash}", {"data": data, "session_hash": "s"}),
                (f"api/{name}{slash}", {"data": data, "session_hash": "s"}),
                (f"component_server{slash}", call),
                ("cancel", {"session_hash": "s", "fn_index": 0, "event_id": "x", "data": data}),
                ("reset", {"event_id": value}),
                ("upload", {"files": value}),
                (f"stream/s{self.number}", {"data": data}),
                ("process_recording", {"data": data}),
                ("run-history/connect", {"data": data, "url": self.url()}),
            ]
        )

    def get_path(self) -> str:
        url = self.url().strip()
        return self.random.choice(
            [
                f"file={url}",
                f"file/{url}",
                f"proxy={url}",
                f"file%3D{url}",
                f"deep_link?session_hash={url}",
                f"FILE={url}",
            ]
        )

    def disguised(self, value: dict) -> tuple[dict[str, str], bytes]:
        text = json.dumps(value)
        kind = self.random.choice(
            ["application/json"] * 6 + ["application/json; charset=utf-16", "text/plain", "", "form"]
        )
        disguise = self.random.randrange(10)
        if disguise == 0:
            text = "".join(f"\\u{ord(c):04x}" if inside else c for c, inside in _in_strings(text))
        elif disguise == 1:  # one parser takes the first, another the last
            text = text.replace('"path":', '"path": "x", "path":').replace('"meta":', '"meta": 1, "meta":')
        elif disguise == 2:
            text = text.replace('"meta":', '"meta": {"_type": "gradio.FileData"}, "meta":')
        encoding = {3: "utf-16", 4: "utf-8-sig", 5: "utf-32", 6: "utf-16-le"}.get(disguise, "utf-8")
        body = text.encode(encoding)
        if kind == "form":
            name = b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n'
            return {"content-type": "multipart/form-data; boundary=b"}, name + body + b"\r\n--b--\r\n"
        return {"content-type": kind} if kind else {}, body


def _in_strings(text: str) -> Iterator[tuple[str, bool]]:
    """Each character of JSON text that has no escapes inside of words, and whether a string holds it."""
    inside = escaped = False
    for character in text:
        if escaped:
            escaped = False
            yield character, False
        elif character == "\\":
            escaped = True
            yield character, False
        elif character == '"':
            inside = not inside
            yield character, False
        else:
            yield character, inside
