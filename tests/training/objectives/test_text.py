"""Continued pretraining: packed rows, what is held out, what is forgotten, what is replayed."""

import json
import math

import numpy as np
import pytest
import torch

from llmdemo.data.ingest import add_dataset
from llmdemo.data.records import open_records
from llmdemo.training import TrainConfig
from llmdemo.training.objectives import Place, Source
from llmdemo.training.objectives import text as module
from llmdemo.training.objectives.text import Text


@pytest.fixture
def encoded(home, settings, task_files, tiny_tokenizer):
    """The text data set as rows, with changes of the config."""
    dataset_id = add_dataset(home, settings, task_files["text"], "text").dataset_id

    def encode(held_out=4, **changes):
        values = {"dataset_id": dataset_id, "task": "text", "max_length": 64, "forgetting_dataset_id": "none"}
        config = TrainConfig.from_dict({**values, **changes})
        records = open_records(home, dataset_id)
        order = np.arange(len(records))
        source = Source(home, records, order[held_out:], order[:held_out])
        return Text.encode(source, config, tiny_tokenizer), source, config

    return encode


def documents(rows):
    """The documents of packed rows, as lists of ids."""
    found = []
    for index in range(len(rows)):
        cuts = np.flatnonzero(rows.row_positions(index) == 0)[1:]
        found += [part.tolist() for part in np.split(rows.row(index)[0], cuts)]
    return found


def test_every_token_of_every_document_is_in_one_packed_row(encoded, tiny_tokenizer):
    data, source, _ = encoded()
    expected = []
    for index in source.train:
        ids = tiny_tokenizer(source.records[int(index)]["text"])["input_ids"] + [tiny_tokenizer.eos_token_id]
        expected += [ids[start : start + 64] for start in range(0, len(ids), 64) if len(ids) - start > 1]
    assert sorted(documents(data.train)) == sorted(expected)
    assert len(data.train) < len(expected) and data.train.lengths.max() <= 64
    assert data.train.trained(range(len(data.train))) == sum(len(ids) - 1 for ids in expected)


def test_without_packing_each_piece_is_a_row(encoded):
    packed, apart = encoded()[0], encoded(packing=False)[0]
    assert apart.train.positions is None and len(apart.train) == len(documents(packed.train))


def test_a_text_that_is_one_document_holds_out_its_end(encoded, tiny_tokenizer):
    data, source, _ = encoded(held_out=0, packing=False, max_length=16)
    held_out, train = documents_apart(data.held_out), documents_apart(data.train)
    pieces = []
    for index in source.train:
        ids = tiny_tokenizer(source.records[int(index)]["text"])["input_ids"] + [tiny_tokenizer.eos_token_id]
        pieces += [ids[start : start + 16] for start in range(0, len(ids), 16) if len(ids) - start > 1]
    assert train + held_out == pieces
    assert len(held_out) == pytest.approx(0.1 * len(pieces), abs=1)


def documents_apart(rows):
    return [rows.row(index)[0].tolist() for index in range(len(rows))]


def test_perplexity_is_the_exponential_of_the_held_out_loss_and_of_transformers_loss(encoded, tiny_model_folder):
    from transformers import AutoModelForCausalLM

    data, _, config = encoded()
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    tokenizer = type("T", (), {"pad_token_id": 2, "eos_token_id": 2})
    figures, count = Text(Place(model, tokenizer, config, "fp32", torch.device("cpu")), data).evaluate()
    assert count == len(data.held_out) and figures["perplexity"] == pytest.approx(math.exp(figures["loss"]))
    total, tokens = 0.0, 0
    with torch.no_grad():
        for ids in documents(data.held_out):
            batch = torch.tensor([ids])
            total += model(input_ids=batch, labels=batch).loss.item() * (len(ids) - 1)
            tokens += len(ids) - 1
    assert figures["loss"] == pytest.approx(total / tokens, rel=1e-5)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
def test_replay_is_that_share_of_the_rows(encoded, home, settings, alpaca_file, share):
    other = add_dataset(home, settings, alpaca_file, "sums").dataset_id
    plain, _, _ = encoded()
    mixed, source, _ = encoded(replay_dataset_id=other, replay_share=share)
    added = len(mixed.train) - len(plain.train)
    assert added / len(mixed.train) == pytest.approx(share, abs=0.5 / len(plain.train))
    for index in range(len(plain.train)):
        np.testing.assert_array_equal(mixed.train.row(index)[0], plain.train.row(index)[0])
    last = mixed.train.row(len(mixed.train) - 1)
    assert (last[1] != -100).any() and (last[1] == -100).sum() > 5, "prompts of replayed conversations are not trained"
    again, _, _ = encoded(replay_dataset_id=other, replay_share=share)
    np.testing.assert_array_equal(mixed.train.ids, again.train.ids)


def test_a_run_reports_perplexity_and_what_is_forgotten(task_run, ran, home, settings, alpaca_file):
    sums = add_dataset(home, settings, alpaca_file, "sums").dataset_id
    run = ran(task_run("text", forgetting_dataset_id=sums, replay_dataset_id=sums, replay_share=0.3))
    assert run.end["state"] == "completed", run.end
    evals = run.events("eval")
    assert [event["step"] for event in evals] == [0, 4, 8]
    assert all(event["perplexity"] == pytest.approx(math.exp(event["loss"]), rel=1e-3) for event in evals)
    assert all(event["forgetting_loss"] > 0 for event in evals)
    assert evals[-1]["loss"] < evals[0]["loss"]
    assert not [note for note in run.events("note") if "best evaluation" not in note["message"]]
    card = (run.run_dir / "model" / "README.md").read_text()
    for words in ("held-out perplexity before", "held-out forgetting loss after", "| replayed rows |"):
        assert words in card
    sample = run.events("sample")[0]
    assert sample["prompt"] and sample["expected"]


def test_forgetting_is_measured_on_the_shipped_sample_unless_told_otherwise(encoded):
    shipped = encoded(forgetting_dataset_id="", max_length=512)[0].more["forgetting"]
    assert 8 <= len(shipped) <= 32 and module.SAMPLE_FILE.is_file()
    assert not len(encoded()[0].more["forgetting"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"replay_dataset_id": "data-1", "replay_share": 0.1}, "data-1"),
        ({"replay_dataset_id": "labels", "replay_share": 0.1}, "for the task 'classify'"),
        ({"forgetting_dataset_id": "labels"}, "Forgetting is measured on instruction data"),
        ({"max_length": 400, "batch_size": 1}, "reads at most 256"),
    ],
)
def test_what_cannot_work_is_a_sentence(task_run, ran, home, settings, task_files, tmp_path, changes, words):
    labels = add_dataset(home, settings, task_files["classify"], "labels").dataset_id
    long = tmp_path / "long.txt"
    long.write_text("\n\n".join(" ".join(f"{n} {k}" for k in range(300)) for n in range(4)))
    changes = {key: labels if value == "labels" else value for key, value in changes.items()}
    if "max_length" in changes:
        changes["dataset_id"] = add_dataset(home, settings, long, "long").dataset_id
    run = ran(task_run("text", **changes))
    assert run.status == 1 and words in run.end["message"] and run.end["hint"]
    assert run.end["reason"] == "bad_config"


def test_a_model_that_cannot_keep_documents_apart_computes_them_apart(encoded, tmp_path):
    """OPT counts its positions itself: packed, its documents would see each other."""
    from transformers import OPTConfig, OPTForCausalLM

    torch.manual_seed(0)
    model = OPTForCausalLM(OPTConfig(vocab_size=384, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, word_embed_proj_dim=32, init_std=0.15, dropout=0.0)).eval()  # fmt: skip
    data, _, config = encoded()
    tokenizer = type("T", (), {"pad_token_id": 2, "eos_token_id": 2})
    objective = Text(Place(model, tokenizer, config, "fp32", torch.device("cpu")), data)
    alone = np.array([i for i in range(len(data.train)) if (data.train.row_positions(i) == 0).sum() == 1])
    leaked = objective.mean_loss(data.train)
    notes = objective.verify(alone)
    assert not objective.packs and "cannot keep packed documents apart" in notes[0]
    assert abs(objective.mean_loss(data.train) - leaked) > 1e-3


def test_token_ids_that_came_as_they_are_are_the_rows_that_a_run_learns(
    home, settings, tiny_model_folder, tiny_tokenizer, tmp_path
):
    from llmdemo.data import MadeWith, add_dataset
    from llmdemo.training import TrainConfig
    from llmdemo.training.prepare import prepare_data

    rows = [{"input_ids": [3 + (n * k) % 60 for k in range(1, 9 + n)]} for n in range(12)]
    for row in rows:
        row["labels"] = [-100, -100, *row["input_ids"][2:]]
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    info = add_dataset(home, settings, tmp_path / "ids.jsonl", "ids", made_with=MadeWith("tiny", tiny_tokenizer))
    config = TrainConfig(info.dataset_id, task="text", model_id=str(tiny_model_folder), forgetting_dataset_id="none")
    run = tmp_path / "run"
    run.mkdir()
    data = prepare_data(run, home, config, tiny_tokenizer)
    learned = [data.train.row(i) for i in range(len(data.train))]
    brought = {tuple(row["input_ids"]): row["labels"] for row in rows}
    assert len(learned) + len(data.held_out) == 12
    assert all(brought[tuple(ids.tolist())] == labels.tolist() for ids, labels in learned)
