"""Which records are asked, and whether a model has seen them."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from llmdemo.core.store import write_json
from llmdemo.data import delete_dataset, encode_chat, open_records, split
from llmdemo.evaluation.heldout import example, held_out, overlap, own_dataset, split_of
from llmdemo.evaluation.run_models import notes
from llmdemo.models import catalog
from llmdemo.settings.evaluation import Spec
from llmdemo.settings.training import TrainConfig
from llmdemo.training.prepare import prepare_data, read_config

SECOND = "run-20260101-000000-abcdef"


def rows(count=80, prefix="Add"):
    return [{"instruction": f"{prefix} {n} and {n * n} please.", "output": f"{n}"} for n in range(count)]


@pytest.fixture
def info(add):
    return add(rows())


def trained_on(home, info, **config):
    (home.runs / SECOND).mkdir(parents=True, exist_ok=True)
    about = {"dataset": {"id": info.dataset_id, "name": info.name, "content_hash": info.content_hash}}
    write_json(
        home.runs / SECOND / "config.json", {"dataset_id": info.dataset_id, "model_id": "starter", **about, **config}
    )


def spec(info, **more):
    return Spec(dataset_id=info.dataset_id, kind="answers", limit=10, **{"seed": 7, "eval_share": 0.25, **more})


def test_a_larger_limit_adds_to_a_smaller_ones_records(home, info):
    few, more = held_out(home, spec(info)), held_out(home, spec(info, seed=7))
    assert np.array_equal(few.indices, more.indices)
    records = open_records(home, info.dataset_id)
    held = split(records, 7, 0.25)[1]
    assert set(few.indices) <= set(held) and len(few.indices) == 10


def test_the_split_is_the_one_of_the_run_that_made_the_model(home, info):
    found = split_of(home, ("starter", SECOND), info.dataset_id)
    assert (found["seed"], found["max_length"]) == (7, 512)
    trained_on(home, info, seed=11, eval_share=0.3, folds=5, fold=2, max_length=96)
    found = split_of(home, ("starter", SECOND), info.dataset_id)
    expected = {"seed": 11, "eval_share": 0.3, "fold": 2, "folds": 5, "max_length": 96, "split_version": 1}
    assert found == expected
    trained_on(home, info, seed=11, split_version=2)
    assert split_of(home, (SECOND,), info.dataset_id)["split_version"] == 2
    assert split_of(home, ("starter",), info.dataset_id)["split_version"] == 2


@pytest.mark.parametrize("which", ["@4", "@last"])
def test_a_step_of_a_run_and_its_last_model_hold_out_what_the_run_did(home, info, which):
    trained_on(home, info, seed=3, eval_share=0.2)
    found = split_of(home, (f"{SECOND}{which}",), info.dataset_id)
    assert found == split_of(home, (SECOND,), info.dataset_id) and (found["seed"], found["eval_share"]) == (3, 0.2)


def test_an_evaluation_asks_the_records_that_the_run_judged_itself_by_in_their_order(home, add, tiny_model_folder):
    kinds = add([{"instruction": f"{'Add' if n < 400 else 'Name'} {n}.", "output": f"{n}"} for n in range(800)])
    run = home.runs / SECOND
    run.mkdir(parents=True)
    about = {"dataset": {"id": kinds.dataset_id, "name": kinds.name, "content_hash": kinds.content_hash}}
    config = TrainConfig.from_dict({"dataset_id": kinds.dataset_id, "seed": 5}).resolved()
    write_json(run / "config.json", {**config.to_dict(), **about})
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    judged = prepare_data(run, home, read_config(run), tokenizer).held_out
    asked = Spec(dataset_id=kinds.dataset_id, kind="answers", limit=32, **split_of(home, (SECOND,), kinds.dataset_id))
    held = held_out(home, asked)
    rows = [encode_chat(example(held.records, index).messages, tokenizer, 512).input_ids for index in held.indices]
    assert [judged.row(n)[0].tolist() for n in range(len(judged))] == rows and len(rows) == 32
    first = [held.records[int(index)]["row"] <= 400 for index in held.indices]
    assert 8 <= sum(first) <= 24  # not the first 32 of the file, which are of one kind


def test_a_run_from_before_keeps_its_draw(home, info):
    trained_on(home, info, seed=11, eval_share=0.25)
    old = Spec(dataset_id=info.dataset_id, kind="answers", limit=10, **split_of(home, (SECOND,), info.dataset_id))
    records = open_records(home, info.dataset_id)
    held = split(records, 11, 0.25, version=1)[1]
    assert np.array_equal(held_out(home, old).indices, held[np.random.default_rng(11).permutation(len(held))][:10])


def test_a_models_own_data_is_its_runs_or_the_same_records_again(home, add, info):
    later = add(rows(30, "Name"), "later")
    trained_on(home, info)
    assert own_dataset(home, ("starter", SECOND)) == info.dataset_id != later.dataset_id
    assert own_dataset(home, ("starter",)) is None
    delete_dataset(home, info.dataset_id)
    assert own_dataset(home, (SECOND,)) is None
    assert own_dataset(home, (SECOND,)) is None and own_dataset(home, (SECOND,), []) is None
    assert own_dataset(home, (SECOND,)) != add(rows(), "again").dataset_id == own_dataset(home, (SECOND,))


def test_a_model_has_not_seen_what_its_own_run_held_out(home, info):
    trained_on(home, info, seed=11, eval_share=0.25)
    assert overlap(home, SECOND, held_out(home, spec(info, seed=11)))["seen"] == 0


def test_records_that_stood_in_training_are_counted(home, info):
    trained_on(home, info, seed=11, eval_share=0.25)
    held = held_out(home, spec(info, seed=12))
    train = set(split(held.records, 11, 0.25)[0].tolist())
    expected = sum(int(index) in train for index in held.indices)
    assert overlap(home, SECOND, held) == {"seen": expected, "of": 10, "unknown": []} and expected > 0


def test_another_data_set_with_the_same_instructions_is_an_overlap_too(home, info, add):
    trained_on(home, add([{**row, "output": "?"} for row in rows()] + rows(5, "Take"), "other"), eval_share=0.0)
    assert overlap(home, SECOND, held_out(home, spec(info)))["seen"] == 10


def test_what_was_trained_before_and_replayed_counts_and_what_is_gone_is_said(home, info, add):
    trained_on(home, add(rows(30, "Take"), "own"), replay_dataset_id=info.dataset_id)
    assert overlap(home, SECOND, held_out(home, spec(info)))["seen"] == 10
    trained_on(home, info, dataset={"id": "data-gone", "name": "old rows"})
    assert overlap(home, SECOND, held_out(home, spec(info)))["unknown"] == ["old rows"]


def test_notes_tell_of_overlap_other_tokenizers_and_few_records(home, info, models):
    trained_on(home, info, seed=11, eval_share=0.25)
    entries = [catalog.resolve(home, model_id) for model_id in models]
    asked = spec(info, seed=12)
    found = {note["code"]: note for note in notes(home, asked, held_out(home, asked), entries)}
    assert found.keys() == {"overlap", "small"} and found["overlap"]["n"] > 0
    file = entries[1].path / "tokenizer.json"
    file.write_text(file.read_text().replace('"a":', '"a_":', 1))
    assert "tokenizers" in {note["code"] for note in notes(home, asked, held_out(home, asked), entries)}


def test_an_example_is_the_conversation_up_to_its_last_answer(home, info, add):
    records = open_records(home, info.dataset_id)
    one = example(records, 3)
    assert one.reference == one.messages[-1]["content"] and one.prompt == one.messages[:-1]
    pairs = add([{"prompt": f"Say {n} twice", "chosen": f"{n} {n}", "rejected": "no"} for n in range(10)], "pairs")
    one = example(open_records(home, pairs.dataset_id), 0)
    assert one.messages[-1] == {"role": "assistant", "content": one.reference} and one.reference != "no"
    squad = add(
        [
            {"question": f"Who is {n}?", "answers": {"text": [f"{n}", f"No {n}"], "answer_start": [1, 2]}}
            for n in range(10)
        ],
        "squad",
    )
    assert example(open_records(home, squad.dataset_id), 4).references == ["4", "No 4"]
