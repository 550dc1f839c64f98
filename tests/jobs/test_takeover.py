"""A home folder of the version before: all that is in it appears, and can be shown, resumed and deleted."""

import pytest

from tests.jobs import old_home


@pytest.fixture
def app(bench, request):
    old_home.unpack(bench.home, with_table=getattr(request, "param", True))
    return bench.open(max_queued_runs=100)


def test_runs_are_as_they_were(app, bench):
    known = {status["run_id"]: status for status in app.list()}
    assert len(known) == 12
    expected = {
        old_home.FINISHED: ("completed", "A finished run", 6),
        old_home.STOPPED: ("stopped", "A stopped run", 7),
        old_home.FAILED: ("failed", "run", 1),
    }
    for run_id, told in expected.items():
        assert tuple(known[run_id][key] for key in ("state", "name", "step")) == told
    assert known[old_home.FINISHED]["model_id"] == old_home.FINISHED
    assert known[old_home.FAILED]["reason"] == "worker_error" and "mat1 and mat2" in known[old_home.FAILED]["message"]
    assert known[old_home.PRUNED]["state"] == "completed" and known[old_home.PRUNED]["model_id"] is None
    assert bench.wait(app, old_home.LOST, "failed")["reason"] == "lost"
    assert [each["state"] for each in app.history(old_home.STOPPED)][-2:] == ["stopping", "stopped"]
    assert len(app.series(old_home.FINISHED)["loss"]["step"]) == 6 and app.config(old_home.FINISHED)["steps"] == 6


def test_the_queue_goes_on_in_the_order_that_no_folder_knows(app, bench):
    for run_id in old_home.QUEUE:
        bench.wait(app, run_id, "completed", "failed")
    begun = {run_id: app.history(run_id)[1]["t"] for run_id in old_home.QUEUE}
    assert sorted(begun, key=begun.get) == old_home.QUEUE


@pytest.mark.parametrize("app", [True, False], indirect=True, ids=["with its table", "from the folders alone"])
def test_runs_can_be_resumed_and_deleted(app, bench):
    for run_id in (old_home.FAILED, old_home.STOPPED):  # behind those that wait
        app.resume(run_id)
    assert bench.wait(app, old_home.FAILED, "failed", seconds=40)["attempt"] == 2
    status = bench.wait(app, old_home.STOPPED, "running", seconds=40)
    assert status["step"] >= 7 and app.stop(old_home.STOPPED)
    bench.wait(app, old_home.STOPPED, "stopped")
    for run_id in (old_home.FINISHED, old_home.STOPPED):
        app.delete(run_id)
        assert not (bench.home.runs / run_id).exists()
    assert len(app.list()) == 10
