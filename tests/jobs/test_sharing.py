"""Two apps on one home folder: one watches over the runs, the other shares safely, and takes over."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from llmdemo.core.errors import UserError
from llmdemo.jobs.environment import PROJECT
from tests.waiting import until

APP = """
import importlib.util, sys, time
from pathlib import Path
from llmdemo.jobs import Jobs
from llmdemo.runs import Runs
from llmdemo.settings import Settings
from llmdemo.core.store import Home
spec = importlib.util.spec_from_file_location("shared", sys.argv[2])
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
root = Path(sys.argv[1])
app = Runs(Jobs(Home(root), Settings(home=root, min_free_bytes=0)), shared.fake_command)
print(app.leads, flush=True)
time.sleep(600)
"""


@pytest.fixture
def other_app(bench):
    """Starts another app in a process of its own; gives the process once it is open."""
    started = []

    def start() -> subprocess.Popen:
        conftest = os.path.join(os.path.dirname(__file__), "conftest.py")
        argv = [sys.executable, "-c", APP, str(bench.home.root), conftest]
        process = subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        process.leads = process.stdout.readline().strip() == "True"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_of_two_apps_one_leads_and_both_see_the_same(bench):
    first, second = bench.open(), bench.open()
    assert (first.leads, second.leads) == (True, False)
    run_id = second.start({"steps": 10_000}, name="from the second")
    bench.wait(second, run_id, "running")
    assert first.status(run_id)["name"] == "from the second"
    assert second.stop(run_id)["state"] == "stopping"
    bench.wait(first, run_id, "stopped")
    assert second.status(run_id) | {"quiet_seconds": 0} == first.status(run_id) | {"quiet_seconds": 0}
    second.delete(run_id)
    assert first.list() == []


def test_the_second_app_goes_on_when_the_first_one_is_killed(bench, other_app):
    leader = other_app()
    assert leader.leads
    mine = bench.open()
    assert not mine.leads
    going, waiting = mine.start({"steps": 60, "step_seconds": 0.03}), mine.start({"steps": 2})
    bench.wait(mine, going, "running")
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    until(lambda: mine.leads, seconds=5)
    assert bench.wait(mine, going, "completed")["attempt"] == 1, "the run did not notice"
    bench.wait(mine, waiting, "completed")


def test_runs_started_from_both_at_once_are_all_kept_in_one_queue(bench):
    apps = [bench.open(), bench.open()]
    ids, barrier = [], threading.Barrier(6)

    def start(app):
        barrier.wait()
        ids.append(app.start({"steps": 1}))

    threads = [threading.Thread(target=start, args=(apps[index % 2],)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 6
    for run_id in ids:
        bench.wait(apps[1], run_id, "completed", seconds=60)
        assert [each["state"] for each in apps[0].history(run_id)].count("starting") == 1


def test_a_run_that_goes_cannot_be_deleted(bench):
    app = bench.open()
    run_id = app.start({"steps": 10_000})
    bench.wait(app, run_id, "running")
    with pytest.raises(UserError, match="still running"):
        app.delete(run_id)
    app.stop(run_id)
    bench.wait(app, run_id, "stopped")
    app.delete(run_id)
    assert not list(bench.home.runs.iterdir()) and not list(bench.home.tmp.iterdir())


def test_an_idle_app_does_next_to_nothing(bench, monkeypatch):
    from llmdemo.jobs import service

    monkeypatch.setattr(service, "_IDLE_SECONDS", 0.01)  # a hundred times as often as in truth
    app = bench.open()
    bench.wait(app, app.start({"steps": 1}), "completed")
    looks = []
    real = app.jobs._supervisor.tick
    monkeypatch.setattr(app.jobs._supervisor, "tick", lambda: looks.append(1) or real())
    version, counted = app.jobs._table.version, []
    monkeypatch.setattr(app.jobs._table, "version", lambda: counted.append(1) or version())
    until(lambda: len(counted) > 100)
    assert len(looks) <= 1
