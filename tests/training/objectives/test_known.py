"""A run that goes by a probe: what it tells of each class at its evaluations."""

import json

import numpy as np
import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.core.store import write_json
from llmdemo.data import add_dataset, get_dataset, open_records
from llmdemo.data.encode import encode_many
from llmdemo.knowledge.found import drawn, probe_for

PROBE = "probe-20260101-000000-abcdef"


@pytest.fixture
def facts(home, settings, tmp_path):
    rows = [{"instruction": f"Capital of land {n}?", "output": f"{n}"} for n in range(40)]
    (tmp_path / "facts.json").write_text(json.dumps(rows))
    return add_dataset(home, settings, tmp_path / "facts.json", "facts").dataset_id


@pytest.fixture
def probe(home, facts, tiny_model_folder):
    """A finished one of the facts by the tiny model: even ones are highly known, odd ones unknown."""
    folder = home.root / "probes" / PROBE
    folder.mkdir(parents=True)
    spec = {"dataset_id": facts, "model_id": str(tiny_model_folder), "max_new_tokens": 6}
    write_json(folder / "config.json", {"spec": spec, "probe": {"id": PROBE, "name": "x", "created": ""}})
    result = {"content_hash": get_dataset(home, facts).content_hash, "counts": {}, "asked": 40, "records": 40}
    write_json(folder / "result.json", result)
    lines = [
        {"type": "record", "t": 0, "index": n, "class": "unknown" if n % 2 else "highly", "greedy": [n % 2 == 0],
         "sampled": 0, "drawn": 0, "answer": ""} for n in range(40)
    ]  # fmt: skip
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def run_folder(home, facts, tiny_model_folder, **changes):
    folder = home.runs / "run-20260101-000000-abcdef"
    folder.mkdir(parents=True)
    values = {"dataset_id": facts, "model_id": str(tiny_model_folder), "rank": 8, "max_steps": 4, "eval_steps": 2}
    write_json(folder / "config.json", {**values, "batch_size": 4, "split_version": 2, "probe_records": 3, **changes})
    return folder


def loss_of(model, tokenizer, records, indices) -> float:
    """The mean of −log p over the answers' tokens, one record at a time by transformers' own forward."""
    total = count = 0.0
    for row in encode_many([records[i] for i in indices], tokenizer, 512):
        ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
        with torch.no_grad():
            total += model(input_ids=ids, labels=labels).loss.item() * row.trained
        count += row.trained
    return total / count


def test_loss_and_answers_are_told_by_class_of_the_same_records_each_time(
    home, facts, probe, tiny_model_folder, tiny_tokenizer, ran, without_samples
):
    run = ran(run_folder(home, facts, tiny_model_folder, publish_dtype="float32", best_by="last"))
    (asked,) = run.events("asked")
    known = run.events("known")
    assert [event["step"] for event in known] == [0, 2, 4] and asked["probe_id"] == PROBE
    parts = [(group["class"], group["trained"], group["n"]) for group in known[0]["groups"]]
    assert parts[0] == ("highly", True, 3) and ("unknown", True, 3) in parts
    indices = [each["index"] for each in asked["records"]]
    for event in known:
        assert sorted([*event["right"], *(index for index, _ in event["wrong"])]) == sorted(indices)
        assert sum(group["right"] for group in event["groups"]) == len(event["right"])
    from transformers import AutoModelForCausalLM

    records = open_records(home, facts)
    for event, folder in ((known[0], tiny_model_folder), (known[-1], run.run_dir / "model")):
        model = AutoModelForCausalLM.from_pretrained(folder)
        for group in event["groups"]:
            mine = [
                each["index"] for each in asked["records"]
                if (each["class"], each["trained"]) == (group["class"], group["trained"])
            ]  # fmt: skip
            assert group["loss"] == pytest.approx(loss_of(model, tiny_tokenizer, records, mine), rel=2e-3)


def test_a_run_learns_the_same_with_a_probe_and_without(home, facts, probe, tiny_model_folder, ran, without_samples):
    with_probe = ran(run_folder(home, facts, tiny_model_folder)).weights()
    (home.runs / "run-20260101-000000-abcdef").rename(home.runs / "run-20260102-000000-abcdef")
    without = ran(run_folder(home, facts, tiny_model_folder, probe_id="none"))
    assert without.events("known") == []
    assert all(torch.equal(value, with_probe[name]) for name, value in without.weights().items())


def test_records_are_drawn_by_class_from_what_is_learned_and_what_is_held_out():
    found = [{"index": n, "class": "highly" if n < 50 else "unknown"} for n in range(100)]
    train, held = np.arange(0, 100, 2), np.arange(1, 100, 2)
    chosen = drawn(found, train, held, 5, seed=1)
    assert chosen == drawn(found, train, held, 5, seed=1) != drawn(found, train, held, 5, seed=2)
    assert [(each["class"], each["trained"]) for each in chosen[::5]] == [
        ("highly", True), ("highly", False), ("unknown", True), ("unknown", False)
    ]  # fmt: skip
    assert all((each["index"] % 2 == 0) == each["trained"] for each in chosen) and len(chosen) == 20


def test_the_newest_probe_of_the_same_data_and_model_is_taken_and_a_named_one_must_fit(
    home, facts, probe, tiny_model_folder
):
    content, model = get_dataset(home, facts).content_hash, str(tiny_model_folder)
    assert probe_for(home, content, model) == probe == probe_for(home, content, "another", PROBE)
    assert probe_for(home, content, "another") is None and probe_for(home, "other", model) is None
    assert probe_for(home, content, model, "none") is None
    with pytest.raises(UserError, match="no probe probe-x"):
        probe_for(home, content, model, "probe-x")
    with pytest.raises(UserError, match="other records"):
        probe_for(home, "other", model, PROBE)
    (probe / "result.json").unlink()
    assert probe_for(home, content, model) is None
    with pytest.raises(UserError, match="not finished"):
        probe_for(home, content, model, PROBE)


def test_a_probe_with_damaged_records_is_refused_where_it_is_named_and_told_where_it_is_not(
    home, facts, probe, tiny_model_folder, ran, without_samples
):
    lines = (probe / "records.jsonl").read_text().splitlines()
    lines[3:6] = ['{"type": "record", "index": 3}', lines[4].replace('"unknown"', "7").replace('"highly"', "7"), "torn"]
    (probe / "records.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=f"3 of 40 records of the probe {PROBE} are damaged"):
        probe_for(home, get_dataset(home, facts).content_hash, str(tiny_model_folder), PROBE)
    run = ran(run_folder(home, facts, tiny_model_folder, max_steps=1))
    assert run.end["state"] == "completed" and run.events("known") == []
    assert any("3 of 40 records" in event["message"] for event in run.events("note"))


def test_a_worker_tells_a_probe_that_has_none_of_its_records(
    home, facts, probe, tiny_model_folder, ran, without_samples
):
    (probe / "records.jsonl").write_text("")
    run = ran(run_folder(home, facts, tiny_model_folder, max_steps=1))
    assert run.end["state"] == "completed"
    assert any(PROBE in event["message"] for event in run.events("note"))
