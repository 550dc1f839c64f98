"""Brings the table of runs in line with the run folders: they are what counts. Knows nothing of how runs are watched."""

import logging
import os
import shutil
import sqlite3
import time

from llmdemo.errors import UserError
from llmdemo.runs.folder import RunFolder, recovered_row
from llmdemo.runs.states import ALIVE, BAD_CONFIG, FAILED
from llmdemo.runs.table import Damaged, Table
from llmdemo.store import Home, child, new_id, sweep

log = logging.getLogger(__name__)


def open_table(home: Home, repair: bool) -> tuple[Table, bool]:
    """(the table of `home`, whether it is a new one in place of a damaged file). Raises sqlite3.Error.

    With `repair`, a damaged file is put aside; else it raises Damaged.
    """
    try:
        return Table(home.database), False
    except sqlite3.DatabaseError as error:
        # Locked, or the disk is full: nothing is wrong with the file, and a second truth beside it would be.
        if not repair or not (isinstance(error, Damaged) or _is_read_only(home, error)):
            raise
        put_aside(home, getattr(error, "message", error))
    return Table(home.database), True


def _is_read_only(home: Home, error: Exception) -> bool:
    """Whether the file cannot be written though its folder can: then one of our own can take its place."""
    return "readonly" in str(error) and home.database.exists() and os.access(home.root, os.W_OK)


def put_aside(home: Home, why: object) -> None:
    """Renames the file of the table, and what belongs to it, so that a new one can be made; it stays in the home folder."""
    ending = new_id("damaged")
    for suffix in ("", "-wal", "-shm"):
        path = home.database.with_name(home.database.name + suffix)
        if path.exists():
            path.rename(path.with_name(f"{path.name}.{ending}"))
    log.warning(
        "%s cannot be used (%s). It is kept as %s; the list is made again from the run folders.",
        *(home.database.name, why, f"{home.database.name}.{ending}"),
    )


def remake(home: Home, table: Table) -> None:
    """Puts a table aside that was damaged while in use and makes it again; who asks meanwhile is told to wait."""
    table.replace(lambda: put_aside(home, "it was damaged while in use"))
    recover(home, table, leads=True)


def recover(home: Home, table: Table, leads: bool) -> None:
    """Adds runs of which only the folder is known, forgets those without one; who leads also tidies up.

    A run that may have a process is left to the supervisor, whatever became of its folder.
    """
    known = {row["run_id"] for row in table.all()}
    folders = {path.name for path in home.runs.iterdir() if path.is_dir()}
    # Reading takes its time, so others may write meanwhile, and each finding is looked at again before it counts.
    found = [row for name in folders - known if (row := _found(home, name))]
    with table.transaction():
        for run_id in known - folders:
            row = table.get(run_id)
            if row and row["state"] not in ALIVE and not (home.runs / run_id).exists():
                table.remove(run_id)
        for row in sorted(found, key=lambda row: (row["created"], row["run_id"])):
            if table.get(row["run_id"]) is None and (home.runs / row["run_id"]).exists():
                _add(table, row)
    if leads:
        _tidy(home, table)


def _found(home: Home, name: str) -> dict | None:
    try:
        return recovered_row(RunFolder(child(home.runs, name)))
    except UserError:
        return None  # a link, or a name that is not ours
    except Exception as error:  # the folder may come from anybody: no content of it may keep the app from starting
        log.exception("run %s: its folder cannot be understood", name)
        return _odd_row(name, error)


def _add(table: Table, row: dict) -> None:
    try:
        table.add(**row)
    except sqlite3.OperationalError:
        raise  # locked, or the disk is full: nothing is wrong with the row
    except Exception as error:
        log.exception("run %s: it cannot be put in the table", row["run_id"])
        table.add(**_odd_row(row["run_id"], error))


def _odd_row(run_id: str, error: Exception) -> dict:
    why = getattr(error, "strerror", None) or type(error).__name__
    return {
        "run_id": run_id,
        "name": run_id,
        "created": time.time(),
        "state": FAILED,
        "reason": BAD_CONFIG,
        "message": f"What is in the folder of this run cannot be understood ({why}).",
        "hint": f"Delete the run, or look into {run_id} in the home folder.",
    }


def _tidy(home: Home, table: Table) -> None:
    sweep(home.tmp)
    for grave in home.tmp.glob("deleted[-.]*"):
        shutil.rmtree(grave, ignore_errors=True)
    try:
        table.keep_reserve()
    except OSError as error:
        log.warning("no reserve for a full disk: %s", error)
