"""Trackers: refused when they are not installed, given the run's figures when they are, and never a run's end."""

import sys
import types

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.training import trackers, worker


class FakeAccelerator:
    def __init__(self, fails_at=None):
        self.calls, self.fails_at = [], fails_at

    def init_trackers(self, name, config, init_kwargs):
        self.calls.append(("init", name, config))

    def log(self, values, step):
        if step == self.fails_at:
            raise ConnectionError("the tracker's server is gone")
        self.calls.append(("log", step, values))

    def end_training(self):
        self.calls.append(("end",))


@pytest.fixture
def said():
    events = []
    return events, lambda kind, **fields: events.append((kind, fields))


def test_a_tracker_that_is_not_installed_is_refused_with_what_to_run(monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    trackers.require_installed("none")
    for name in ("tensorboard", "trackio"):
        with pytest.raises(UserError, match=f"{name} is not installed") as refused:
            trackers.require_installed(name)
        assert f"pip install {name}" in refused.value.hint


def test_figures_of_steps_and_evaluations_go_to_both(said, tmp_path, monkeypatch):
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    events, report = said
    accelerator = FakeAccelerator()
    run_dir = tmp_path / "runs" / "run-1"
    both = trackers.tracked(report, accelerator, "trackio", run_dir, {"rank": 8, "target_modules": []})
    both("phase", phase="training")
    both("step", step=1, loss=2.0, lr=1e-3, prompt="text", good=True)
    both("eval", step=1, loss=1.5, accuracy=0.5, records=9)
    trackers.finish(accelerator, "trackio")
    assert len(events) == 3
    assert accelerator.calls == [
        ("init", "llmdemo", {"rank": 8}),
        ("log", 1, {"loss": 2.0, "lr": 1e-3}),
        ("log", 1, {"eval/loss": 1.5, "eval/accuracy": 0.5}),
        ("end",),
    ]
    assert trackers.os.environ["TRACKIO_DIR"] == str(tmp_path / "trackio")


def test_a_tracker_that_fails_is_left_out_and_the_run_goes_on(said, tmp_path):
    events, report = said
    accelerator = FakeAccelerator(fails_at=2)
    both = trackers.tracked(report, accelerator, "tensorboard", tmp_path, {})
    for step in (1, 2, 3):
        both("step", step=step, loss=1.0)
    assert len(events) == 3 and [call[1] for call in accelerator.calls[1:]] == [1]


def test_without_a_tracker_nothing_is_wrapped(said, tmp_path):
    _, report = said
    assert trackers.tracked(report, None, "none", tmp_path, {}) is report
    assert trackers.accelerator_options("none", tmp_path) == {}


def test_a_worker_logs_to_tensorboard_through_accelerate(make_run, monkeypatch):
    """With a stand-in for the package, so that the test needs nothing installed; Accelerate's own tracker is used."""
    written = []

    class SummaryWriter:
        def __init__(self, folder, **_):
            written.append(("folder", folder))

        def add_scalar(self, name, value, global_step=None):
            written.append((name, global_step))

        def add_hparams(self, values, metric_dict):
            written.append(("rank", values["rank"]))

        def flush(self):
            pass

        def close(self):
            written.append(("closed", None))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr("torch.utils.tensorboard", module, raising=False)
    monkeypatch.setattr(trackers, "require_installed", lambda name: None)
    from accelerate.utils import LoggerType

    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: [LoggerType.TENSORBOARD])
    run_dir = make_run(log_with="tensorboard", max_steps=2)
    assert worker.main(run_dir) == 0, read_events(run_dir / "events.jsonl")[0][-1]
    assert written[0] == ("folder", str(run_dir / "tracker" / "llmdemo")) and ("rank", 8) in written
    assert {("loss", 1), ("loss", 2), ("eval/loss", 0), ("eval/loss", 2)} <= set(written)
    assert written[-1] == ("closed", None)
