"""A hub with Jobs, and settings of a run on the tiny model."""

from types import SimpleNamespace

import pytest

from llmdemo.data.ingest import add_dataset
from tests.elsewhere.jobs_hub import JobsHub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    import huggingface_hub.utils._http as http

    server = JobsHub(tmp_path / "job")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    pauses = SimpleNamespace(sleep=lambda seconds: None)  # the client's, between its own tries, and nobody else's
    monkeypatch.setattr(http, "time", pauses)
    yield server
    server.close()


@pytest.fixture
def values(home, settings, tiny_model_folder, alpaca_file):
    """Settings of a run of six steps on the tiny model, which lies on this computer only."""
    dataset = add_dataset(home, settings, alpaca_file, "sums")
    run = {"method": "galore", "rank": 8, "max_steps": 6, "eval_steps": 3, "batch_size": 4, "max_length": 64}
    return {"dataset_id": dataset.dataset_id, "model_id": str(tiny_model_folder), **run}
