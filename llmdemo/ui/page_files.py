"""The page's scripts, styles and words, and Gradio's, as files that browsers keep. Knows nothing of what is in them.

The address of ours holds a hash of all of them: a browser never asks again for what it has, and a new version of the app
has new addresses. The files name each other by relative addresses, so they need no build.
"""

import gzip
import hashlib
import json
import mimetypes
import os
import re
from functools import cache
from html import escape
from pathlib import Path

import brotli  # Gradio brings it
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llmdemo.core.languages import languages
from llmdemo.ui.gradio_internals import SCRIPTS, mended
from llmdemo.ui.services import ASSETS

MAIN, STYLES, FIRST = "main.js", "main.css", "lib/no-eval.js"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".json": "application/json"}
_FOLDERS = ("arena", "data", "evaluate", "experiments", "learn", "lib", "serving", "train", "votes", "words")
_SHEETS = ("lib/style", "lib/controls", "lib/header", "data/record", "data/data", "data/tools", "train/form",
           "train/plots", "train/run", "serving/serving", "experiments/experiments", "learn/learn", "learn/lessons",
           "arena/arena", "arena/form", "arena/bar", "arena/past", "arena/lanes", "arena/prefer", "arena/batch",
           "arena/card", "arena/tree", "arena/mistakes", "arena/narrow", "votes/votes", "evaluate/form",
           "evaluate/evaluate", "evaluate/strategies")  # fmt: skip
_IMPORT = re.compile(r'\b(?:from|import) "(\.[^"]+)"')
_FOREVER = "public, max-age=31536000, immutable"


class _Files:
    """GET /<folder>/<path>: files that browsers keep for ever, packed when the first asks; 404 for any other name."""

    folder: str

    def __init__(self) -> None:
        self._packed = cache(self._pack)  # not before: packing all would hold up the app's start

    def content(self, path: str) -> bytes | None:
        """The file's bytes; None where there is no such file."""
        raise NotImplementedError

    def route(self) -> Route:
        return Route(f"/{self.folder}/{{path:path}}", self._answer, methods=["GET"])

    async def _answer(self, request: Request) -> Response:
        path = request.path_params["path"]
        content = self.content(path)
        if content is None:
            return Response("There is no such file.", 404, media_type="text/plain")
        headers = {"cache-control": _FOREVER, "vary": "accept-encoding"}
        kind = _TYPES.get(Path(path).suffix)
        taken = request.headers.get("accept-encoding", "")
        way = next((way for way in ("br", "gzip") if way in [each.strip() for each in taken.split(",")]), "")
        if not way or not kind:  # a font or a picture is packed already
            return Response(content, headers=headers, media_type=kind or mimetypes.guess_type(path)[0])
        return Response(self._packed(path, way), headers={**headers, "content-encoding": way}, media_type=kind)

    def _pack(self, path: str, way: str) -> bytes:
        """Brotli's quality 11 would be 10 % smaller, and take ten times as long while the first visitor waits."""
        content = self.content(path) or b""
        return brotli.compress(content, quality=7) if way == "br" else gzip.compress(content, 9, mtime=0)


class GradioFiles(_Files):
    """Gradio's scripts and styles, whose names hold their hashes. Gradio itself has browsers ask for each again, sixty for a
    page, and packs each anew for everybody who asks."""

    folder = "assets"

    def __init__(self) -> None:
        super().__init__()
        self._names = {path.name for path in SCRIPTS.iterdir() if path.is_file()}

    def content(self, path: str) -> bytes | None:
        return mended(path, (SCRIPTS / path).read_bytes()) if path in self._names else None


class PageFiles(_Files):
    """The files below `root`, read once: {path: bytes}; the style sheets are one file, in the order they count."""

    def __init__(self, root: Path = ASSETS):
        super().__init__()
        paths = [*root.glob("*.js"), *(path for folder in _FOLDERS for path in (root / folder).rglob("*.*"))]
        texts = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.suffix in _TYPES}
        english = json.loads(texts["words/en.json"])
        for name in (f"words/{tag}.json" for tag in languages()):
            if english.keys() - (own := json.loads(texts[name])).keys():  # what a language lacks is English
                texts[name] = json.dumps({**english, **own}, ensure_ascii=False).encode()
        styles = [texts.pop(f"{name}.css") for name in _SHEETS]
        self.files = {**texts, STYLES: b"\n".join(styles)}
        content = b"".join(name.encode() + self.files[name] for name in sorted(self.files))
        self.folder = f"page-{hashlib.sha256(content).hexdigest()[:12]}"

    def content(self, path: str) -> bytes | None:
        return self.files.get(path)

    def needed(self, name: str = MAIN) -> set[str]:
        """The script and all that it imports, directly or not; without what `import()` fetches later."""
        found, waiting = set(), [name]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                folder = Path("/", name).parent
                for wanted in _IMPORT.findall(self.files[name].decode()):
                    waiting.append(os.path.normpath(folder / wanted).lstrip("/"))
        return found

    def head(self) -> str:
        """The <head> additions. What the page needs at first is named, so that a browser fetches it at once, not in turn."""
        scripts = sorted(self.needed() - {MAIN})
        known = {each.tag: {"name": each.name, "tags": each.tags} for each in languages().values()}
        told = escape(json.dumps(known, ensure_ascii=False))
        lines = [f'<meta name="llmdemo-languages" content="{told}">']  # an inline script would not be run
        lines += [f'<link rel="stylesheet" href="{self.folder}/{STYLES}">']
        lines += [f'<link rel="modulepreload" href="{self.folder}/{name}">' for name in scripts]
        return "\n".join([*lines, f'<script type="module" src="{self.folder}/{MAIN}"></script>'])

    @property
    def first_script(self) -> str:
        """The address of what runs before all other scripts."""
        return f"{self.folder}/{FIRST}"
