"""Runs of the worker in this process, and what they leave behind."""

import pytest
from safetensors.torch import load_file

from llmdemo.core.events import read_events
from llmdemo.training import worker
from llmdemo.training.loop import Loop


class Ran:
    """A run folder that the worker has been through."""

    def __init__(self, run_dir):
        self.run_dir = run_dir
        self.status = worker.main(run_dir)

    def events(self, kind):
        return [event for event in read_events(self.run_dir / "events.jsonl")[0] if event["type"] == kind]

    @property
    def end(self):
        return self.events("end")[-1]

    def weights(self):
        return load_file(sorted((self.run_dir / "checkpoints").iterdir())[-1] / "weights.safetensors")


@pytest.fixture
def ran():
    """Runs the worker on a run folder; `stop` ends it before that step."""

    def run(run_dir, stop=None):
        if stop is None:
            return Ran(run_dir)
        with pytest.MonkeyPatch.context() as patch:
            plain = Loop.run
            patch.setattr(
                Loop, "run", lambda self, ask, save: plain(self, lambda: self.progress.step == stop or ask(), save)
            )
            return Ran(run_dir)

    return run


@pytest.fixture
def without_samples(monkeypatch):
    """Nothing is written at evaluations: it takes longer than all else on a tiny model."""
    from llmdemo.training.objectives.base import Objective
    from llmdemo.training.objectives.chat import Causal
    from llmdemo.training.objectives.preference import Preference

    for objective in (Causal, Preference):
        monkeypatch.setattr(objective, "answers", Objective.answers)
