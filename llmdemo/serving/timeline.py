"""Figures of served models over time, by version: cells (cells.py) of five minutes in one SQLite file, bounded. No texts.

New figures stay in memory until `flush`, which adds them to the file, so that several apps on one home folder may write.
Cells older than two days become cells of an hour; the oldest go where there are too many. A full disk loses nothing
while the app runs: what could not be written stays in memory, as much of it as the file may hold.
"""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmdemo.serving import cells
from llmdemo.serving.cells import Cell

STEP = 300
"""Seconds of a cell."""
HOUR, FINE_SECONDS = 3600, 2 * 86_400
MOST_CELLS = 50_000
"""A year of four versions by the hour; a cell takes some 500 bytes."""
MOST_POINTS = 120
_FLUSH_SECONDS = 10.0
_STEPS = (300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800)
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS cells (at INTEGER NOT NULL, name TEXT NOT NULL, model_id TEXT NOT NULL,"
    " cell TEXT NOT NULL, PRIMARY KEY (at, name, model_id)) WITHOUT ROWID"
)
Key = tuple[int, str, str]
log = logging.getLogger(__name__)


class Timeline:
    """One for the app. Any thread may call it. `clock`: seconds since 1970, which may be set back."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time):
        self._file, self._clock = file, clock
        self._lock = threading.Lock()  # of what is in memory
        self._writing = threading.Lock()  # of the file
        self._new: dict[Key, Cell] = {}
        self._flushed = time.monotonic()
        self._merged_at = 0.0
        self._told_of = ""
        self._thread: threading.Thread | None = None

    def add(self, name: str, model_id: str, cell: Cell, at: float | None = None) -> None:
        """Adds figures to the present cell, or to the one of the time `at`, as what is taken back counts no longer where it did;
        about once in ten seconds all that is new is written, by another thread."""
        key = int(self._clock() if at is None else at) // STEP * STEP, name, model_id
        with self._lock:
            cells.add(self._new.setdefault(key, {}), cell)
            due = time.monotonic() - self._flushed > _FLUSH_SECONDS
            while len(self._new) > MOST_CELLS:
                del self._new[min(self._new)]
            if due and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self.flush, name="timeline", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Writes what is new; where that fails it stays in memory until the next time, and the log says so once."""
        with self._writing:
            with self._lock:
                taken, self._new, self._flushed = self._new, {}, time.monotonic()
            if not taken:
                return
            try:
                self._write(taken)
                self._told_of = ""
            except (sqlite3.Error, OSError) as error:
                with self._lock:
                    for key, cell in taken.items():
                        cells.add(self._new.setdefault(key, {}), cell)
                if self._told_of != str(error):
                    log.warning("figures of served models could not be written and wait in memory: %s", error)
                self._told_of = str(error)

    def points(self, since: float, until: float | None = None) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """{(name, model id): [{at, seconds, … as cells.told}]} of at most 120 stretches of equal length since a time, the
        oldest first; stretches in which nothing happened are left out."""
        now = self._clock() if until is None else until
        known = self._read(since)
        if since <= 0:
            since = min((at for at, _, _ in known), default=now)
        step = next((step for step in _STEPS if (now - since) / step <= MOST_POINTS), _STEPS[-1])
        found: dict[tuple[str, str], dict[int, Cell]] = {}
        for (at, name, model_id), cell in known.items():
            cells.add(found.setdefault((name, model_id), {}).setdefault(at // step * step, {}), cell)
        return {
            key: [{"at": at, "seconds": step, **cells.told(by_time[at])} for at in sorted(by_time)]
            for key, by_time in found.items()
        }

    def _read(self, since: float) -> dict[Key, Cell]:
        """All cells that begin after `since`, or less than a cell before it."""
        first = int(since) // STEP * STEP
        known: dict[Key, Cell] = {}
        if self._file.exists():
            try:
                with self._writing, _opened(self._file) as db:
                    rows = db.execute("SELECT at, name, model_id, cell FROM cells WHERE at >= ?", (first,)).fetchall()
                known = {(at, name, model_id): json.loads(cell) for at, name, model_id, cell in rows}
            except (sqlite3.Error, ValueError) as error:
                log.warning("%s cannot be read: %s", self._file.name, error)
        with self._lock:
            for key, cell in self._new.items():
                if key[0] >= first:
                    cells.add(known.setdefault(key, {}), cell)
        return known

    def _write(self, taken: dict[Key, Cell]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with _opened(self._file) as db:
            db.execute(_SCHEMA)
            db.execute("BEGIN IMMEDIATE")
            for key, cell in taken.items():
                _add(db, key, cell)
            if time.monotonic() - self._merged_at > HOUR or not self._merged_at:
                self._merged_at = time.monotonic()
                _merge(db)
            _bound(db)


def _add(db: sqlite3.Connection, key: Key, cell: Cell) -> None:
    """Adds `cell` to what is kept under `key`."""
    row = db.execute("SELECT cell FROM cells WHERE at = ? AND name = ? AND model_id = ?", key).fetchone()
    whole = json.loads(row[0]) if row else {}
    cells.add(whole, cell)
    db.execute("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?)", (*key, json.dumps(whole)))


def _merge(db: sqlite3.Connection) -> None:
    """Cells that are two days older than the newest become cells of an hour."""
    newest = db.execute("SELECT max(at) FROM cells").fetchone()[0]
    old = db.execute(
        "SELECT at, name, model_id, cell FROM cells WHERE at < ? AND at % ? != 0", (newest - FINE_SECONDS, HOUR)
    ).fetchall()
    by_hour: dict[Key, Cell] = {}
    for at, name, model_id, cell in old:
        cells.add(by_hour.setdefault((at // HOUR * HOUR, name, model_id), {}), json.loads(cell))
        db.execute("DELETE FROM cells WHERE at = ? AND name = ? AND model_id = ?", (at, name, model_id))
    for key, cell in by_hour.items():
        _add(db, key, cell)


def _bound(db: sqlite3.Connection) -> None:
    """The oldest go where there are more than MOST_CELLS."""
    spare = db.execute("SELECT count(*) FROM cells").fetchone()[0] - MOST_CELLS
    if spare > 0:
        db.execute(
            "DELETE FROM cells WHERE (at, name, model_id) IN (SELECT at, name, model_id FROM cells ORDER BY at LIMIT ?)",
            (spare,),
        )


class _opened:
    """A connection for one change, which is whole or not there at all, and closed afterwards."""

    def __init__(self, file: Path):
        self._file = file

    def __enter__(self) -> sqlite3.Connection:
        self._db = sqlite3.connect(self._file, timeout=10, isolation_level=None)
        return self._db

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK" if kind else "COMMIT")
        finally:
            self._db.close()
