"""A job's folder: the files in it and what they tell. Knows nothing of queues, of signals, or of any kind of job.

config.json     all that the worker needs, written whole before the job exists; the key named like its kind is ours
process.json    the launched process: attempt, token, pid, identity, members (its group, as last seen)
events.jsonl    what happened; the worker writes it while it lives, we write "launch", "queued" and the
                "end" of a worker that could not
stop            present: the worker is asked to stop
log.txt, and whatever artefacts the kind makes
"""

import json
import unicodedata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from llmdemo.core.errors import UserError
from llmdemo.core.events import EventWriter
from llmdemo.core.store import Home, new_id, read_json, write_json
from llmdemo.jobs.digest import End

Config = dict[str, Any]
MOST_NAME = 100
_JOINERS = "\u200c\u200d"
"""Are not seen, but belong to words of Persian and of Indian languages, and to emoji of several parts."""


class Launched(TypedDict, total=False):
    """process.json. No key: there never was a process."""

    attempt: int
    token: str
    devices: list[str]
    pid: int
    identity: str
    members: dict[int, str]


@dataclass(frozen=True)
class JobFolder:
    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def stop(self) -> Path:
        return self.path / "stop"

    def config(self) -> Config:
        """Raises UserError when config.json is missing or broken."""
        return _object(self.path / "config.json")

    def rename(self, part: str, name: str) -> None:
        """`part`: the key of config.json that is ours."""
        config = self.config()
        write_json(self.path / "config.json", {**config, part: {**part_of(config, part), "name": name, "named": True}})

    def process(self) -> Launched:
        """What is known of the launched process."""
        try:
            known = _object(self.path / "process.json")
        except UserError:
            return {}
        members = known.get("members")
        pairs = members.items() if isinstance(members, dict) else ()
        known["members"] = {
            int(pid): who for pid, who in pairs if pid.isdecimal() and len(pid) < 19 and isinstance(who, str)
        }
        return known  # type: ignore[return-value]

    def write_process(self, known: Launched) -> None:
        write_json(self.path / "process.json", known)

    def end_line(self) -> None:
        """Ends a last line in events.jsonl that lacks its end. Only when no worker lives. Raises OSError."""
        if self.events.exists():
            writer = EventWriter(self.events)
            try:
                writer.end_line()
            finally:
                writer.close()

    def note(self, kind: str, **fields: Any) -> None:
        """Adds an event. Only when no worker lives. Raises OSError."""
        writer = EventWriter(self.events)
        try:
            writer.write(kind, **fields)
        finally:
            writer.close()

    def note_end(self, end: End) -> None:
        """Adds the event of an end that the worker did not write. Raises OSError."""
        self.note("end", **asdict(end))


def soft_delete(home: Home, path: Path, name: str) -> Path | None:
    """Moves a folder, whole, to where it may be removed in parts; returns where that is, None without a folder."""
    deleted = home.tmp / f"{new_id('deleted')}-{name}"
    try:
        path.rename(deleted)
    except FileNotFoundError:
        return None
    return deleted


def checked_name(name: object, noun: str) -> str:
    """The name on one line, of 1 to 100 characters that can be seen. Raises UserError."""
    said = " ".join(str(name).split())
    if not 0 < len(said) <= MOST_NAME:
        raise UserError("err_job_name_length", noun=noun, most=MOST_NAME, n=len(said))
    for mark in said:
        if not mark.isprintable() and mark not in _JOINERS:
            what = f"U+{ord(mark):04X} {unicodedata.name(mark, '')}".strip()
            raise UserError("err_name_character", what=what)
    return said


def checked_config(config: object, noun: str) -> Config:
    """The settings, if they are an object that JSON can keep. Raises UserError."""
    if not isinstance(config, dict):
        raise UserError("err_job_settings_no_object", noun=noun)
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError("err_settings_no_json", error=error) from error
    return config


def part_of(config: Config, key: str) -> Config:
    """The object under `key`; {} where there is none."""
    part = config.get(key)
    return part if isinstance(part, dict) else {}


def _object(path: Path) -> Config:
    try:
        value = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            "err_file_of_job_unreadable", folder=path.parent.name, file=path.name, kind=type(error).__name__
        ) from error
    if not isinstance(value, dict):
        raise UserError("err_no_json_object", folder=path.parent.name, file=path.name)
    return value
