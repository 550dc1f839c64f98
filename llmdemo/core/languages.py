"""The languages that the app speaks: those of which <tag>.json and said.<tag>.json are in assets/words/.

<tag>.json is what the page says, said.<tag>.json what the app says in errors, notes and reasons. Four of a language's texts
are about itself: `language_name` as its speakers call it, `language_tags` the tags (BCP 47) of browsers that get it,
`list_comma`, `list_or` and `list_and` how it joins a list, `quoted` how it quotes. assets/lib/words.js chooses by the same
rules as `wanted_language`. A language with damaged files is left out, and one that lacks texts says these in English.
"""

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from llmdemo.core import assets

FOLDER = assets.FOLDER / "words"
ENGLISH = "en"


@dataclass(frozen=True)
class Language:
    """`tag` as its files are called, `name`, and the `tags` of browsers that get it."""

    tag: str
    name: str
    tags: tuple[str, ...]

    def fit(self, wanted: str) -> int:
        """How closely a browser's tag fits, 0 for not at all. "en-AU" fits "en"; but where a file is for some regions, as
        zh-TW is, the bare "zh" among its tags stands for itself alone: zh-CN does not get it."""
        regional = "-" in self.tag
        fitting = (
            len(tag)
            for tag in (each.lower() for each in self.tags)
            if wanted == tag or (wanted.startswith(f"{tag}-") and ("-" in tag or not regional))
        )
        return max(fitting, default=0)


@functools.cache
def languages() -> dict[str, Language]:
    """{tag: language}, English first; which are left out, and why, is told once on the terminal."""
    tags = sorted(path.name.removeprefix("said.").removesuffix(".json") for path in FOLDER.glob("said.*.json"))
    found = {}
    for tag in sorted(tags, key=lambda tag: tag != ENGLISH):
        try:
            words = texts(tag)
        except ValueError as error:
            print(texts()["language_left_out"].replace("{error}", str(error)), file=sys.stderr)
            continue
        found[tag] = Language(tag, words["language_name"], tuple(words["language_tags"].split()))
    return found


@functools.cache
def texts(language: str = ENGLISH) -> dict[str, str]:
    """{key: text} in `language`: what the page says, and what the app says wherever it is used; English where it lacks a text.
    Raises ValueError for damaged files; without English nothing can be said, so that ends the process."""
    try:
        own = _read(FOLDER / f"{language}.json") | _read(FOLDER / f"said.{language}.json")
        if missing := {"language_name", "language_tags"} - own.keys():
            raise ValueError(f"{language}.json has no {min(missing)}")
    except ValueError as error:
        if language == ENGLISH:
            raise SystemExit(f"The app's English texts are damaged: {error}. Get the folder {FOLDER} anew.") from None
        raise
    return own if language == ENGLISH else {**texts(), **own}


def _read(path: Path) -> dict[str, str]:
    """A file of texts by their keys. Raises ValueError, which begins with its name, for anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError(f"{path.name}: it is no object of texts")
    return found


def wanted_language(accepted: str) -> str:
    """The language for a browser with this Accept-Language header: the first tag in a language that we have decides, also
    against us where it is of another region (zh-CN gets English)."""
    known = {_bare(tag) for language in languages().values() for tag in language.tags}
    tags = (part.partition(";")[0].strip().lower() for part in accepted.split(","))
    wanted = next((tag for tag in tags if _bare(tag) in known), ENGLISH)
    best = max(languages().values(), key=lambda language: language.fit(wanted))
    return best.tag if best.fit(wanted) else ENGLISH


def _bare(tag: str) -> str:
    return tag.partition("-")[0].lower()
