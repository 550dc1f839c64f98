"""The queue and the states of all runs, in SQLite. Knows nothing of processes or of what a run does.

Every change is one transaction (BEGIN IMMEDIATE), so that any number of threads, and of apps on one home
folder, see one truth. Order is `seq` and `position`, never the clock. The run folders hold all that is
needed to make this table again.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llmdemo.errors import NotNow
from llmdemo.runs.states import ALIVE, FINAL, LEGAL, QUEUED, REASONS, is_legal
from llmdemo.store import is_id

_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  created REAL NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  hint TEXT NOT NULL DEFAULT '',
  position INTEGER,           -- place in the queue while queued
  attempt INTEGER NOT NULL DEFAULT 0,
  imported INTEGER NOT NULL DEFAULT 0,  -- came from another installation
  token TEXT NOT NULL DEFAULT '',  -- in the environment of every process of the attempt
  pid INTEGER,
  identity TEXT NOT NULL DEFAULT '',
  stop_phase TEXT NOT NULL DEFAULT '',
  stop_deadline REAL,         -- time.monotonic() at which the phase is over
  digest TEXT                 -- JSON: the last figures, once the run has ended
);
CREATE TABLE IF NOT EXISTS transitions (
  run_id TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, t REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS transitions_of ON transitions (run_id);
"""
_COLUMNS = {
    "name",
    "message",
    "hint",
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
_BALLAST_BYTES = 256 * 1024
_LOCK_SECONDS = 30.0
_NOT_THE_FILE = (
    *("locked", "full", "disk i/o", "unable to open", "readonly", "out of memory", "interrupted", "closed"),
    "cannot start a transaction",
)
"""Words of sqlite3's errors that tell of the disk, of rights or of another program; the file itself may be sound."""


class Damaged(NotNow, sqlite3.DatabaseError):
    """What the file holds is no table of runs. The run folders hold the truth, of which it is made again."""

    def __init__(self, why: object):
        super().__init__(
            f"The list of runs is damaged ({str(why)[:100]}).",
            "The app makes it again from the folders of the runs: try again in a few seconds.",
        )


def is_damage(error: BaseException) -> bool:
    """Whether this error, met when the table was asked, comes from what its file holds."""
    if isinstance(error, UnicodeDecodeError):  # sqlite3 could not read its own message, which quotes the file
        return True
    if isinstance(error, sqlite3.IntegrityError) or not isinstance(error, sqlite3.DatabaseError):
        return False
    return not any(word in str(error).lower() for word in _NOT_THE_FILE)


class IllegalTransition(Exception):
    """The run is not in a state from which it can go there; `row` is how it is (None: no such run)."""

    def __init__(self, row: dict | None, after: str):
        super().__init__(f"{row and row['run_id']}: {row and row['state']} -> {after}")
        self.row = row


class Table:
    """The table in the file `path`, which is made when missing. Raises Damaged for a file that holds none, and
    sqlite3.OperationalError for one that cannot be opened now.

    `damaged`: somebody met damage since it was opened; whoever leads makes it again (`replace`).
    """

    def __init__(self, path: Path):
        self._path, self._lock = path, threading.RLock()
        # On a full disk the truth must still be written: this file gives its space for it.
        self._ballast = path.with_name(path.name + ".reserve")
        self._open()

    def _open(self) -> None:
        self.damaged = False
        self._db = sqlite3.connect(self._path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        try:
            with self._held():
                self._check()  # before anything is written: a damaged file is kept as it was found
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute(f"PRAGMA user_version = {_VERSION}")
                self._db.executescript(_SCHEMA)
                self._file = _identity(self._path)
        except BaseException:
            self._db.close()
            raise

    def _check(self) -> None:
        """Raises sqlite3.DatabaseError for a file that is no whole database, or holds what this app does not write.

        A table of another version is not read either: it can be made again from the run folders.
        """
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"it was made by another version of this app ({version}, not {_VERSION})")
        if self._db.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("its pages do not fit together")
        if not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            return  # a new file
        names = ", ".join(("run_id", "created", "state", "position", *sorted(_COLUMNS)))
        for row in self._db.execute(f"SELECT {names} FROM runs"):
            if not _is_sound(row):
                raise sqlite3.DatabaseError("a row holds what no run can be")
        for row in self._db.execute("SELECT run_id, state, reason, t FROM transitions"):
            if row["state"] not in LEGAL or row["reason"] not in ("", *REASONS) or not isinstance(row["t"], float):
                raise sqlite3.DatabaseError("a transition is none that a run can make")

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
                if not is_damage(error):
                    raise
                self.damaged = True
                raise Damaged(error) from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # -- reading

    def get(self, run_id: str) -> dict | None:
        rows = self._select("WHERE run_id = ?", run_id)
        return rows[0] if rows else None

    def all(self) -> list[dict]:
        """Every run, the newest first."""
        return self._select("ORDER BY seq DESC")

    def queue(self) -> list[dict]:
        """The waiting runs, the next one first."""
        return self._select("WHERE state = ? ORDER BY position, seq", QUEUED)

    def alive(self) -> list[dict]:
        """Runs that may have a process, the oldest first."""
        return self._select(f"WHERE state IN ({_marks(ALIVE)}) ORDER BY seq", *ALIVE)

    def unfinished(self) -> int:
        """How many runs are not in a final state."""
        with self._held():
            query = f"SELECT count(*) FROM runs WHERE state NOT IN ({_marks(FINAL)})"
            return self._db.execute(query, FINAL).fetchone()[0]

    def transitions(self, run_id: str) -> list[dict]:
        """[{state, reason, t}] in the order in which they happened."""
        with self._held():
            query = "SELECT state, reason, t FROM transitions WHERE run_id = ? ORDER BY rowid"
            return [dict(row) for row in self._db.execute(query, (run_id,))]

    def version(self) -> int:
        """A number that changes when somebody else writes."""
        with self._held():
            if _identity(self._path) != self._file:
                self._db.close()  # whoever leads has made it again
                self._open()
            return self._db.execute("PRAGMA data_version").fetchone()[0]

    def _select(self, where: str, *values) -> list[dict]:
        with self._held():
            return [dict(row) for row in self._db.execute(f"SELECT * FROM runs {where}", values)]

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
        if not self._ballast.exists():
            self._ballast.write_bytes(b"\0" * _BALLAST_BYTES)

    def spend_reserve(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def add(self, run_id: str, name: str, created: float, state: str, **columns) -> None:
        """A new row, at the end of the queue if it is queued."""
        if not is_legal(None, state):
            raise IllegalTransition(None, state)
        with self.transaction() as db:
            query = "INSERT INTO runs (run_id, name, created, state, position) VALUES (?, ?, ?, ?, ?)"
            position = self._last_position() + 1 if state == QUEUED else None
            db.execute(query, (run_id, name, created, state, position))
            self._note(run_id, state, columns.get("reason", ""))
            self._set(run_id, columns)

    def move(self, run_id: str, after: str, *, only_from: tuple[str, ...] | None = None, **columns) -> dict:
        """Takes the run to the state `after`, if that is legal (and it is in `only_from`); returns the new row.

        `columns` are set with it. Raises IllegalTransition.
        """
        with self.transaction():
            row = self.get(run_id)
            if row is None or not is_legal(row["state"], after) or (only_from and row["state"] not in only_from):
                raise IllegalTransition(row, after)
            values = {"reason": "", "message": "", "hint": "", **columns}
            if after in (QUEUED, *FINAL):
                values |= {"pid": None, "identity": "", "stop_phase": "", "stop_deadline": None}
            self._db.execute(
                "UPDATE runs SET state = ?, position = ? WHERE run_id = ?",
                (after, self._last_position() + 1 if after == QUEUED else None, run_id),
            )
            self._set(run_id, values)
            self._note(run_id, after, values["reason"])
            return self.get(run_id)

    def set(self, run_id: str, **columns) -> None:
        """Sets columns other than the state."""
        with self.transaction():
            self._set(run_id, columns)

    def remove(self, run_id: str) -> None:
        """Forgets a run without a process; raises IllegalTransition for one that may have one."""
        with self.transaction() as db:
            row = self.get(run_id)
            if row and row["state"] in ALIVE:
                raise IllegalTransition(row, "deleted")
            db.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
            db.execute("DELETE FROM transitions WHERE run_id = ?", (run_id,))

    def reorder(self, run_id: str, place: int) -> None:
        """Puts a waiting run at `place` (0 is the next one); raises IllegalTransition if it does not wait."""
        with self.transaction() as db:
            waiting = [row["run_id"] for row in self.queue()]
            if run_id not in waiting:
                raise IllegalTransition(self.get(run_id), "reordered")
            waiting.remove(run_id)
            waiting.insert(max(0, place), run_id)
            for position, each in enumerate(waiting, 1):
                db.execute("UPDATE runs SET position = ? WHERE run_id = ?", (position, each))

    def _set(self, run_id: str, columns: dict) -> None:
        for name, value in columns.items():
            if name not in _COLUMNS:
                raise KeyError(name)
            value = json.dumps(value, allow_nan=False) if name == "digest" and value is not None else value
            self._db.execute(f"UPDATE runs SET {name} = ? WHERE run_id = ?", (value, run_id))

    def _note(self, run_id: str, state: str, reason: str) -> None:
        self._db.execute("INSERT INTO transitions VALUES (?, ?, ?, ?)", (run_id, state, reason, time.time()))

    def _last_position(self) -> int:
        return self._db.execute("SELECT coalesce(max(position), 0) FROM runs").fetchone()[0]


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells the file at `path` from another one that takes its name; None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_sound(row: sqlite3.Row) -> bool:
    """Whether the columns of a run hold what `Table` writes there: a flipped byte changes a type or a word."""
    texts = (row[name] for name in ("run_id", "name", "message", "hint", "token", "identity", "stop_phase"))
    numbers = (row[name] for name in ("position", "pid", "stop_deadline"))
    try:
        digest = json.loads(row["digest"] or "{}")
    except (ValueError, TypeError, RecursionError):
        return False
    return (
        row["state"] in LEGAL
        and row["reason"] in ("", *REASONS)
        and isinstance(digest, dict)
        and isinstance(row["created"], float)
        and isinstance(row["attempt"], int)
        and all(isinstance(value, str) for value in texts)
        and is_id(row["run_id"])
        and all(value is None or isinstance(value, (int, float)) for value in numbers)
    )


def _marks(values: tuple) -> str:
    return ", ".join("?" * len(values))
