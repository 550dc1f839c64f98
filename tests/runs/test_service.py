import json
import subprocess
import sys

import psutil
import pytest

from llmdemo.core.errors import UserError
from llmdemo.jobs.environment import PROJECT
from llmdemo.runs.folder import RunFolder


def test_runs_import_neither_torch_nor_gradio():
    code = "import sys, llmdemo.runs; print([m for m in ('torch', 'gradio', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_goes_from_the_queue_to_completed(bench):
    app = bench.open()
    run_id = app.start({"dataset_id": "receipts", "method": "galore", "steps": 6, "launcher": True})
    status = bench.wait(app, run_id, "completed", "failed")
    assert status["state"] == "completed", app.log_tail(run_id)
    assert [each["state"] for each in app.history(run_id)] == ["queued", "starting", "running", "completed"]
    assert status["step"] == status["total_steps"] == 6
    assert status["model_id"] == run_id
    assert status["loss"] == pytest.approx(3.0 / 6**0.5)
    assert status["eval_loss"] == pytest.approx(3.5 / 5**0.5)
    assert status["peak_memory_bytes"] == 10**8 + 6
    assert status["name"] == "GaLore · receipts"
    assert status["size_bytes"] > 4000
    json.dumps(status, allow_nan=False)
    assert not bench.processes(run_id)


def test_two_starts_give_two_runs_one_after_the_other(bench):
    app = bench.open()
    first, second = (app.start({"steps": 15}) for _ in range(2))
    bench.wait(app, first, "running")
    assert app.status(second)["state"] == "queued"
    assert app.status(second)["queue_position"] == 1
    assert [status["run_id"] for status in app.list()] == [second, first]
    bench.wait(app, second, "completed")
    assert app.status(first)["state"] == "completed"


def test_a_run_that_saves_memory_is_told_so_by_its_environment(bench):
    app = bench.open()
    run_id = app.start({"steps": 10_000, "weight_bits": 8})
    bench.wait(app, run_id, "running")
    environment = psutil.Process(RunFolder(bench.home.runs / run_id).process()["pid"]).environ()
    assert environment["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True" and environment["OMP_NUM_THREADS"]
    app.stop(run_id)
    bench.wait(app, run_id, "stopped")


def test_an_unknown_run_is_a_sentence(bench):
    app = bench.open()
    for bad in ("run-nothing", "../x", "", None, "a" * 100):
        with pytest.raises(UserError):
            app.status(bad)


def test_settings_that_json_cannot_hold_are_refused_and_leave_nothing(bench):
    app = bench.open()
    for bad in ({"learning_rate": float("nan")}, {"x": object()}, [], "text", None):
        with pytest.raises(UserError):
            app.start(bad)
    assert app.list() == [] and not any(bench.home.runs.iterdir()) and not any(bench.home.tmp.iterdir())


def test_the_config_is_kept_as_it_was_given(bench):
    app = bench.open()
    config = {"dataset_id": "d", "rank": 64, "dataset": {"name": "漢字", "share": 2.5}, "steps": 1}
    run_id = app.start(config, name="  My \t run ")
    assert app.config(run_id) == config
    assert app.status(run_id)["name"] == "My run"
    whole = json.loads((bench.home.runs / run_id / "config.json").read_text())
    assert whole["run"]["id"] == run_id


def test_a_completed_run_is_cloned_not_resumed(bench):
    app = bench.open()
    run_id = app.start({"steps": 1})
    bench.wait(app, run_id, "completed")
    with pytest.raises(UserError, match="Clone"):
        app.resume(run_id)
    assert app.stop(run_id)["state"] == "completed"


def test_resume_pressed_twice_queues_once(bench):
    app = bench.open()
    blocker, run_id = app.start({"steps": 10_000}), app.start({"steps": 1})
    app.cancel(run_id)
    assert app.resume(run_id)["state"] == app.resume(run_id)["state"] == "queued"
    assert [each["state"] for each in app.history(run_id)] == ["queued", "stopped", "queued"]
    app.stop(blocker)
    bench.wait(app, run_id, "completed")


def test_a_run_gets_another_name_that_its_folder_knows(bench):
    app = bench.open()
    run_id = app.start({"steps": 1})
    app.rename(run_id, "Receipts, rank 64")
    assert app.status(run_id)["name"] == "Receipts, rank 64"
    assert json.loads((bench.home.runs / run_id / "config.json").read_text())["run"]["name"] == "Receipts, rank 64"
    for bad in ("", "   ", "x" * 101, "a\x1bb"):
        with pytest.raises(UserError):
            app.rename(run_id, bad)


def test_waiting_runs_can_be_reordered(bench):
    app = bench.open()
    blocker = app.start({"steps": 10_000})
    bench.wait(app, blocker, "running")
    ids = [app.start({"steps": 1}) for _ in range(3)]
    app.reorder(ids[2], 1)
    assert [app.status(run_id)["queue_position"] for run_id in ids] == [2, 3, 1]
    with pytest.raises(UserError, match="is not waiting"):
        app.reorder(blocker, 1)
    app.stop(blocker)


def test_events_are_read_on_from_an_offset_and_figures_are_shown(bench):
    app = bench.open()
    first = app.start({"steps": 12})
    bench.wait(app, first, "completed")
    events, offset = app.events(first)
    assert events[0]["type"] == "launch" and events[-1]["type"] == "end"
    assert app.events(first, offset) == ([], offset)
    assert len(app.series(first, max_points=100)["loss"]["step"]) == 12
    assert app.samples(first)[0]["outputs"][0] == {"step": 5, "text": "hello 5"}
    assert app.refreshes(first)["steps"] == [5, 10]


def test_the_status_of_an_ended_run_needs_no_look_at_its_events(bench):
    app = bench.open()
    run_id = app.start({"steps": 3})
    before = bench.wait(app, run_id, "completed")
    (bench.home.runs / run_id / "events.jsonl").unlink()
    bench.close(app)
    app = bench.open()
    assert app.status(run_id)["loss"] == before["loss"]


def test_a_list_of_runs_that_cannot_be_opened_is_a_sentence(bench):
    bench.home.database.mkdir()
    with pytest.raises(UserError, match="cannot be opened") as caught:
        bench.open()
    assert "LLMDEMO_HOME" in caught.value.hint
    bench.home.database.rmdir()
    assert bench.open().leads, "the lock was given back"


def test_a_list_of_many_ended_runs_does_not_push_out_the_one_that_goes(bench):
    app = bench.open()
    for index in range(20):
        folder = bench.home.runs / f"run-{index}"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "events.jsonl").write_text('{"type": "step", "step": 7}\n{"type": "end", "state": "completed"}\n')
    bench.close(app)
    app = bench.open()
    run_id = app.start({"steps": 10_000})
    bench.wait(app, run_id, "running")
    reader = app.jobs._readers.of(bench.home.runs / run_id)
    assert [status["step"] for status in app.list()[1:]] == [7] * 20
    assert app.jobs._readers.of(bench.home.runs / run_id) is reader
    app.stop(run_id)


@pytest.mark.slow
def test_the_real_worker_tells_what_is_wrong_with_its_settings(bench, real_starts):
    app = bench.open(command=None)
    run_id = app.start({"dataset_id": "dataset-that-is-not-there"})
    status = bench.wait(app, run_id, "failed", "completed", seconds=120)
    assert (status["state"], status["reason"]) == ("failed", "bad_config"), app.log_tail(run_id)
    assert status["message"] and status["hint"]
