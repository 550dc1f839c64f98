"""The recipe of jobs/README.md: a kind of job that nobody knew, with a worker of a few lines, has all that jobs have."""

import os
import signal
import sys

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.jobs import Jobs, JobsOfKind, Kind
from tests.waiting import until

WORKER = """
import sys, time
from pathlib import Path
from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import Worker, perform, read_secret

folder, secret = JobFolder(Path(sys.argv[1])), read_secret(sys.stdin)
texts = folder.path / "texts.txt"

def write_texts(worker):
    count = folder.config()["count"]
    if count < 0:
        raise UserError("count is below 0.", "Give 0 or more.")
    print("it writes", count, flush=True)
    done = len(texts.read_text().splitlines()) if texts.exists() else 0
    while done < count:
        with open(texts, "a") as file:
            file.write(f"text {done} {bool(secret)}\\n")
        done += 1
        worker.progress(force=True, done=done, total=count, eta_seconds=count - done)
        time.sleep(0.01)

sys.exit(perform(Worker(folder), write_texts, "Resume goes on with the next text."))
"""


@pytest.fixture
def texts(home, settings, tmp_path):
    """Jobs that write texts, two at a time."""
    script = tmp_path / "write_texts.py"
    script.write_text(WORKER)
    kind = Kind(
        name="texts",
        noun="generation",
        prefix="texts",
        folder="generated",
        command=lambda folder, config: [sys.executable, str(script), str(folder)],
        at_once=lambda settings, gpus: 2,
        large=("texts",),
        resume_hint="Resume goes on with the next text.",
    )
    with JobsOfKind(Jobs(home, settings), kind) as jobs:
        yield jobs
        for status in jobs.list():
            if status["can_stop"]:
                jobs.stop(status["job_id"])
        until(lambda: all(status["can_delete"] for status in jobs.list()))


def start(texts, count: int, **more) -> str:
    return texts.jobs.start(texts.kind, {"count": count}, "some texts", **more)


def reached(texts, job_id, *states) -> dict:
    return until(lambda: (status := texts.status(job_id))["state"] in states and status, what=f"{states}")


def lines(texts, job_id) -> list[str]:
    return (texts.kind.job_folder(texts.jobs.home.root, job_id).path / "texts.txt").read_text().splitlines()


def test_it_goes_from_the_queue_to_completed_with_progress_log_and_events(texts):
    job_id = start(texts, 5, secret="a key")
    assert reached(texts, job_id, "completed", "failed")["state"] == "completed", texts.log_tail(job_id)
    assert lines(texts, job_id) == [f"text {n} True" for n in range(5)]
    assert "it writes 5" in texts.log_tail(job_id)
    events, _ = read_events(texts.path_of(job_id) / "events.jsonl")
    assert [event["done"] for event in events if event["type"] == "progress"] == [1, 2, 3, 4, 5]
    assert [each["state"] for each in texts.jobs.history(job_id)] == ["queued", "starting", "running", "completed"]
    with pytest.raises(UserError, match="completed generation cannot be resumed"):
        texts.resume(job_id)


def test_it_is_stopped_resumed_and_deleted_and_loses_nothing(texts):
    job_id = start(texts, 10_000)
    until(lambda: (texts.status(job_id)["figures"].get("progress") or {}).get("done", 0) > 3)
    texts.stop(job_id)
    assert reached(texts, job_id, "stopped")["hint"] == "Resume goes on with the next text."
    before = lines(texts, job_id)
    texts.resume(job_id)
    until(lambda: len(lines(texts, job_id)) > len(before))
    texts.stop(job_id)
    reached(texts, job_id, "stopped")
    assert [line.split()[1] for line in lines(texts, job_id)] == [str(n) for n in range(len(lines(texts, job_id)))]
    texts.delete(job_id)
    assert texts.list() == [] and not list((texts.jobs.home.root / "generated").iterdir())


def test_what_is_wrong_with_it_is_told_and_a_kill_is_a_loss(texts):
    assert reached(texts, start(texts, -1), "failed")["message"] == "count is below 0."
    job_id = start(texts, 10_000)
    reached(texts, job_id, "running")
    os.kill(texts.kind.job_folder(texts.jobs.home.root, job_id).process()["pid"], signal.SIGKILL)
    status = reached(texts, job_id, "failed")
    assert status["reason"] == "lost" and "generation" in status["message"]


def test_two_go_at_a_time_and_an_id_of_another_kind_is_none_of_its(texts):
    first, second, third = (start(texts, 10_000) for _ in range(3))
    for job_id in (first, second):
        reached(texts, job_id, "running")
    assert texts.status(third)["queue_position"] == 1
    with pytest.raises(UserError, match="There is no generation"):
        texts.status("run-20260101-000000-abcdef")
