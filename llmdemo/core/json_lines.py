"""Files of JSON Lines that are appended to: a last line that a kill or a full disk has torn harms no other. Knows no meaning.

events.py does the same for a job's events, with a handle that stays open.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from llmdemo.core.store import parse_json


def append_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """Appends each object as a line, on a line of its own whatever the file ends in. Raises ValueError for NaN and
    infinities before anything is written, OSError for a full disk."""
    text = "".join(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values)
    with open(path, "a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                text = "\n" + text
        file.write(text.encode("utf-8", "replace"))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines; none if there is no file, broken lines are skipped."""
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    value = parse_json(line)
                except ValueError:
                    continue
                if isinstance(value, dict):
                    yield value
    except FileNotFoundError:
        return
