"""An evaluation's folder: a job's, with result.json and records.jsonl. Knows nothing of models or of processes.

config.json holds the spec and titles that stay readable when the things are gone. What came out is written whole or not
at all, so that a page may read at any time. Answers that can serve again are kept beside the folders.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.json_lines import append_lines, read_lines
from llmdemo.core.store import Home, read_json, write_json
from llmdemo.evaluation.kept_files import odd_config, odd_mistakes, odd_records, odd_result
from llmdemo.jobs import JobFolder


def evaluations_folder(home: Home) -> Path:
    folder = home.root / "evaluations"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class EvaluationFolder(JobFolder):
    """One evaluation on disk."""

    def read(self, name: str) -> dict:
        """A file of JSON as a dict; empty where there is none (yet), or no object in it."""
        try:
            value = read_json(self.path / f"{name}.json")
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def about(self) -> dict:
        """The spec and the titles of config.json. Raises UserError where they are damaged."""
        config = self.config()
        about = {key: config.get(key) or {} for key in ("spec", "titles")}
        self._require(odd_config(about), "config.json")
        return about

    def result(self) -> dict:
        """What came out; {} before there is anything. Raises UserError where it is damaged."""
        try:
            value = read_json(self.path / "result.json")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self._require(str(error)[:100] or type(error).__name__, "result.json")
        self._require(odd_result(value), "result.json")
        return value

    def _require(self, problem: str, name: str) -> None:
        if problem:
            raise UserError("err_evaluation_damaged", name=name, id=self.id, problem=problem)

    def write(self, name: str, value: dict) -> None:
        write_json(self.path / f"{name}.json", value)

    def records(self) -> list[dict]:
        """What came out for each record; empty before there is a result. Raises UserError where they are damaged."""
        found = list(read_lines(self.path / "records.jsonl"))
        self._require(odd_records(found), "records.jsonl")
        return found

    def require_records(self, result: dict, records: list[dict]) -> None:
        """Raises UserError where a classifier's result names records that are not there."""
        self._require(odd_mistakes(result, records), "records.jsonl")

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
        append_lines(self._path, lines)
        self.lines |= {line["id"]: line for line in lines}


def content_key(about: dict) -> str:
    """24 hex digits of SHA-256 over `about`, the same for equal content."""
    return hashlib.sha256(json.dumps(about, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:24]
