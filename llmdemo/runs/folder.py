"""A run's folder: the files in it and what they tell. Knows nothing of the queue or of signals.

config.json     all that the worker needs, written whole before the run exists; "run" in it is ours
process.json    the launched process: attempt, token, pid, identity, members (its family, as last seen)
events.jsonl    what happened; the worker writes it while it lives, we write "launch", "queued" and the
                "end" of a worker that could not
stop            present: the worker is asked to stop
log.txt, checkpoints/, model/
"""

import time
from dataclasses import dataclass
from pathlib import Path

from llmdemo.errors import UserError
from llmdemo.events import EventWriter
from llmdemo.runs import process
from llmdemo.runs.digest import number, text
from llmdemo.runs.reader import Reader
from llmdemo.runs.states import BAD_CONFIG, FAILED, LOST, QUEUED, RUNNING, STARTING, STOPPING
from llmdemo.runs.verdict import LOST_MESSAGE, RESUME_HINT
from llmdemo.store import Home, child, new_id, read_json, whole_folder, write_json


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def stop(self) -> Path:
        return self.path / "stop"

    def config(self) -> dict:
        """Raises UserError when config.json is missing or broken."""
        return _object(self.path / "config.json")

    def rename(self, name: str) -> None:
        config = self.config()
        write_json(self.path / "config.json", {**config, "run": {**_part(config, "run"), "name": name, "named": True}})

    def newest_checkpoint(self) -> Path | None:
        """The folder of the newest checkpoint; the worker makes them whole or not at all."""
        found = sorted((self.path / "checkpoints").glob("step-*"))
        return found[-1] if found else None

    def can_go_on(self) -> bool:
        """Whether there is all here that a resumed worker needs, wherever the run began: a checkpoint and its records."""
        return self.newest_checkpoint() is not None and (self.path / "data.json").is_file()

    def has_model(self) -> bool:
        return (self.path / "model").is_dir()

    def process(self) -> dict:
        """What is known of the launched process; {} if there never was one."""
        try:
            known = _object(self.path / "process.json")
        except UserError:
            return {}
        members = known.get("members")
        pairs = members.items() if isinstance(members, dict) else ()
        known["members"] = {int(pid): who for pid, who in pairs if pid.isdigit() and isinstance(who, str)}
        return known

    def write_process(self, known: dict) -> None:
        write_json(self.path / "process.json", known)

    def end_line(self) -> None:
        """Ends a last line in events.jsonl that lacks its end. Only when no worker lives. Raises OSError."""
        if self.events.exists():
            writer = EventWriter(self.events)
            try:
                writer.end_line()
            finally:
                writer.close()

    def note(self, kind: str, **fields) -> None:
        """Adds an event. Only when no worker lives. Raises OSError."""
        writer = EventWriter(self.events)
        try:
            writer.write(kind, **fields)
        finally:
            writer.close()


def make_folder(home: Home, run_id: str, config: dict) -> None:
    """Makes the run's folder with its config.json, whole or not at all."""
    with whole_folder(home.runs / run_id, home.tmp) as folder:
        write_json(folder / "config.json", config)


def bury(home: Home, run_id: str) -> Path | None:
    """Moves the run's folder, whole, to where it may be removed in parts; returns where that is, None without a folder."""
    grave = home.tmp / f"{new_id('deleted')}-{run_id}"
    try:
        child(home.runs, run_id).rename(grave)
    except FileNotFoundError:
        return None
    return grave


def recovered_row(folder: RunFolder) -> dict:
    """The row of the table for a run of which only the folder is left: arguments of Table.add."""
    try:
        about = _part(folder.config(), "run")
        problem = {}
    except UserError as error:
        about, problem = {}, {"reason": BAD_CONFIG, "message": error.message, "hint": error.hint}
    known = folder.process()
    row = {
        "run_id": folder.path.name,
        "name": text(about.get("name"), 200) or folder.path.name,
        "created": number(about.get("created")) or time.time(),
        "attempt": int(number(known.get("attempt")) or 0),
        "imported": int(bool(about.get("imported"))),
        "token": text(known.get("token"), 200),
        **problem,
    }
    return row | ({"state": FAILED} if problem else _recovered_state(folder, known, row["token"]))


def _recovered_state(folder: RunFolder, known: dict, token: str) -> dict:
    pid, identity = int(number(known.get("pid")) or 0), text(known.get("identity"), 200)
    lives = bool(process.family(pid, identity, token, known.get("members")))
    if not lives:
        folder.end_line()
    with Reader(folder.events).digest() as digest:
        started, end, launched = digest.started, digest.end, digest.launched or digest.started
        figures = digest.status()
    if lives:
        state = STOPPING if folder.stop.exists() else RUNNING if started else STARTING
        return {"state": state, "pid": pid, "identity": identity}
    if end:
        return {**end, "digest": figures}
    if launched:
        return {"state": FAILED, "reason": LOST, "message": LOST_MESSAGE, "hint": RESUME_HINT, "digest": figures}
    return {"state": QUEUED, "digest": figures}


def _object(path: Path) -> dict:
    try:
        value = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path.parent.name}/{path.name} cannot be read ({type(error).__name__}).", "Delete the run."
        ) from error
    if not isinstance(value, dict):
        raise UserError(f"{path.parent.name}/{path.name} holds no JSON object.", "Delete the run.")
    return value


def _part(config: dict, key: str) -> dict:
    return config[key] if isinstance(config.get(key), dict) else {}
