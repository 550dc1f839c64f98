"""A tiny model whose chat template has turns, and a way to run a job's work in this process."""

import json
import shutil

import pytest

from llmdemo.core.store import write_json
from llmdemo.generation import worker
from llmdemo.jobs import JobFolder
from llmdemo.settings.generation import GenerationSpec
from tests.evaluation.conftest import judge_server  # noqa: F401 - an endpoint that says what a test wants


@pytest.fixture
def starter(home, tiny_model_folder):
    shutil.copytree(tiny_model_folder, home.models / "starter")
    return "starter"


@pytest.fixture
def job(home, monkeypatch):
    """job(**settings) → the folder of a job that has not begun."""
    monkeypatch.setenv("LLMDEMO_HOME", str(home.root))
    monkeypatch.setenv("LLMDEMO_MIN_FREE_BYTES", "0")

    def make(**values) -> JobFolder:
        folder = JobFolder(home.root / "generations" / "gen-20260101-000000-abcdef")
        folder.path.mkdir(parents=True)
        about = {"id": folder.path.name, "name": "x", "created": ""}
        write_json(
            folder.path / "config.json", {"spec": GenerationSpec.from_dict(values).to_dict(), "generation": about}
        )
        return folder

    return make


@pytest.fixture
def done(home):
    """done(folder, keys) → the last event, after the work was done."""

    def work(folder: JobFolder, keys: dict | None = None) -> dict:
        from llmdemo.core.events import read_events

        worker.work(folder, home, json.dumps(keys) if keys else "")
        return read_events(folder.events)[0][-1]

    return work
