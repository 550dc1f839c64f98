"""A home folder of the version before: all that is in it appears, and can be shown, resumed and deleted."""

import os
import signal

import pytest

from llmdemo.evaluation import Evaluations
from llmdemo.evaluation.folder import EvaluationFolder
from llmdemo.experiments import Experiments
from llmdemo.jobs import process
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


@pytest.fixture
def evaluations(app, bench):
    """The old evaluations, none of which begins anew: a worker that is never launched is waited for."""
    return Evaluations(app.jobs)


def test_evaluations_are_as_they_were(evaluations, bench):
    waiting = evaluations.status(old_home.EVALUATIONS["queued"])
    assert waiting["state"] in ("queued", "running") and waiting["spec"]["limit"] == 4
    assert evaluations.stop(waiting["evaluation_id"])["spec"] == waiting["spec"]
    known = {state: evaluations.status(id_) for state, id_ in old_home.EVALUATIONS.items()}
    assert len(evaluations.list()) == 5
    told = {state: (each["state"], each["reason"], each["message"]) for state, each in known.items()}
    assert told["completed"] == ("completed", "", "") and told["stopped"] == ("stopped", "", "Stopped.")
    assert told["failed"] == ("failed", "out_of_memory", "The memory of this machine is full.")
    assert told["running"][:2] == ("failed", "lost")
    for each in known.values():
        assert each["titles"] == {"data": "sums", "models": ["Starter", "A finished run"]} and each["created"] > 1e9
    assert evaluations.result(old_home.EVALUATIONS["completed"])["records"] == 1
    assert evaluations.records(old_home.EVALUATIONS["stopped"])[0]["answers"] == ["a", "b"]


@pytest.mark.slow
def test_evaluations_can_be_resumed_and_deleted_and_are_taken_over_once(evaluations, app, bench):
    evaluations.stop(old_home.EVALUATIONS["queued"])
    assert evaluations.resume(old_home.EVALUATIONS["stopped"])["state"] in ("queued", "running")
    bench.wait(evaluations, old_home.EVALUATIONS["stopped"], "failed", seconds=60)  # the data are not in this home
    assert "no data set" in evaluations.status(old_home.EVALUATIONS["stopped"])["message"]
    evaluations.delete(old_home.EVALUATIONS["completed"])
    folder = bench.home.root / "evaluations" / old_home.EVALUATIONS["stopped"]
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".json") == [
        "config.json", "process.json", "result.json",
    ]  # fmt: skip
    bench.close(app)
    bench.home.database.unlink()
    again = Evaluations(bench.open(max_queued_runs=100).jobs)
    assert len(again.list()) == 4 and again.status(old_home.EVALUATIONS["stopped"])["state"] == "failed"


def test_the_last_word_of_an_old_worker_that_lives_through_the_change_counts(bench, tmp_path):
    old_home.unpack(bench.home)
    folder = EvaluationFolder(bench.home.root / "evaluations" / old_home.EVALUATIONS["running"])
    pid, identity = process.launch(["sleep", "600"], tmp_path, dict(os.environ), tmp_path / "log", "")
    folder.write("state", {"state": "running", "message": "", "hint": "", "pid": pid, "identity": identity})
    evaluations = Evaluations(bench.open(max_queued_runs=100).jobs)
    assert evaluations.status(folder.id)["state"] == "running"
    folder.write("state", {"state": "completed", "message": "", "hint": ""})
    os.kill(pid, signal.SIGKILL)
    assert bench.wait(evaluations, folder.id, "completed", "failed")["state"] == "completed"
    assert not (folder.path / "state.json").exists()


@pytest.mark.parametrize("app", [True, False], indirect=True, ids=["with its table", "from the folders alone"])
def test_experiments_are_as_they_were_and_the_unfinished_one_goes_on(app, bench):
    experiments = Experiments(app.jobs, app)
    assert len(experiments.list()) == 3
    done, cancelled = (experiments.status(old_home.EXPERIMENTS[each]) for each in ("completed", "cancelled"))
    assert (done["state"], done["name"], done["strategy"]) == ("completed", "Two rates", "grid")
    assert [row["eval_loss"] for row in done["rows"]] == [0.25, 1.25] and done["best"] == done["rows"][0]["run_id"]
    assert cancelled["state"] == "cancelled" and [row["state"] for row in cancelled["rows"]] == ["stopped"] * 2
    unfinished = old_home.EXPERIMENTS["unfinished"]
    assert experiments.status(unfinished)["state"] == "running"
    bench.wait(experiments, unfinished, "completed", "failed", seconds=40)
    for group_id in (done["group_id"], unfinished):
        experiments.delete(group_id)
    assert [each["group_id"] for each in experiments.list()] == [cancelled["group_id"]] and len(app.list()) == 12


def test_an_old_experiment_that_is_being_cancelled_ends_so(bench):
    old_home.unpack(bench.home)
    group_id = old_home.EXPERIMENTS["unfinished"]
    (bench.home.experiments / group_id / "cancelled").touch()
    app = bench.open(max_queued_runs=100)
    experiments = Experiments(app.jobs, app)
    assert experiments.status(group_id)["state"] in ("stopping", "cancelled")
    bench.wait(experiments, group_id, "cancelled", seconds=40)
    assert sorted(path.name for path in (bench.home.experiments / group_id).iterdir()) == [
        "config.json", "events.jsonl", "trials.json",
    ]  # fmt: skip
