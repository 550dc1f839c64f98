"""The worker's side: whatever the work does, its end is told, with a reason and what to do."""

import io
import json

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.jobs import JobFolder
from llmdemo.jobs import worker as module
from llmdemo.jobs.worker import Stopped, Worker, perform, read_secret


class OutOfMemoryError(RuntimeError):
    """As torch's, which is no MemoryError."""


@pytest.fixture
def folder(tmp_path):
    return JobFolder(tmp_path)


def ended(folder, work) -> tuple[int, dict]:
    """(the exit status, the event of the end) of this work."""
    status = perform(Worker(folder), work, "Resume goes on.")
    events, _ = read_events(folder.events)
    assert [events[0]["type"], events[-1]["type"]] == ["start", "end"]
    return status, events[-1]


def raising(error):
    def work(worker):
        raise error

    return work


@pytest.mark.parametrize(
    "error, state, reason, told, status",
    [
        (Stopped(), "stopped", "", "Stopped.", 0),
        (UserError("There is no data set.", "Add one."), "failed", "bad_config", "There is no data set.", 0),
        (MemoryError(), "failed", "out_of_memory", "memory of this machine is full", 0),
        (OutOfMemoryError("CUDA out of memory. Tried 2 GiB"), "failed", "out_of_memory", "Tried 2 GiB", 0),
        (OSError(28, "No space left on device"), "failed", "disk_full", "No space left", 0),
        (OSError(5, "Input/output error"), "failed", "worker_error", "Input/output error", 0),
        (KeyError("surprise"), "failed", "worker_error", "KeyError", 1),
    ],
)
def test_every_end_is_told_with_its_reason(folder, error, state, reason, told, status):
    exit_status, end = ended(folder, raising(error))
    assert (exit_status, end["state"], end["reason"]) == (status, state, reason)
    assert told in end["message"] and (end["hint"] == "Add one." or end["hint"].endswith("Resume goes on."))


def test_work_that_is_done_is_completed(folder):
    assert ended(folder, lambda worker: None)[1]["state"] == "completed"


def test_progress_is_told_now_and_then_and_at_once_if_it_must_be(folder, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def work(worker):
        for done in range(10):
            worker.progress(done=done)
            now[0] += 0.2
        worker.progress(force=True, done=10)

    ended(folder, work)
    told = [event["done"] for event in read_events(folder.events)[0] if event["type"] == "progress"]
    assert told == [0, 3, 6, 9, 10]


def test_progress_ends_work_that_was_asked_to_stop(folder, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", -1)

    def work(worker):
        worker.progress(done=0)
        folder.stop.touch()
        worker.progress(done=1)
        raise AssertionError("it went on")

    assert ended(folder, work)[1]["state"] == "stopped"


@pytest.mark.parametrize("line, secret", [('"hf_a \\"b\\""\n', 'hf_a "b"'), ("", ""), ("no json\n", ""), ("[1]\n", "")])
def test_a_secret_is_one_line_of_json(line, secret):
    assert read_secret(io.StringIO(line)) == secret
    assert read_secret(io.StringIO(json.dumps("two\nlines") + "\n")) == "two\nlines"
