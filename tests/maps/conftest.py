"""A tiny model, a small data set of two kinds of record, and a way to run a job's work in this process."""

import json
import shutil

import pytest

from llmdemo import data
from llmdemo.core.events import read_events
from llmdemo.core.store import write_json
from llmdemo.jobs import JobFolder
from llmdemo.maps import worker
from llmdemo.settings.maps import MapSpec


@pytest.fixture
def starter(home, tiny_model_folder):
    shutil.copytree(tiny_model_folder, home.models / "starter")
    return "starter"


@pytest.fixture
def two_kinds(home, settings, tmp_path):
    """The id of a data set of 40 conversations: sums, and capitals."""
    sums = [{"instruction": f"Add {n} and {n + 1}.", "output": f"{2 * n + 1} {n} {n + 1}"} for n in range(20)]
    towns = [{"instruction": f"What is the capital of land {n}?", "output": f"Paris fox {n}"} for n in range(20)]
    (tmp_path / "both.json").write_text(json.dumps(sums + towns))
    return data.add_dataset(home, settings, tmp_path / "both.json", "both").dataset_id


@pytest.fixture
def job(home, monkeypatch):
    """job(**settings) → the folder of a map that has not begun."""
    monkeypatch.setenv("LLMDEMO_HOME", str(home.root))

    def make(**values) -> JobFolder:
        folder = JobFolder(home.root / "maps" / "map-20260101-000000-abcdef")
        folder.path.mkdir(parents=True)
        about = {"id": folder.path.name, "name": "x", "created": ""}
        write_json(folder.path / "config.json", {"spec": MapSpec.from_dict(values).to_dict(), "map": about})
        return folder

    return make


@pytest.fixture
def done(home):
    """done(folder) → the last event, after the work was done."""

    def work(folder: JobFolder) -> dict:
        worker.work(folder, home)
        return read_events(folder.events)[0][-1]

    return work
