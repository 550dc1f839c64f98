"""The queue and the states of all jobs, in SQLite. Knows nothing of processes or of what a job does.

Every change is one transaction (BEGIN IMMEDIATE), so that any number of threads, and of apps on one home
folder, see one truth. Order is `seq` and `position`, never the clock. It is an index: the job
folders hold all that is needed to make it again.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from llmdemo.core.sentences import beside, pack, restored
from llmdemo.jobs.damage import Damaged, is_damage, is_sound
from llmdemo.jobs.states import ALIVE, FINAL, LEGAL, QUEUED, REASONS, is_legal

_VERSION = 4
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL DEFAULT 'run',
  name TEXT NOT NULL,
  created REAL NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  hint TEXT NOT NULL DEFAULT '',
  said TEXT NOT NULL DEFAULT '',  -- JSON: key and values of message and hint, where they have some
  position INTEGER,           -- place in the queue while queued
  attempt INTEGER NOT NULL DEFAULT 0,
  imported INTEGER NOT NULL DEFAULT 0,  -- came from another installation
  token TEXT NOT NULL DEFAULT '',  -- in the environment of every process of the attempt
  pid INTEGER,
  identity TEXT NOT NULL DEFAULT '',
  stop_phase TEXT NOT NULL DEFAULT '',
  stop_deadline REAL,         -- time.monotonic() at which the phase is over
  digest TEXT                 -- JSON: the last figures, once the job has ended
);
CREATE TABLE IF NOT EXISTS transitions (
  job_id TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, t REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS transitions_of ON transitions (job_id);
"""
_COLUMNS = {
    "name",
    "message",
    "hint",
    "said",
    "reason",
    "attempt",
    "imported",
    "token",
    "pid",
    "identity",
    "stop_phase",
    "stop_deadline",
    "digest",
}
_SAID = "ALTER TABLE jobs ADD COLUMN said TEXT NOT NULL DEFAULT ''"
# Version 2 knew runs only. Its rows are as good as ours: the order of the queue, for one, is in no folder.
_FROM = {
    2: (
        "ALTER TABLE runs RENAME TO jobs",
        "ALTER TABLE jobs RENAME COLUMN run_id TO job_id",
        "ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'run'",
        "ALTER TABLE transitions RENAME COLUMN run_id TO job_id",
        _SAID,
    ),
    3: (_SAID,),
}
_RESERVE_BYTES = 256 * 1024
_LOCK_SECONDS = 30.0


@dataclass(frozen=True)
class Job:
    """A row of the table."""

    job_id: str
    kind: str
    name: str
    created: float
    state: str
    reason: str
    message: str
    hint: str
    said: str
    position: int | None
    attempt: int
    imported: bool
    token: str
    pid: int | None
    identity: str
    stop_phase: str
    stop_deadline: float | None
    digest: str | None


_FIELDS = ", ".join(field.name for field in fields(Job))


class IllegalTransition(Exception):
    """The job is not in a state from which it can go there, or there is none."""

    def __init__(self, job: Job | None, after: str):
        super().__init__(f"{job and job.job_id}: {job and job.state} -> {after}")


class Table:
    """The table in the file `path`, which is made when missing. Raises Damaged for a file that holds none, and
    sqlite3.OperationalError for one that cannot be opened now.

    `damaged`: somebody met damage since it was opened; whoever leads makes it again (`replace`).
    """

    def __init__(self, path: Path):
        self._path, self._lock, self._opened = path, threading.RLock(), 0
        # On a full disk the truth must still be written: this file gives its space for it.
        self._reserve = path.with_name(path.name + ".reserve")
        self._open()

    def _open(self) -> None:
        before, self.damaged = getattr(self, "_db", None), False
        self._db = sqlite3.connect(self._path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            with self._held():
                self._check()  # before anything is written: a damaged file is kept as it was found
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._migrate()
                self._db.executescript(_SCHEMA)
                self._file, self._opened = _identity(self._path), self._opened + 1
        except BaseException:
            self._db.close()
            self._db = before or self._db  # whoever asks meanwhile reads what was known, or is told of the damage
            raise
        if before is not None:
            before.close()

    def _check(self) -> None:
        """Raises sqlite3.DatabaseError for a file that is no whole database, or holds what this app does not write.

        A table of a later version is not read either: it can be made again from the job folders.
        """
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, *_FROM, _VERSION):
            raise sqlite3.DatabaseError(f"it was made by another version of this app ({version}, not {_VERSION})")
        if self._db.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("its pages do not fit together")
        if not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            return  # a new file
        table, id_, kind = ("runs", "run_id", "'run'") if version == 2 else ("jobs", "job_id", "kind")
        names = _FIELDS.replace("job_id, kind", f"{id_}, {kind}")
        names = names if version == _VERSION else names.replace(" said,", " '',")
        for row in self._db.execute(f"SELECT {names} FROM {table}"):
            if not is_sound(asdict(Job(*row))):
                raise sqlite3.DatabaseError("a row holds what no job can be")
        for _, state, reason, t in self._db.execute(f"SELECT {id_}, state, reason, t FROM transitions"):
            if state not in LEGAL or reason not in ("", *REASONS) or not isinstance(t, float):
                raise sqlite3.DatabaseError("a transition is none that a job can make")

    def _migrate(self) -> None:
        with self.transaction() as db:  # two apps may open it at once
            for statement in _FROM.get(db.execute("PRAGMA user_version").fetchone()[0], ()):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")

    def replace(self, put_aside: Callable[[], None]) -> None:
        """Closes the file, lets `put_aside` move it away, and goes on with a new one, which is empty."""
        with self._lock:
            self._db.close()
            try:
                put_aside()
                self._open()
            except BaseException:
                self.damaged = True  # the disk is full, say: it is tried again
                raise

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Around every use of the file, which one thread makes at a time; damage is raised as such, and remembered."""
        with self._lock:
            try:
                yield
            except Damaged:
                raise
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if not is_damage(error) and not (self.damaged and "closed" in str(error)):
                    raise
                self.damaged = True
                raise Damaged(error) from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # -- reading

    def get(self, job_id: str) -> Job | None:
        found = self._select("WHERE job_id = ?", job_id)
        return found[0] if found else None

    def all(self, *kinds: str) -> list[Job]:
        """Every job of these kinds, the newest first."""
        return self._select(f"WHERE kind IN ({_marks(kinds)}) ORDER BY seq DESC", *kinds)

    def queue(self, kind: str) -> list[Job]:
        """The waiting jobs, the next one first."""
        return self._select("WHERE kind = ? AND state = ? ORDER BY position, seq", kind, QUEUED)

    def alive(self, *kinds: str) -> list[Job]:
        """Jobs that may have a process, the oldest first."""
        where = f"WHERE kind IN ({_marks(kinds)}) AND state IN ({_marks(ALIVE)}) ORDER BY seq"
        return self._select(where, *kinds, *ALIVE)

    def unfinished(self, *kinds: str) -> int:
        """How many jobs are not in a final state."""
        with self._held():
            query = f"SELECT count(*) FROM jobs WHERE kind IN ({_marks(kinds)}) AND state NOT IN ({_marks(FINAL)})"
            return int(self._db.execute(query, (*kinds, *FINAL)).fetchone()[0])

    def transitions(self, job_id: str) -> list[dict[str, Any]]:
        """[{state, reason, t}] in the order in which they happened."""
        with self._held():
            query = "SELECT state, reason, t FROM transitions WHERE job_id = ? ORDER BY rowid"
            return [
                {"state": state, "reason": reason, "t": t} for state, reason, t in self._db.execute(query, (job_id,))
            ]

    def version(self) -> int:
        """A number that changes when somebody else writes.

        A file that is another one, since whoever leads has made it again, or that was written to is read anew: SQLite would
        answer from its memory, for as long as nobody changes the table, and damage be met at the next start.
        """
        with self._held():
            if _identity(self._path) != self._file:
                self._open()
            return self._opened * 2**32 + int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def _select(self, where: str, *values: object) -> list[Job]:
        with self._held():
            return [_job(row) for row in self._db.execute(f"SELECT {_FIELDS} FROM jobs {where}", values)]

    # -- writing

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done inside happens, or nothing; nobody else writes meanwhile. May be nested: what fails inside
        is then undone alone, if whoever is outside goes on."""
        with self._held():
            if self._db.in_transaction:
                with self._part():
                    yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
                    self.spend_reserve()  # so that the next try succeeds
                raise

    @contextmanager
    def _part(self) -> Iterator[None]:
        self._db.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk may have ended the whole
                self._db.execute("ROLLBACK TO part")
                self._db.execute("RELEASE part")
            raise
        self._db.execute("RELEASE part")

    def keep_reserve(self) -> None:
        """Makes the file that gives up its space when the disk is full. Raises OSError when it is full now."""
        if not self._reserve.exists():
            self._reserve.write_bytes(b"\0" * _RESERVE_BYTES)

    def spend_reserve(self) -> None:
        self._reserve.unlink(missing_ok=True)

    def add(self, job_id: str, kind: str, name: str, created: float, state: str, **columns: Any) -> None:
        """A new row, at the end of the queue if it is queued."""
        if not is_legal(None, state):
            raise IllegalTransition(None, state)
        with self.transaction() as db:
            query = "INSERT INTO jobs (job_id, kind, name, created, state, position) VALUES (?, ?, ?, ?, ?, ?)"
            position = self._last_position() + 1 if state == QUEUED else None
            db.execute(query, (job_id, kind, name, created, state, position))
            self._note(job_id, state, columns.get("reason", ""))
            self._set(job_id, columns)

    def move(self, job_id: str, after: str, *, only_from: tuple[str, ...] | None = None, **columns: Any) -> Job:
        """Takes the job to the state `after`, if that is legal (and it is in `only_from`); returns it as it is then.

        `columns` are set with it. Raises IllegalTransition.
        """
        with self.transaction():
            job = self.get(job_id)
            if job is None or not is_legal(job.state, after) or (only_from and job.state not in only_from):
                raise IllegalTransition(job, after)
            values = {"reason": "", "message": "", "hint": "", **columns}
            if after in (QUEUED, *FINAL):
                values |= {"pid": None, "identity": "", "stop_phase": "", "stop_deadline": None}
            self._db.execute(
                "UPDATE jobs SET state = ?, position = ? WHERE job_id = ?",
                (after, self._last_position() + 1 if after == QUEUED else None, job_id),
            )
            self._set(job_id, values)
            self._note(job_id, after, values["reason"])
            return self._select("WHERE job_id = ?", job_id)[0]

    def set(self, job_id: str, **columns: Any) -> None:
        """Sets columns other than the state."""
        with self.transaction():
            self._set(job_id, columns)

    def remove(self, job_id: str) -> None:
        """Forgets a job without a process; raises IllegalTransition for one that may have one."""
        with self.transaction() as db:
            job = self.get(job_id)
            if job and job.state in ALIVE:
                raise IllegalTransition(job, "deleted")
            db.execute("DELETE FROM jobs WHERE job_id = ?", (job_id,))
            db.execute("DELETE FROM transitions WHERE job_id = ?", (job_id,))

    def reorder(self, job_id: str, place: int) -> None:
        """Puts a waiting job at `place` (0 is the next one) among its kind; raises IllegalTransition if it does not wait."""
        with self.transaction() as db:
            job = self.get(job_id)
            waiting = [each.job_id for each in self.queue(job.kind)] if job else []
            if job_id not in waiting:
                raise IllegalTransition(job, "reordered")
            waiting.remove(job_id)
            waiting.insert(max(0, place), job_id)
            for position, each in enumerate(waiting, 1):
                db.execute("UPDATE jobs SET position = ? WHERE job_id = ?", (position, each))

    def _set(self, job_id: str, columns: dict[str, Any]) -> None:
        if "message" in columns or "hint" in columns:
            said = beside({name: columns[name] for name in ("message", "hint") if name in columns})
            columns = {**columns, "said": json.dumps(said) if said else ""}
        for name, value in columns.items():
            if name not in _COLUMNS:
                raise KeyError(name)
            value = json.dumps(pack(value), allow_nan=False) if name == "digest" and value is not None else value
            self._db.execute(f"UPDATE jobs SET {name} = ? WHERE job_id = ?", (value, job_id))

    def _note(self, job_id: str, state: str, reason: str) -> None:
        self._db.execute("INSERT INTO transitions VALUES (?, ?, ?, ?)", (job_id, state, reason, time.time()))

    def _last_position(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()[0])


def _job(row: tuple[Any, ...]) -> Job:
    job = Job(*row)
    if not job.said:
        return job
    texts = restored({"message": job.message, "hint": job.hint}, json.loads(job.said))
    return replace(job, message=texts["message"], hint=texts["hint"])


def _identity(path: Path) -> tuple[int, ...] | None:
    """What tells the file at `path` from another one that takes its name, and from what it was before somebody wrote to it
    (SQLite does so now and then only, when it moves its journal there); None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))
