"""Brings the table of runs in line with the run folders: they are what counts. Knows nothing of how runs are watched."""

import logging
import shutil
import sqlite3

from llmdemo.errors import UserError
from llmdemo.runs.folder import RunFolder, recovered_row
from llmdemo.runs.states import ALIVE
from llmdemo.runs.table import Table
from llmdemo.store import Home, child, new_id, sweep

log = logging.getLogger(__name__)


def open_table(home: Home, repair: bool) -> Table:
    """The table of `home`; with `repair`, a damaged file is put aside and an empty one made. Raises sqlite3.Error."""
    try:
        return Table(home.database)
    except sqlite3.OperationalError:
        raise  # locked, or the disk is full: nothing is wrong with the file
    except sqlite3.DatabaseError:
        if not repair:
            raise
    for suffix in ("", "-wal", "-shm"):
        path = home.database.with_name(home.database.name + suffix)
        if path.exists():
            path.rename(path.with_name(f"{path.name}.{new_id('damaged')}"))
    return Table(home.database)


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
                table.add(**row)
    if leads:
        _tidy(home, table)


def _found(home: Home, name: str) -> dict | None:
    try:
        return recovered_row(RunFolder(child(home.runs, name)))
    except UserError:
        return None  # a link, or a name that is not ours


def _tidy(home: Home, table: Table) -> None:
    sweep(home.tmp)
    for grave in home.tmp.glob("deleted[-.]*"):
        shutil.rmtree(grave, ignore_errors=True)
    try:
        table.keep_reserve()
    except OSError as error:
        log.warning("no reserve for a full disk: %s", error)
