"""Brings the table of jobs in line with the job folders: they are what counts. Knows nothing of how jobs are watched."""

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, child, new_id, sweep
from llmdemo.jobs import process
from llmdemo.jobs.damage import Damaged
from llmdemo.jobs.diagnosis import lost
from llmdemo.jobs.digest import number, text
from llmdemo.jobs.folder import JobFolder, part_of
from llmdemo.jobs.kinds import Kind
from llmdemo.jobs.reader import Reader
from llmdemo.jobs.states import ALIVE, BAD_CONFIG, FAILED, QUEUED, RUNNING, STARTING, STOPPING
from llmdemo.jobs.table import Table

Columns = dict[str, Any]
"""Arguments of Table.add."""
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
    for suffix in ("-wal", "-shm", ""):  # the file last: another app takes its absence for a new one's beginning
        path = home.database.with_name(home.database.name + suffix)
        if path.exists():
            path.rename(path.with_name(f"{path.name}.{ending}"))
    log.warning(
        "%s cannot be used (%s). It is kept as %s; the list is made again from the run folders.",
        *(home.database.name, why, f"{home.database.name}.{ending}"),
    )


def remake(home: Home, table: Table, kinds: Iterable[Kind]) -> None:
    """Puts a table aside that was damaged while in use and makes it again; who asks meanwhile is told to wait."""
    table.replace(lambda: put_aside(home, "it was damaged while in use"))
    for kind in kinds:
        recover(home, table, kind)
    tidy(home, table)


def recover(home: Home, table: Table, kind: Kind) -> None:
    """Adds jobs of which only the folder is known, forgets those without one.

    A job that may have a process is left to the supervisor, whatever became of its folder.
    """
    root = home.root / kind.folder
    known = {job.job_id for job in table.all(kind.name)}
    folders = {path.name for path in root.iterdir() if kind.owns(path.name) and path.is_dir()}
    # Reading takes its time, so others may write meanwhile, and each finding is looked at again before it counts.
    found = [row for name in folders - known if (row := _found(home, kind, name))]
    with table.transaction():
        for job_id in known - folders:
            job = table.get(job_id)
            if job and job.state not in ALIVE and not (root / job_id).exists():
                table.remove(job_id)
        for row in sorted(found, key=lambda row: (row["created"], row["job_id"])):
            if table.get(row["job_id"]) is None and (root / row["job_id"]).exists():
                _add(table, row)


def tidy(home: Home, table: Table) -> None:
    """Removes what was deleted in part only, and makes the reserve for a full disk."""
    sweep(home.tmp)
    for deleted in home.tmp.glob("deleted[-.]*"):
        shutil.rmtree(deleted, ignore_errors=True)
    try:
        table.keep_reserve()
    except OSError as error:
        log.warning("no reserve for a full disk: %s", error)


def recovered_row(kind: Kind, folder: JobFolder) -> Columns:
    """The row of the table for a job of which only the folder is left."""
    try:
        kind.take_over(folder)
        about, problem = part_of(folder.config(), kind.name), {}
    except UserError as error:
        about, problem = {}, {"reason": BAD_CONFIG, "message": error.message, "hint": error.hint}
    known = folder.process()
    token = text(known.get("token"), 200)
    row = {
        "job_id": folder.id,
        "kind": kind.name,
        "name": text(about.get("name"), 200) or folder.id,
        "created": number(about.get("created")) or time.time(),
        "attempt": int(number(known.get("attempt")) or 0),
        "imported": int(bool(about.get("imported"))),
        "token": token,
        **problem,
    }
    return row | ({"state": FAILED} if problem else _recovered_state(kind, folder, token))


def _recovered_state(kind: Kind, folder: JobFolder, token: str) -> Columns:
    known = folder.process()
    pid, identity = int(number(known.get("pid")) or 0), text(known.get("identity"), 200)
    lives = bool(process.group(pid, identity, token, known.get("members")))
    if not lives:
        folder.end_line()
    with Reader(folder.events, kind.digest).digest() as digest:
        started, end, launched = digest.started, digest.end, digest.launched or digest.started
        figures = digest.status()
    if lives or (kind.advance and launched and not end):
        state = STOPPING if folder.stop.exists() else RUNNING if started else STARTING
        return {"state": state, "pid": pid, "identity": identity}
    if not end and not launched:
        return {"state": QUEUED, "digest": figures}
    return {**asdict(end or lost(kind.noun, kind.resume_hint)), "digest": figures}


def _found(home: Home, kind: Kind, name: str) -> Columns | None:
    try:
        return recovered_row(kind, JobFolder(child(home.root / kind.folder, name)))
    except UserError:
        return None  # a link, or a name that is not ours
    except Exception as error:  # the folder may come from anybody: no content of it may keep the app from starting
        log.exception("%s: its folder cannot be understood", name)
        return _odd_row(kind.name, kind.noun, name, error)


def _add(table: Table, row: Columns) -> None:
    try:
        table.add(**row)
    except sqlite3.OperationalError:
        raise  # locked, or the disk is full: nothing is wrong with the row
    except Exception as error:
        log.exception("%s: it cannot be put in the table", row["job_id"])
        table.add(**_odd_row(row["kind"], row["kind"], row["job_id"], error))


def _odd_row(kind: str, noun: str, job_id: str, error: Exception) -> Columns:
    why = getattr(error, "strerror", None) or type(error).__name__
    return {
        "job_id": job_id,
        "kind": kind,
        "name": job_id,
        "created": time.time(),
        "state": FAILED,
        "reason": BAD_CONFIG,
        "message": say("err_odd_folder", noun=noun, why=why),
        "hint": say("err_odd_folder_hint", noun=noun, job_id=job_id),
    }
