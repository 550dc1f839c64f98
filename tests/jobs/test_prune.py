"""Taking the large files out of a run that has ended."""

import pytest

from llmdemo.core.errors import UserError


def test_a_pruned_run_keeps_its_figures_and_loses_its_model(bench):
    app = bench.open()
    run_id = app.start({"steps": 5})
    assert bench.wait(app, run_id, "completed")["model_id"] == run_id
    before = app.series(run_id)
    app.prune(run_id, "Another run is better.")
    app.prune(run_id, "Another run is better.")  # harmless when done again
    status = app.status(run_id)
    assert (status["state"], status["model_id"], status["message"]) == ("completed", None, "Another run is better.")
    assert status["loss"] is not None and app.series(run_id) == before
    folder = bench.home.runs / run_id
    assert not (folder / "model").exists() and not (folder / "checkpoints").exists()


def test_it_is_known_from_the_folder_alone(bench):
    app = bench.open()
    run_id = app.start({"steps": 2})
    bench.wait(app, run_id, "completed")
    app.prune(run_id, "Another run is better.")
    bench.close(app)
    for path in bench.home.root.glob("runs.sqlite*"):
        path.unlink()
    status = bench.open().status(run_id)
    assert (status["state"], status["model_id"], status["message"]) == ("completed", None, "Another run is better.")


def test_a_run_that_goes_keeps_everything(bench):
    app = bench.open()
    run_id = app.start({"steps": 10_000})
    bench.wait(app, run_id, "running")
    with pytest.raises(UserError, match="still running"):
        app.prune(run_id, "Another run is better.")
