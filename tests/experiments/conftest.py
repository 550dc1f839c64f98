"""A home folder with a tiny model, forty sums and the fake worker, on which experiments can be opened and closed."""

import dataclasses
import sys
import time
from pathlib import Path

import pytest

from llmdemo.data import add_dataset
from llmdemo.experiments import Experiments
from llmdemo.experiments import service as experiments_service
from llmdemo.jobs import Jobs
from llmdemo.jobs import service as jobs_service
from llmdemo.runs import Runs

FAKE = Path(__file__).with_name("fake_worker.py")


class Bench:
    def __init__(self, home, settings, dataset_id: str):
        self.home, self.settings = home, dataclasses.replace(settings, stop_grace_seconds=5, runs_at_once=2)
        self.base = {"dataset_id": dataset_id, "rank": 8, "max_steps": 4, "learning_rate": 0.001}
        self._opened = []

    def open(self, **settings) -> tuple[Experiments, Runs]:
        changed = dataclasses.replace(self.settings, **settings)
        runs = Runs(Jobs(self.home, changed), lambda run_dir, config: [sys.executable, "-S", str(FAKE), str(run_dir)])
        opened = Experiments(runs.jobs, runs), runs
        self._opened.append(opened)
        return opened

    def close(self, opened) -> None:
        self._opened.remove(opened)
        for each in opened:
            each.close()

    def wait(self, experiments, group_id: str, *states: str, seconds: float = 30.0) -> dict:
        """The status once the experiment is in one of `states`."""
        deadline = time.monotonic() + seconds
        while (status := experiments.status(group_id))["state"] not in states:
            assert time.monotonic() < deadline, f"{status['state']}: {[row['state'] for row in status['rows']]}"
            time.sleep(0.03)
        return status

    def tidy(self) -> None:
        for experiments, runs in list(self._opened):
            for run in runs.list():
                if run["can_stop"]:
                    runs.stop(run["run_id"])
            self.close((experiments, runs))


@pytest.fixture
def bench(home, settings, starter, alpaca_file, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(jobs_service, "_BUSY_SECONDS", 0.05)  # the tests' runs last milliseconds
    monkeypatch.setattr(jobs_service, "_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(experiments_service, "_EVERY_SECONDS", 0.05)
    info = add_dataset(home, settings, alpaca_file, "sums", tokenizer=tiny_tokenizer)
    bench = Bench(home, settings, info.dataset_id)
    yield bench
    bench.tidy()
