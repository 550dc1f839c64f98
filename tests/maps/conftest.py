"""A tiny model, a small data set of two kinds of record, and a way to run a job's work in this process."""

import json

import pytest

from llmdemo import data
from llmdemo.jobs import JobFolder
from llmdemo.maps import worker
from llmdemo.settings.maps import MapSpec
from tests.workers import last_event, waiting_job


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
        return waiting_job(home.root / "maps" / "map-20260101-000000-abcdef", "map", MapSpec.from_dict(values))

    return make


@pytest.fixture
def done(home):
    """done(folder) → the last event, after the work was done."""

    def work(folder: JobFolder) -> dict:
        worker.work(folder, home)
        return last_event(folder)

    return work
