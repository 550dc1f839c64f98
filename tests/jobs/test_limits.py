"""The disk quota and the longest time: for runs that go, and for those that wait."""

import time

import pytest

from llmdemo.access import disk_quota
from llmdemo.core.errors import UserError
from tests.waiting import until


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("llmdemo.jobs.supervisor.LIMITS_SECONDS", 0.02)
    monkeypatch.setattr("llmdemo.jobs.turns.LIMITS_SECONDS", 0.02)
    monkeypatch.setattr(disk_quota.home_bytes, "__defaults__", (0.0,))  # the tests' folders are counted in no time


def fill(bench, size: int):
    path = bench.home.models / "large"
    path.write_bytes(b"x" * size)
    return path


def test_nothing_is_started_resumed_or_opened_in_a_full_home_folder(bench, tmp_path):
    app = bench.open(max_home_bytes=2**20)
    run_id = app.start({"steps": 1})
    bench.wait(app, run_id, "completed")
    path = app.export_bundle(run_id, tmp_path / "run.zip")
    stopped = app.start({"steps": 10_000})
    bench.wait(app, stopped, "running")
    app.stop(stopped)
    bench.wait(app, stopped, "stopped")
    large = fill(bench, 2**20)
    acts = (
        lambda: app.start({}),
        lambda: app.import_bundle(path),
        lambda: app.resume(stopped),
    )
    for act in acts:
        with pytest.raises(UserError, match="; 1 MB are allowed") as caught:
            act()
        assert "LLMDEMO_MAX_HOME_BYTES" in caught.value.hint
    large.unlink()
    assert bench.wait(app, app.start({"steps": 1}), "completed")


def test_a_queue_waits_while_the_home_folder_is_full_says_so_and_then_goes_on(bench):
    app = bench.open(max_home_bytes=2**20)
    first = app.start({"steps": 10_000})
    bench.wait(app, first, "running")
    second, third = app.start({"steps": 2}), app.start({"steps": 2})
    large = fill(bench, 2**20)
    stopped = bench.wait(app, first, "stopped")
    assert stopped["message"].startswith("Stopped by a limit.") and stopped["can_resume"]
    status = until(lambda: (now := app.status(second))["message"].startswith("Waiting for room") and now)
    assert status["state"] == "queued" and "are allowed" in status["message"] and status["hint"]
    assert app.status(third)["state"] == "queued"
    large.unlink()
    bench.wait(app, second, "completed")
    assert bench.wait(app, third, "completed")["message"] == ""


def test_a_run_that_takes_too_long_is_stopped_with_a_checkpoint_and_says_by_what(bench):
    app = bench.open(max_run_seconds=0.5, stop_grace_seconds=20)
    run_id = app.start({"steps": 10_000})
    status = bench.wait(app, run_id, "stopped")
    assert "LLMDEMO_MAX_RUN_SECONDS" in status["message"] and status["can_resume"]
    assert list((bench.home.runs / run_id / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("days", [-30, 30])
def test_a_clock_that_is_set_stops_no_run(bench, monkeypatch, days):
    app = bench.open(max_run_seconds=3600)
    run_id = app.start({"steps": 40, "step_seconds": 0.02})
    bench.wait(app, run_id, "running")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + days * 86_400)
    assert bench.wait(app, run_id, "completed", "stopped")["state"] == "completed"


def test_the_time_before_this_app_was_opened_counts(bench, monkeypatch):
    app = bench.open(max_run_seconds=3600)
    run_id = app.start({"steps": 10_000})
    bench.wait(app, run_id, "running")
    bench.close(app)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3601)
    app = bench.open(max_run_seconds=3600, stop_grace_seconds=20)
    assert "LLMDEMO_MAX_RUN_SECONDS" in bench.wait(app, run_id, "stopped")["message"]


def test_reached_says_which_limit(home, settings):
    import dataclasses

    assert disk_quota.reached(home, settings, 10.0) == ""
    short = dataclasses.replace(settings, max_run_seconds=5)
    assert (
        "LLMDEMO_MAX_RUN_SECONDS" in disk_quota.reached(home, short, 5.1) and disk_quota.reached(home, short, 5.0) == ""
    )
    (home.models / "x").write_bytes(b"x" * 2000)
    small = dataclasses.replace(settings, max_home_bytes=1000)
    assert "LLMDEMO_MAX_HOME_BYTES" in disk_quota.reached(home, small, 0.0)
    (home.models / "x").unlink()
    assert disk_quota.reached(home, small, 0.0) == "", "what was deleted just now counts at once"
