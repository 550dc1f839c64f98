"""An evaluation's folder: a job's, with result.json and records.jsonl. Knows nothing of models or of processes.

config.json holds the spec and titles that stay readable when the things are gone. What came out is written whole or not
at all, so that a page may read at any time. Answers that can serve again are kept beside the folders.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from llmdemo.jobs import JobFolder
from llmdemo.store import Home, read_json, write_json


def evaluations_folder(home: Home) -> Path:
    folder = home.root / "evaluations"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class EvaluationFolder(JobFolder):
    """One evaluation on disk."""

    def read(self, name: str) -> dict:
        """config or result as a dict; empty where there is none (yet)."""
        try:
            value = read_json(self.path / f"{name}.json")
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write(self, name: str, value: dict) -> None:
        write_json(self.path / f"{name}.json", value)

    def records(self) -> list[dict]:
        """What came out for each record; empty before there is a result."""
        return list(read_lines(self.path / "records.jsonl"))

    def write_records(self, records: list[dict]) -> None:
        text = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
        target = self.path / "records.jsonl"
        part = target.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, target)


class Kept:
    """Results by key that later evaluations use again: a file of JSON lines, appended to as they come.

    A line torn by a kill is skipped when it is read, and computed again.
    """

    def __init__(self, home: Home, kind: str, about: dict):
        self.key = content_key(about)
        folder = evaluations_folder(home) / "kept"
        folder.mkdir(exist_ok=True)
        self._path = folder / f"{kind}-{self.key}.jsonl"
        self.lines = {line["id"]: line for line in read_lines(self._path) if "id" in line}

    def add(self, lines: list[dict]) -> None:
        """Keeps lines that each have an "id"; on disk when this returns."""
        text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        with open(self._path, "ab") as file:
            if file.tell() and not _ends_whole(self._path):
                text = "\n" + text
            file.write(text.encode("utf-8", "replace"))
        self.lines |= {line["id"]: line for line in lines}


def content_key(about: dict) -> str:
    """24 hex digits of SHA-256 over `about`, the same for equal content."""
    return hashlib.sha256(json.dumps(about, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:24]


def read_lines(path: Path):
    """The JSON objects of a file of lines; none if there is no file, broken lines are skipped."""
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield value
    except FileNotFoundError:
        return


def _ends_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
