"""A tiny model whose chat template has turns, and a way to run a job's work in this process."""

import json

import pytest

from llmdemo.generation import worker
from llmdemo.jobs import JobFolder
from llmdemo.settings.generation import GenerationSpec
from tests.evaluation.conftest import judge_server  # noqa: F401 - an endpoint that says what a test wants
from tests.workers import last_event, waiting_job


@pytest.fixture
def job(home, monkeypatch):
    """job(**settings) → the folder of a job that has not begun."""
    monkeypatch.setenv("LLMDEMO_HOME", str(home.root))
    monkeypatch.setenv("LLMDEMO_MIN_FREE_BYTES", "0")

    def make(**values) -> JobFolder:
        folder = home.root / "generations" / "gen-20260101-000000-abcdef"
        return waiting_job(folder, "generation", GenerationSpec.from_dict(values))

    return make


@pytest.fixture
def done(home):
    """done(folder, keys) → the last event, after the work was done."""

    def work(folder: JobFolder, keys: dict | None = None) -> dict:
        worker.work(folder, home, json.dumps(keys) if keys else "")
        return last_event(folder)

    return work
