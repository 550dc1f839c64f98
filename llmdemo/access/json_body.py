"""A request's JSON body: parsed within bounds, searched for files that nobody uploaded. Knows no HTTP and no page.

Gradio downloads what a value names that is shaped like its file data ({"path": URL, "meta": {"_type":
"gradio.FileData"}}), wherever it stands in a request, and before any handler is asked. So what Gradio gets is never what
was sent but this module's own parse of it, written anew: encodings, duplicate keys and the like cannot mean one thing
here and another there.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from llmdemo.core.sentences import say

MOST_DEPTH = 100
"""Deepest nesting of objects and lists; what the page sends has less than ten levels."""
_MOST_EMBEDDED = 8
"""Levels of JSON text inside strings of JSON text that are looked into."""
_MOST_EMBEDDED_CHARACTERS = 4 * 2**20
_URL = re.compile(r"\s*(?:[a-z][a-z0-9+.\-]+:|[/\\]{2})", re.IGNORECASE)
"""How an address on another host begins: "http:" or two slashes; a drive's single letter, "C:", is none."""
_STRUCTURE = (b"[", b"{", b",")


class Refused(Exception):
    """This body goes no further. `status` is the HTTP status; the text is a sentence for the caller."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Bounds:
    """What a body may be."""

    nodes: int
    """Most values, keys not counted."""
    variable: str
    """The setting that rules `nodes`, for the refusal."""
    depth: int = MOST_DEPTH


def checked(body: bytes, bounds: Bounds, is_upload: Callable[[str], bool]) -> tuple[Any, bytes]:
    """The value of `body`, and its JSON written anew in plain ASCII. Raises Refused: 400 for what is no JSON in UTF-8 or has numbers
    that are none, 403 for a file that `is_upload(path)` does not know, 413 for too many values or levels."""
    value = parsed(body, bounds)
    try:
        value = _Search(is_upload, bounds).rewritten(value)
        return value, json.dumps(value, allow_nan=False).encode("ascii")
    except ValueError:  # 1e999
        raise Refused(400, say("http_number_too_large")) from None


def parsed(body: bytes, bounds: Bounds) -> Any:
    """The value of `body`. Raises Refused as `checked` does, but looks for no files: for what Gradio never gets."""
    _count(body, bounds)
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number)
        _measure_depth(value, bounds.depth)
    except UnicodeDecodeError as error:
        raise Refused(400, say("http_no_utf8", at=error.start)) from None
    except RecursionError:
        raise Refused(413, _too_deep(bounds.depth)) from None
    except ValueError as error:
        raise Refused(400, say("http_no_json", reason=str(error)[:200])) from None
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _too_deep(most: int) -> str:
    return say("http_too_deep", most=most)


def _count(body: bytes, bounds: Bounds, counted: int = 0) -> int:
    """About how many values are in this JSON, and `counted`; refuses too many, before anything is made of them."""
    number = counted + sum(map(body.count, _STRUCTURE))
    if number <= bounds.nodes:
        return number
    # Text may hold any number of commas: what stands inside of strings does not count.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') <= 4 * bounds.nodes:
        outside = b"".join(plain.split(b'"')[::2])
        number = counted + sum(map(outside.count, _STRUCTURE))
        if number <= bounds.nodes:
            return number
    raise Refused(413, say("http_too_many_values", most=bounds.nodes, variable=bounds.variable))


def _measure_depth(value: Any, most: int) -> None:
    level = [value]
    for _ in range(most + 1):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inner(outer)]
        if not level:
            return
    raise Refused(413, _too_deep(most))


def _inner(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


class _Search:
    """One walk over a body's values. `rewritten` gives them back, with files reduced to what may be said of them."""

    def __init__(self, is_upload: Callable[[str], bool], bounds: Bounds):
        self._is_upload, self._bounds = is_upload, bounds
        self._embedded = 0
        """Values in texts that may be JSON: all of them together are bounded as the body's own are."""

    def rewritten(self, value: Any, embedded: int = 0) -> Any:
        if isinstance(value, dict):
            value = self._file(value) if is_file_data(value) else value
            return {key: self.rewritten(inner, embedded) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.rewritten(inner, embedded) for inner in value]
        if isinstance(value, str):
            self._look_into(value, embedded)
        return value

    def _file(self, value: dict[str, Any]) -> dict[str, Any]:
        path = value.get("path")
        if not isinstance(path, str) or not self._is_upload(path):
            raise Refused(403, say("http_not_uploaded", path=repr(str(path or value.get("url"))[:80])))
        kinds = {"orig_name": str, "mime_type": str, "size": int}
        told = {key: value[key] for key, kind in kinds.items() if isinstance(value.get(key), kind)}
        return {"path": path, **told, "meta": {"_type": "gradio.FileData"}}

    def _look_into(self, text: str, embedded: int) -> None:
        """Refuses JSON text inside a string that names files; every other text is just text."""
        if text.lstrip()[:1] not in ("{", "[", '"') or len(text) > _MOST_EMBEDDED_CHARACTERS:
            return
        if embedded == _MOST_EMBEDDED:
            raise Refused(413, say("http_json_in_json"))
        self._embedded = _count(text.encode("utf-8", "replace"), self._bounds, self._embedded)
        try:
            inner = json.loads(text)
            _measure_depth(inner, MOST_DEPTH)
        except (ValueError, RecursionError, Refused):
            return
        if isinstance(inner, dict | list | str):
            self.rewritten(inner, embedded + 1)


def is_file_data(value: dict[str, Any]) -> bool:
    """Whether Gradio, today's or another one, could take this object for a file."""
    path, meta = value.get("path"), value.get("meta")
    if isinstance(path, str) and _URL.match(path):
        return True
    if isinstance(meta, dict) and "_type" in meta:
        return True
    return "path" in value and ("meta" in value or "url" in value)
