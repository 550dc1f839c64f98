"""Faults: a run always comes to a true state, whatever happens to its processes or to the app."""

import json
import os
import shutil
import signal
import time

import pytest

from llmdemo.core.errors import UserError
from llmdemo.jobs import process
from llmdemo.runs.folder import RunFolder
from tests.waiting import until


def weights_of(bench, run_id) -> str:
    return json.loads((bench.home.runs / run_id / "model" / "config.json").read_text())["weights"]


def worker_of(app, run_id) -> int:
    events, _ = app.events(run_id)
    return [event["pid"] for event in events if event["type"] == "start"][-1]


@pytest.mark.parametrize(
    "word, reason, part",
    [
        ("crash", "worker_error", "mat1 and mat2 shapes"),
        ("crash_in_start", "worker_error", "No module named 'sorcery'"),
        ("exit_silently", "lost", "disappeared without a message"),
        ("kill_self", "lost", "signal 9"),
        ("no_memory", "out_of_memory", "9.00 GiB"),
        ("no_space", "disk_full", "No space left"),
        ("bad_config", "bad_config", "The rank is 0."),
    ],
)
def test_every_failure_has_its_reason_and_a_hint(bench, word, reason, part):
    app = bench.open()
    run_id = app.start({"launcher": word != "exit_silently", "misbehave": [word]})
    status = bench.wait(app, run_id, "failed", "completed", "stopped")
    assert (status["state"], status["reason"]) == ("failed", reason)
    assert part in status["message"] and status["hint"]
    assert status["can_resume"] and not bench.processes(run_id)
    assert app.events(run_id)[0][-1]["type"] == "end", "the folder knows it too"


def test_a_kill_is_out_of_memory_only_if_the_kernel_counted_one(bench, monkeypatch):
    counter = [5]
    monkeypatch.setattr("llmdemo.jobs.supervisor.oom_kills_so_far", lambda: counter[0])
    app = bench.open()
    run_id = app.start({"steps": 10_000, "launcher": True})
    bench.wait(app, run_id, "running")
    counter[0] += 1
    os.kill(worker_of(app, run_id), signal.SIGKILL)
    status = bench.wait(app, run_id, "failed")
    assert status["reason"] == "out_of_memory" and "batch size" in status["hint"]


def test_a_killed_run_is_lost_within_five_seconds_and_resumes_to_the_same_weights(bench):
    app = bench.open()
    config = {"steps": 30, "step_seconds": 0.02, "launcher": True}
    run_id, undisturbed = app.start(config), app.start(config | {"step_seconds": 0})
    until(lambda: app.status(run_id)["step"] >= 7)
    os.kill(worker_of(app, run_id), signal.SIGKILL)
    status = bench.wait(app, run_id, "failed", seconds=5)
    assert status["reason"] == "lost" and status["can_resume"]
    assert not bench.processes(run_id)
    app.resume(run_id)
    status = bench.wait(app, run_id, "completed")
    assert status["step"] == 30 and status["attempt"] == 2
    bench.wait(app, undisturbed, "completed")
    assert weights_of(bench, run_id) == weights_of(bench, undisturbed)


def test_a_worker_whose_launcher_is_killed_trains_on_and_can_still_be_stopped(bench):
    app = bench.open(stop_grace_seconds=20)
    first, second = (
        app.start({"steps": 25, "step_seconds": 0.02, "launcher": True}),
        app.start({"launcher": True, "steps": 10_000}),
    )
    for run_id in (first, second):
        until(lambda run_id=run_id: app.status(run_id)["step"] >= 3)
        worker, launcher = worker_of(app, run_id), RunFolder(bench.home.runs / run_id).process()["pid"]
        os.kill(launcher, signal.SIGKILL)
        until(lambda run_id=run_id, worker=worker: RunFolder(bench.home.runs / run_id).process()["pid"] == worker)
        assert app.status(run_id)["state"] == "running"
        if run_id == second:
            app.stop(run_id)
        status = bench.wait(app, run_id, "completed", "stopped", "failed")
        assert status["state"] == ("completed" if run_id == first else "stopped"), status
        assert status["attempt"] == 1 and not bench.processes(run_id)


def test_what_a_killed_worker_left_behind_is_not_taken_for_it(bench):
    app = bench.open()
    run_id = app.start({"steps": 10_000, "launcher": True, "misbehave": ["fork"]})
    bench.wait(app, run_id, "running")
    launcher, worker = RunFolder(bench.home.runs / run_id).process()["pid"], worker_of(app, run_id)
    for pid in (launcher, worker):
        os.kill(pid, signal.SIGKILL)
    status = bench.wait(app, run_id, "failed", seconds=5)
    assert status["reason"] == "lost" and not bench.processes(run_id)


def test_a_run_whose_launcher_is_killed_before_the_worker_says_a_word_is_lost(bench):
    app = bench.open()
    run_id = app.start({"launcher": True, "misbehave": ["hang_in_start"]})
    until(lambda: len(bench.processes(run_id)) == 2)
    os.kill(RunFolder(bench.home.runs / run_id).process()["pid"], signal.SIGKILL)
    assert bench.wait(app, run_id, "failed", seconds=5)["reason"] == "lost" and not bench.processes(run_id)


def test_steps_done_twice_are_drawn_once(bench):
    app = bench.open()
    run_id = app.start({"steps": 40, "checkpoint_every": 10})
    until(lambda: app.status(run_id)["step"] >= 14)
    os.kill(worker_of(app, run_id), signal.SIGKILL)
    bench.wait(app, run_id, "failed")
    app.resume(run_id)
    bench.wait(app, run_id, "completed")
    series = app.series(run_id)
    assert series["loss"]["step"] == list(range(1, 41))
    assert series["eval_loss"]["step"] == [10, 20, 30, 40]
    assert series["loss"]["seconds"] == sorted(series["loss"]["seconds"])
    steps = [event["step"] for event in app.events(run_id)[0] if event["type"] == "step"]
    assert len(steps) > 40, "but the file forgets nothing"


def test_an_app_that_is_opened_again_finds_its_run(bench):
    app = bench.open()
    run_id, waiting = app.start({"steps": 60}), app.start({"steps": 2})
    before = bench.wait(app, run_id, "running")
    bench.close(app)
    app = bench.open()
    after = app.status(run_id)
    assert after["state"] == "running" and after["attempt"] == before["attempt"] == 1
    assert bench.wait(app, run_id, "completed")["step"] == 60
    assert bench.wait(app, waiting, "completed"), "the queue goes on"
    assert [event["type"] for event in app.events(run_id)[0]].count("start") == 1


def test_a_run_that_ended_while_no_app_was_there_is_found_as_it_ended(bench):
    app = bench.open()
    good, bad = app.start({"steps": 3}), app.start({"steps": 10_000})
    bench.wait(app, bad, "running")
    bench.close(app)
    os.kill(worker_of_file(bench, bad), signal.SIGKILL)
    app = bench.open()
    assert bench.wait(app, bad, "failed", seconds=5)["reason"] == "lost"
    assert app.status(good)["state"] == "completed"


def worker_of_file(bench, run_id) -> int:
    lines = (bench.home.runs / run_id / "events.jsonl").read_text().splitlines()
    return next(event["pid"] for event in map(json.loads, lines) if event["type"] == "start")


def test_a_process_with_a_recycled_pid_is_never_signalled(bench, tmp_path):
    app = bench.open()
    run_id = app.start({"steps": 10_000})
    bench.wait(app, run_id, "running")
    members = bench.processes(run_id)
    bench.close(app)
    process.send(members, signal.SIGKILL)
    until(lambda: not bench.processes(run_id))
    # Another program gets the pid of the launcher: the noted identity is the old one's.
    stranger, _ = process.launch(["sleep", "600"], tmp_path, dict(os.environ), tmp_path / "log", "another")
    try:
        table = bench.open().close  # makes the new pid known to the table while no app watches
        bench.opened.pop()
        table()
        from llmdemo.jobs.table import Table

        db = Table(bench.home.database)
        db._db.execute(
            "UPDATE jobs SET state = 'running', pid = ?, identity = 'boot:1' WHERE job_id = ?", (stranger, run_id)
        )
        db.close()
        app = bench.open()
        app.stop(run_id)
        bench.wait(app, run_id, "stopped", "failed")
        assert process.identity(stranger), "the stranger lives"
        assert process.exit_status(stranger) is None
    finally:
        os.kill(stranger, signal.SIGKILL)


def test_an_app_killed_between_the_launch_and_its_note_finds_the_process_by_its_token(bench):
    app = bench.open()
    run_id = app.start({"steps": 10_000})
    bench.wait(app, run_id, "running")
    bench.close(app)
    from llmdemo.jobs.table import Table

    db = Table(bench.home.database)
    db._db.execute("UPDATE jobs SET state = 'starting', pid = NULL, identity = '' WHERE job_id = ?", (run_id,))
    db.close()
    app = bench.open(stop_grace_seconds=20)
    bench.wait(app, run_id, "running")
    app.stop(run_id)
    bench.wait(app, run_id, "stopped")
    assert not bench.processes(run_id)


def test_the_folders_are_enough_when_the_database_is_lost_or_damaged(bench):
    app = bench.open()
    ids = {}
    ids["completed"] = app.start({"steps": 2}, name="the first")
    ids["failed"] = app.start({"misbehave": ["crash"]})
    ids["running"] = app.start({"steps": 10_000})
    ids["queued"], ids["stopped"] = app.start({"steps": 5}), app.start({"steps": 5})
    app.cancel(ids["stopped"])
    bench.wait(app, ids["running"], "running")
    before = {status["run_id"]: status for status in app.list()}
    for damage in ("lost", "damaged"):
        bench.close(app)
        if damage == "lost":
            bench.home.database.unlink()
        else:
            bench.home.database.write_bytes(b"\x00garbage" * 5000)
        app = bench.open()
        for state, run_id in ids.items():
            status = app.status(run_id)
            assert status["state"] == state, (damage, status)
            for key in ("name", "reason", "message", "hint", "attempt", "created"):
                assert status[key] == before[run_id][key], (damage, key)
    app.stop(ids["running"])
    bench.wait(app, ids["queued"], "completed")


def test_a_folder_with_a_broken_config_is_shown_and_can_be_deleted(bench):
    folder = bench.home.runs / "run-broken"
    folder.mkdir()
    (folder / "config.json").write_text('{"steps": ')
    app = bench.open()
    status = app.status("run-broken")
    assert (status["state"], status["reason"]) == ("failed", "bad_config")
    app.delete("run-broken")
    assert not folder.exists() and app.list() == []


def test_a_folder_that_vanishes_under_a_run_ends_it(bench):
    app = bench.open()
    run_id = app.start({"steps": 10_000, "misbehave": ["hang_in_start"]})
    members = until(lambda: bench.processes(run_id))
    folder = bench.home.runs / run_id

    def vanish() -> bool:
        shutil.rmtree(folder, ignore_errors=True)  # the worker may write into it meanwhile
        return not folder.exists()

    until(vanish)
    app.stop(run_id)
    bench.wait(app, run_id, "stopped", "failed")
    until(lambda: not any(process.is_alive(*each) for each in members.items()))
    app.delete(run_id)
    assert app.list() == []


def test_a_flooded_log_stays_small(bench):
    app = bench.open()
    run_id = app.start({"steps": 5, "misbehave": ["flood"]})
    log = bench.home.runs / run_id / "log.txt"
    until(lambda: log.exists() and b"was removed" in log.read_bytes())
    sizes = []
    for _ in range(40):
        sizes.append(log.stat().st_size)
        time.sleep(0.02)
    assert max(sizes) < 200 * 2**20
    until(lambda: log.stat().st_size < 10 * 2**20)
    app.stop(run_id)
    bench.wait(app, run_id, "stopped", "completed")
    assert log.stat().st_size < 5 * 2**20
    assert app.log_tail(run_id, 3).count("\n") == 2


def test_a_run_is_not_started_without_free_space(bench):
    app = bench.open(min_free_bytes=2**60)
    with pytest.raises(UserError, match="free in the home folder"):
        app.start({})
    assert app.list() == [] and not any(bench.home.runs.iterdir())


def test_a_queue_without_space_waits_and_says_so_and_then_goes_on(bench, monkeypatch):
    from llmdemo.jobs import turns

    monkeypatch.setattr(turns, "free_bytes", lambda folder: 2**20)
    app = bench.open(min_free_bytes=2**21)
    run_id = app.start({"steps": 2})
    status = until(lambda: (status := app.status(run_id))["message"].startswith("Waiting for disk") and status)
    assert status["state"] == "queued" and "1 MB free" in status["message"] and status["hint"]
    monkeypatch.setattr(turns, "free_bytes", lambda folder: 2**22)
    bench.wait(app, run_id, "completed")


def test_a_command_that_cannot_be_run_fails_with_a_sentence(bench):
    app = bench.open(command=lambda run_dir, config: ["/no/such/program"])
    run_id = app.start({})
    status = bench.wait(app, run_id, "failed")
    assert status["reason"] == "worker_error" and "could not be started" in status["message"]


def test_many_queued_runs_go_in_order_and_several_at_once_if_wanted(bench):
    app = bench.open(runs_at_once=3, max_queued_runs=6)
    busy = [app.start({"steps": 10_000}) for _ in range(3)]
    for run_id in busy:
        bench.wait(app, run_id, "running")
    ids = [app.start({"steps": 1}) for _ in range(6)]
    with pytest.raises(UserError, match="6 runs are waiting already"):
        app.start({"steps": 1})
    assert [app.status(run_id)["queue_position"] for run_id in ids] == list(range(1, 7))
    app.reorder(ids[5], 1)
    ids.insert(0, ids.pop())
    for run_id in busy:
        app.stop(run_id)
    for run_id in ids:
        bench.wait(app, run_id, "completed", seconds=60)
    begun = [next(each["t"] for each in app.history(run_id) if each["state"] == "starting") for run_id in ids]
    assert begun == sorted(begun)


def test_the_queue_runs_one_at_a_time_a_gpu(bench, monkeypatch):
    monkeypatch.setattr("llmdemo.jobs.turns.gpus", lambda: ["0", "1"])
    app = bench.open()
    first, second, both = (
        app.start({"steps": 10_000}),
        app.start({"steps": 10_000}),
        app.start({"steps": 2, "num_processes": 2}),
    )
    for run_id in (first, second):
        bench.wait(app, run_id, "running")
    given = [RunFolder(bench.home.runs / run_id).process()["devices"] for run_id in (first, second)]
    assert sorted(given) == [["0"], ["1"]]
    app.stop(first)
    bench.wait(app, first, "stopped")
    assert app.status(both)["state"] == "queued", "it needs both"
    app.stop(second)
    bench.wait(app, both, "completed")


def test_a_clock_that_is_set_back_changes_nothing(bench, monkeypatch):
    app = bench.open()
    first = app.start({"steps": 30})
    bench.wait(app, first, "running")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    second, third = app.start({"steps": 2}), app.start({"steps": 2})
    assert [status["run_id"] for status in app.list()] == [third, second, first]
    app.stop(first)
    assert bench.wait(app, first, "stopped", "completed")
    bench.wait(app, third, "completed")
    assert app.status(second)["state"] == "completed"


def test_an_unreadable_disk_does_not_end_the_watch(bench, monkeypatch):
    app = bench.open()
    run_id = app.start({"steps": 40})
    bench.wait(app, run_id, "running")
    failures = []

    def broken(*_):
        failures.append(1)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("llmdemo.jobs.log.trim", broken)
        patch.setattr("llmdemo.jobs.process.is_alive", broken)
        until(lambda: len(failures) > 5)
        assert app.status(run_id)["state"] in ("starting", "running")
    bench.wait(app, run_id, "completed")


def test_trouble_of_any_kind_with_one_run_leaves_the_others_watched(bench, monkeypatch, caplog):
    app = bench.open(runs_at_once=2)
    odd = app.start({"steps": 10_000})
    bench.wait(app, odd, "running")
    real, odd_pid = process.is_alive, RunFolder(bench.home.runs / odd).process()["pid"]
    failures = []

    def is_alive(pid, identity):
        if pid == odd_pid:
            failures.append(1)
            raise KeyError("surprise")
        return real(pid, identity)

    with monkeypatch.context() as patch:
        patch.setattr(process, "is_alive", is_alive)
        until(lambda: len(failures) > 3)
        for _ in range(2):
            bench.wait(app, app.start({"steps": 2}), "completed")
        assert sum("watching over the jobs" in record.message for record in caplog.records) == 1, "it is said once"
    app.stop(odd)
    bench.wait(app, odd, "stopped")


def test_a_run_that_cannot_be_begun_fails_and_those_behind_it_go_on(bench, monkeypatch):
    from llmdemo.runs import command, service

    def processes(config):
        return {}["surprise"] if config.get("odd") else command.processes(config)

    monkeypatch.setattr(service, "processes", processes)
    app = bench.open()
    odd, good = app.start({"odd": True}), app.start({"steps": 2})
    status = bench.wait(app, odd, "failed")
    assert status["reason"] == "worker_error" and "could not be started" in status["message"]
    bench.wait(app, good, "completed")


def test_a_command_that_no_system_takes_fails_with_a_sentence(bench):
    app = bench.open(command=lambda run_dir, config: ["a\0b"])
    status = bench.wait(app, app.start({}), "failed")
    assert "could not be started (embedded null byte)" in status["message"]
