"""A damaged table of runs is made again of the run folders, which are the truth; what was damaged is kept aside."""

import json
import logging
import os
import random
import sqlite3
import time

import pytest

from llmdemo.core.errors import UserError
from llmdemo.jobs import damage as damages
from llmdemo.jobs import recovery, table
from tests.waiting import until

ENDS = [("completed", "", ""), ("stopped", "", "By hand."), ("failed", "lost", "It vanished.")]


@pytest.fixture
def ended(bench):
    """A home with 30 runs that have ended in each of the ways; returns the file of their table, as an app left it."""
    for number in range(30):
        state, reason, message = ENDS[number % 3]
        folder = bench.home.runs / f"run-{number:02d}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"run": {"name": f"name {number}", "created": 1.0 + number}}))
        end = {"type": "end", "state": state, "reason": reason, "message": message}
        (folder / "events.jsonl").write_text(json.dumps({"type": "launch"}) + "\n" + json.dumps(end) + "\n")
    bench.close(bench.open())
    return bench.home.database.read_bytes()


def put(bench, content: bytes) -> None:
    for path in bench.home.root.glob("runs.sqlite*"):
        path.unlink()
    bench.home.database.write_bytes(content)


def must_be_whole(app) -> None:
    known = [(run["run_id"], run["name"], run["state"], run["reason"], run["message"]) for run in app.list()]
    assert known == [(f"run-{number:02d}", f"name {number}", *ENDS[number % 3]) for number in reversed(range(30))]
    assert all(app.history(run[0])[-1]["state"] == run[2] for run in known)


def flipped(content: bytes, seed: int) -> bytes:
    draw, changed = random.Random(seed), bytearray(content)
    first, end = [(0, 100), (0, 4096), (0, len(content))][seed % 3]
    for _ in range(1 if seed % 2 else 60):
        changed[draw.randrange(first, end)] ^= 0xFF
    return bytes(changed)


def kept_aside(bench) -> list:
    return [path.read_bytes() for path in bench.home.root.glob("runs.sqlite.damaged-*")]


@pytest.mark.timeout(120)
@pytest.mark.slow
def test_whatever_bytes_are_flipped_every_state_is_right_and_the_damaged_file_is_kept(bench, ended):
    damaged = 0
    for seed in range(24):
        content = flipped(ended, seed)
        put(bench, content)
        app = bench.open()
        must_be_whole(app)
        assert kept_aside(bench) == ([content] if app.remade else []), seed
        damaged += app.remade
        bench.close(app)
    assert damaged > 12  # the others were flipped where nothing is kept


@pytest.mark.parametrize("content", [b"", b"no database " * 500, b"\0" * 9000, b"half"])
def test_a_file_that_is_empty_or_no_database_is_made_again(bench, ended, content):
    put(bench, ended[: len(ended) // 2] if content == b"half" else content)
    app = bench.open()
    must_be_whole(app)
    assert app.remade is (content != b"")  # an empty file is how SQLite begins one


def test_the_note_of_it_names_the_file_that_is_kept(bench, ended, caplog):
    put(bench, b"no database " * 500)
    with caplog.at_level(logging.WARNING):
        bench.open()
    (kept,) = bench.home.root.glob("runs.sqlite.damaged-*")
    assert f"kept as {kept.name}" in caplog.text and "run folders" in caplog.text


def test_a_file_damaged_while_the_app_runs_is_made_again_and_nobody_sees_a_fault(bench, ended):
    app, other = bench.open(), bench.open()
    for each in (app, other):  # both know the whole table by heart: nothing is read but where the file was written to
        must_be_whole(each)
    with open(bench.home.database, "r+b") as file:
        file.write(b"no database " * 2000)
    for suffix in ("-wal", "-shm"):
        bench.home.database.with_name("runs.sqlite" + suffix).unlink(missing_ok=True)

    def whole(app):
        try:
            return len(app.list()) == 30
        except UserError as wait:
            assert "damaged" in wait.message and "again" in wait.hint
            return False

    until(lambda: app.remade and whole(app), what="made again")
    must_be_whole(app)
    app.rename("run-03", "another name")
    until(lambda: whole(other) and other.status("run-03")["name"] == "another name", what="the other follows")


def test_an_app_that_does_not_lead_leaves_a_damaged_file_alone(bench, ended):
    app = bench.open()
    bench.close(app)
    put(bench, b"no database " * 500)
    lock = type(app.jobs._lock)(bench.home.root / "runs.lock")
    assert lock.acquire()
    with pytest.raises(UserError, match="is damaged .file is not a database"):
        bench.open()
    lock.release()
    must_be_whole(bench.open())


def test_a_file_that_another_program_keeps_locked_is_a_sentence_and_stays(bench, ended, monkeypatch):
    monkeypatch.setattr(table, "_LOCK_SECONDS", 0.2)
    holder = sqlite3.connect(bench.home.database, isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(UserError, match="cannot be opened .database is locked.*no other program"):
        bench.open()
    assert time.monotonic() - began < 5 and not kept_aside(bench)
    holder.close()
    must_be_whole(bench.open())


def test_a_file_that_may_not_be_written_is_put_aside_where_its_folder_may(bench, ended, monkeypatch):
    bench.home.database.chmod(0o444)
    if os.access(bench.home.database, os.W_OK):  # root may write any file: SQLite's answer to others
        real, answers = table.Table, [sqlite3.OperationalError("attempt to write a readonly database")]

        def opened(path):
            if answers:
                raise answers.pop()
            return real(path)

        monkeypatch.setattr(recovery, "Table", opened)
    app = bench.open()
    must_be_whole(app)
    assert app.remade and len(kept_aside(bench)) == 1


@pytest.mark.parametrize(
    "column, value",
    [
        *(("state", "complfted"), ("reason", "lott"), ("job_id", "run/02"), ("digest", '{"step": 1'), ("digest", "[]")),
        *(("created", "x"), ("attempt", "x"), ("message", b"\xff"), ("pid", "x"), ("position", "x")),
    ],
)
@pytest.mark.slow
def test_a_row_that_no_run_can_have_is_damage_too(bench, ended, column, value):
    database = sqlite3.connect(bench.home.database)
    database.execute(f"UPDATE jobs SET {column} = ? WHERE job_id = 'run-02'", (value,))
    database.commit()
    database.close()
    app = bench.open()
    assert app.remade
    must_be_whole(app)


@pytest.mark.parametrize(
    "error, damage",
    [
        (sqlite3.DatabaseError("database disk image is malformed"), True),
        (sqlite3.OperationalError("malformed database schema (runs)"), True),
        (sqlite3.OperationalError("Could not decode to UTF-8 column 'state' with text 'x'"), True),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), True),
        (sqlite3.OperationalError("database is locked"), False),
        (sqlite3.OperationalError("database or disk is full"), False),
        (sqlite3.OperationalError("disk I/O error"), False),
        (sqlite3.IntegrityError("UNIQUE constraint failed: runs.run_id"), False),
        (ValueError("malformed"), False),
    ],
)
def test_what_is_damage_is_told_from_a_disk_that_is_full_or_locked(error, damage):
    assert damages.is_damage(error) is damage
