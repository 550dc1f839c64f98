"""Stop, in every situation: what was asked for happens, and no process is left."""

import time

import pytest

from llmdemo.core.errors import UserError
from tests.waiting import until


def phases_until_end(bench, app, run_id) -> list[str]:
    """Presses Stop and returns the phases that a page would show until the run has ended."""
    seen = []
    app.stop(run_id)
    for _ in range(1000):
        status = app.status(run_id)
        if status["stop_phase"] and status["stop_phase"] not in seen:
            seen.append(status["stop_phase"])
            assert status["state"] == "stopping" and 0 <= status["stop_seconds_left"] <= 1
        if status["state"] == "stopped":
            assert not bench.processes(run_id)
            return seen
        time.sleep(0.02)
    raise AssertionError(status)


def test_a_run_that_is_asked_writes_a_checkpoint_and_ends(bench):
    app = bench.open(stop_grace_seconds=20)
    run_id = app.start({"steps": 10_000, "launcher": True})
    bench.wait(app, run_id, "running")
    assert app.stop(run_id)["state"] == "stopping"
    assert app.stop(run_id)["state"] in ("stopping", "stopped"), "a second press is harmless"
    status = bench.wait(app, run_id, "stopped")
    assert status["message"] == "Stopped as asked."
    assert status["checkpoint_step"] == status["step"]
    assert status["can_resume"] and status["model_id"] is None
    assert app.stop(run_id)["state"] == "stopped", "so is a third, later"
    assert [each["state"] for each in app.history(run_id)][-2:] == ["stopping", "stopped"]
    assert not (bench.home.runs / run_id / "stop").exists()


def test_a_run_that_does_not_listen_is_terminated(bench):
    app = bench.open()
    run_id = app.start({"steps": 10_000, "misbehave": ["ignore_stop"]})
    bench.wait(app, run_id, "running")
    assert phases_until_end(bench, app, run_id) == ["asking", "terminating"]
    assert "by force" in app.status(run_id)["message"]


def test_a_run_that_stops_is_not_said_to_have_the_time_of_the_whole_left(bench):
    app = bench.open(stop_grace_seconds=20)
    run_id = app.start({"steps": 10_000, "misbehave": ["ignore_stop"]})
    until(lambda: app.status(run_id)["eta_seconds"])
    app.stop(run_id)
    status = app.status(run_id)
    assert status["state"] == "stopping" and status["stop_seconds_left"] > 0
    assert status["eta_seconds"] is None and status["loss"] is not None


@pytest.mark.parametrize("word", ["fork", "escape", "escape_bare"])
def test_a_run_that_ignores_sigterm_is_killed_with_all_its_children(bench, word):
    app = bench.open()
    run_id = app.start({"steps": 10_000, "launcher": True, "misbehave": ["ignore_stop", "ignore_sigterm", word]})
    bench.wait(app, run_id, "running")
    until(lambda: len(bench.processes(run_id)) >= 3)
    assert phases_until_end(bench, app, run_id) == ["asking", "terminating", "killing"]


def test_a_run_that_hangs_in_its_start_can_be_stopped(bench):
    app = bench.open()
    run_id = app.start({"misbehave": ["hang_in_start", "ignore_sigterm"]})
    bench.wait(app, run_id, "starting")
    until(lambda: bench.processes(run_id))
    phases_until_end(bench, app, run_id)


def test_stop_pressed_at_once_leaves_nothing_behind(bench):
    app = bench.open(stop_grace_seconds=20)
    for _ in range(5):
        run_id = app.start({"steps": 10_000})
        app.stop(run_id)
        status = bench.wait(app, run_id, "stopped")
        assert not bench.processes(run_id), status


def test_stop_during_a_checkpoint_leaves_whole_checkpoints(bench):
    app = bench.open()
    config = {"steps": 10_000, "checkpoint_every": 1, "checkpoint_seconds": 0.3, "misbehave": ["ignore_stop"]}
    run_id = app.start(config)
    until(lambda: app.status(run_id)["checkpoint_step"])
    phases_until_end(bench, app, run_id)
    newest = sorted((bench.home.runs / run_id / "checkpoints").glob("step-*"))[-1]
    assert (newest / "state.json").read_text().endswith("}")


def test_a_run_that_lingers_after_its_end_is_ended_and_stays_completed(bench):
    app = bench.open()
    run_id = app.start({"steps": 3, "misbehave": ["linger"]})
    assert bench.wait(app, run_id, "completed")["model_id"] == run_id
    assert not bench.processes(run_id)


def test_a_waiting_run_is_taken_out_of_the_queue_and_can_come_back(bench):
    app = bench.open()
    first, second = app.start({"steps": 10_000}), app.start({"steps": 3})
    bench.wait(app, first, "running")
    assert app.stop(second)["state"] == "stopped"
    assert app.resume(second)["state"] == "queued"
    assert app.cancel(second)["message"].startswith("Taken out")
    with pytest.raises(UserError, match="is not waiting"):
        app.cancel(first)
    app.resume(second)
    app.stop(first)
    assert bench.wait(app, second, "completed")["step"] == 3


def test_a_stop_goes_on_after_the_app_was_restarted(bench):
    app = bench.open(stop_grace_seconds=60)
    run_id = app.start({"steps": 10_000, "misbehave": ["ignore_stop", "ignore_sigterm"]})
    bench.wait(app, run_id, "running")
    app.stop(run_id)
    bench.close(app)
    app = bench.open()
    bench.wait(app, run_id, "stopped")
    assert not bench.processes(run_id)
