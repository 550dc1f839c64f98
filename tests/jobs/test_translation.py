"""A full disk: what a person asked for did not happen, and a sentence says so."""

import sqlite3
from contextlib import contextmanager

import pytest

from llmdemo.core.errors import UserError
from llmdemo.jobs import service


class FullDisk:
    """A connection that can change nothing, as on a full disk; `at` is the statement that notices."""

    def __init__(self, db, at):
        self._db, self._at = db, at

    def __getattr__(self, name):
        return getattr(self._db, name)

    def execute(self, statement, *values):
        if statement.startswith(self._at):
            raise sqlite3.OperationalError("database or disk is full")
        return self._db.execute(statement, *values)


@pytest.fixture
def disk(bench, monkeypatch):
    """An app with a waiting run behind one that goes: (app, the waiting one's id, what fills the disk)."""
    app = bench.open()
    going = app.start({"steps": 10_000})
    bench.wait(app, going, "running")
    waiting = app.start({"steps": 1}, name="waits")
    with monkeypatch.context() as patch:
        yield app, waiting, lambda at="COMMIT": patch.setattr(app.jobs._table, "_db", FullDisk(app.jobs._table._db, at))
    app.stop(going)


@pytest.mark.parametrize("at", ["COMMIT", "INSERT INTO jobs"])
def test_a_refused_start_leaves_no_folder_that_a_restart_would_queue(bench, disk, at):
    app, waiting, fill = disk
    before = {path.name for path in bench.home.runs.iterdir()}
    fill(at)
    with pytest.raises(UserError, match="cannot be kept .database or disk is full"):
        app.start({"steps": 1})
    assert {path.name for path in bench.home.runs.iterdir()} == before and not list(bench.home.tmp.glob("deleted*"))


def test_a_start_that_fails_after_its_folder_was_made_leaves_none(bench, monkeypatch):
    app = bench.open()

    @contextmanager
    def whole_folder(*args):
        with make(*args) as folder:
            yield folder
        raise OSError(28, "No space left on device")

    make = service.whole_folder
    monkeypatch.setattr(service, "whole_folder", whole_folder)
    with pytest.raises(UserError, match="No space left"):
        app.start({"steps": 1})
    assert not list(bench.home.runs.iterdir()) and not list(bench.home.tmp.iterdir()) and app.list() == []


def test_a_deletion_that_is_refused_leaves_the_run_whole(bench, disk):
    app, waiting, fill = disk
    fill()
    with pytest.raises(UserError, match="cannot be deleted"):
        app.delete(waiting)
    assert app.status(waiting)["name"] == "waits" and app.config(waiting) == {"steps": 1}


def test_whatever_else_is_asked_for_is_refused_with_a_sentence(bench, disk):
    app, waiting, fill = disk
    stopped = app.start({"steps": 1})
    app.cancel(stopped)
    fill()
    asked = {
        "resumed": lambda: app.resume(stopped),
        "renamed": lambda: app.rename(waiting, "other"),
        "moved": lambda: app.reorder(waiting, 1),
        "taken out of the queue": lambda: app.cancel(waiting),
        "stopped": lambda: app.stop(waiting),
        "made smaller": lambda: app.prune(stopped, "why"),
    }
    for what, act in asked.items():
        with pytest.raises(UserError, match=f"cannot be {what} .database or disk is full") as caught:
            act()
        assert caught.value.hint
