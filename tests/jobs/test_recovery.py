"""The app starts whatever lies in the folder of runs, and each run there can be seen and deleted."""

import json
import sqlite3

import pytest

from llmdemo.core.errors import UserError
from llmdemo.jobs import recovery, service


def folder_of(bench, run_id, config=b"{}", events=b""):
    folder = bench.home.runs / run_id
    folder.mkdir()
    (folder / "config.json").write_bytes(config)
    (folder / "events.jsonl").write_bytes(events)
    return folder


@pytest.mark.parametrize(
    "config, events",
    [
        (b"{}", b'{"type": "end", "state": "failed", "message": "\\ud800", "hint": "\\uDFFF"}\n'),
        (b"{}", b'{"type": "start", "device": "\\ud800", "\\ud800": "x"}\n{"type": "end", "state": "completed"}\n'),
        (b'{"run": {"name": "\\ud800", "created": 1}}', b""),
        (b'{"run": {"name": "a"}, "log_with": ["\\ud800"], "dataset": "\\ud800"}', b""),
    ],
)
def test_half_a_surrogate_pair_does_not_keep_the_app_from_starting(bench, config, events):
    folder_of(bench, "run-odd", config, events + b'{"type": "end", "state": "stopped"}\n' * (not events))
    app = bench.open()
    status = app.status("run-odd")
    json.dumps(status, ensure_ascii=False).encode()
    json.dumps(app.events("run-odd")[0], ensure_ascii=False).encode()
    app.delete("run-odd")
    assert app.list() == []


@pytest.mark.parametrize("trouble", [ZeroDivisionError("x"), OverflowError("y"), PermissionError(13, "no"), KeyError()])
def test_a_folder_that_cannot_be_understood_is_a_failed_run_beside_the_others(bench, monkeypatch, trouble):
    folder_of(bench, "run-odd")
    folder_of(bench, "run-good", events=b'{"type": "end", "state": "completed"}\n')
    real = recovery.recovered_row

    def recovered_row(kind, folder):
        if folder.path.name == "run-odd":
            raise trouble
        return real(kind, folder)

    monkeypatch.setattr(recovery, "recovered_row", recovered_row)
    app = bench.open()
    status = app.status("run-odd")
    assert status["state"] == "failed" and "cannot be understood" in status["message"] and status["hint"]
    assert app.status("run-good")["state"] == "completed"
    app.delete("run-odd")
    assert [status["run_id"] for status in app.list()] == ["run-good"]


@pytest.mark.parametrize("column", ["name", "token"])
def test_a_row_that_the_table_does_not_take_is_a_failed_run_beside_the_others(bench, monkeypatch, column):
    folder_of(bench, "run-odd")
    folder_of(bench, "run-good", events=b'{"type": "end", "state": "completed"}\n')
    real = recovery.recovered_row
    odd = {"run-odd": {column: "\ud800"}}
    monkeypatch.setattr(
        recovery, "recovered_row", lambda kind, folder: real(kind, folder) | odd.get(folder.path.name, {})
    )
    app = bench.open()
    assert app.status("run-odd")["state"] == "failed" and app.status("run-good")["state"] == "completed"
    assert len(app.history("run-odd")) == 1


def test_runs_that_cannot_be_found_again_on_a_full_disk_are_a_sentence_and_the_lock_is_free(bench, monkeypatch):
    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(service, "recover", full)
        with pytest.raises(UserError, match="cannot be opened .database or disk is full"):
            bench.open()
    assert bench.open().leads
