import json
import subprocess
import sys

import pytest

from llmdemo.errors import UserError
from llmdemo.runs.command import PROJECT


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
    assert status["name"] == "galore on receipts"
    assert status["size_bytes"] > 4000
    json.dumps(status, allow_nan=False)
    assert not bench.processes(run_id)


def test_two_starts_give_two_runs_one_after_the_other(bench):
    app = bench.open()
    first, second = (app.start({"steps": 30}) for _ in range(2))
    bench.wait(app, first, "running")
    assert app.status(second)["state"] == "queued"
    assert app.status(second)["queue_position"] == 1
    assert [status["run_id"] for status in app.list()] == [second, first]
    bench.wait(app, second, "completed")
    assert app.status(first)["state"] == "completed"


def test_an_unknown_run_is_a_sentence(bench):
    app = bench.open()
    for bad in ("run-nothing", "../x", "", None, "a" * 100):
        with pytest.raises(UserError):
            app.status(bad)
