"""Data sets of token ids: kept as they are, checked against the vocabulary, refused by another tokenizer."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import MadeWith, TokenizerNeeded, add_dataset, merge_datasets, open_records
from llmdemo.data.encode import NOT_TRAINED
from llmdemo.data.tokenised import encoded, fingerprint


@pytest.fixture
def made_with(tiny_tokenizer):
    return MadeWith("tiny", tiny_tokenizer)


@pytest.fixture
def rows(tiny_tokenizer):
    """Five rows: two with labels, padding behind, an id that is none, one whose labels are too few, one with nothing to learn."""
    ids = [tiny_tokenizer(f"The capital of France is Paris {n}.")["input_ids"] for n in range(6)]
    full = [
        {"input_ids": list(row), "attention_mask": [1] * len(row), "labels": [NOT_TRAINED, *row[1:]]} for row in ids
    ]
    full[1] = {
        "input_ids": [*ids[1], 2, 2],
        "attention_mask": [1] * len(ids[1]) + [0, 0],
        "labels": [-100, -100, *ids[1][2:], -100, -100],
    }
    full[2]["input_ids"][1] = len(tiny_tokenizer)
    full[3]["labels"].pop()
    full[4]["labels"] = [NOT_TRAINED] * len(ids[4])
    return full, ids


def written(tmp_path, rows, name="ids.jsonl"):
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / name


def test_ids_and_labels_are_kept_as_they_are_without_padding(home, settings, tmp_path, rows, made_with, tiny_tokenizer):
    info = add_dataset(home, settings, written(tmp_path, rows[0]), "ids", made_with=made_with)
    records = open_records(home, info.dataset_id)
    assert (info.task, info.shape, len(records)) == ("text", "token ids", 3)
    first, second, last = records
    assert first["ids"] == rows[1][0] and first["labels"] == [NOT_TRAINED, *rows[1][0][1:]]
    assert second["ids"] == rows[1][1] and second["labels"] == [NOT_TRAINED, NOT_TRAINED, *rows[1][1][2:]]
    assert first["text"] == tiny_tokenizer.decode(rows[1][0]) and last["ids"] == rows[1][5]
    assert info.source["tokenizer"] == {"model_id": "tiny", "sha256": fingerprint(tiny_tokenizer)}
    said = [problem["message"] for problem in info.problems if problem["code"] in ("wrong_shape", "not_learned")]
    assert [any(word in text for text in said) for word in ("not among the", "one whole number", "to be learned")] == [
        True
    ] * 3
    assert list(encoded(info, iter(records), tiny_tokenizer)) == [(each["ids"], each["labels"]) for each in records]


def test_without_a_tokenizers_name_it_is_asked_for(home, settings, tmp_path, rows):
    with pytest.raises(TokenizerNeeded, match="which tokenizer"):
        add_dataset(home, settings, written(tmp_path, rows[0]), "ids")
    assert list(home.datasets.iterdir()) == []


def test_parquet_and_rows_without_labels_are_read_too(home, settings, tmp_path, rows, made_with, tiny_tokenizer):
    table = pa.table(
        {"input_ids": rows[1], "token_type_ids": [[0] * len(row) for row in rows[1]], "id": list(range(6))}
    )
    pq.write_table(table, tmp_path / "ids.parquet")
    info = add_dataset(home, settings, tmp_path / "ids.parquet", "ids", made_with=made_with)
    records = open_records(home, info.dataset_id)
    assert [record["ids"] for record in records] == rows[1] and "labels" not in records[0]
    assert list(encoded(info, iter(records), tiny_tokenizer))[0] == (rows[1][0], rows[1][0]), "all is learned"


def test_ids_of_another_tokenizer_are_refused_in_a_run_and_in_a_merge(
    home, settings, tmp_path, rows, made_with, tiny_tokenizer
):
    from tests.conftest import make_tokenizer

    info = add_dataset(home, settings, written(tmp_path, rows[0]), "ids", made_with=made_with)

    other = make_tokenizer(vocab_size=300)
    with pytest.raises(UserError, match=r"tokenizer of tiny"):
        list(encoded(info, iter(open_records(home, info.dataset_id)), other))
    with pytest.raises(UserError, match="different tokenizers"):
        two = add_dataset(
            home,
            settings,
            written(tmp_path, [{"input_ids": [5, 6, 7, 8]}], "b.jsonl"),
            "b",
            made_with=MadeWith("o", other),
        )
        merge_datasets(home, settings, [info.dataset_id, two.dataset_id], "both")


def test_a_file_with_texts_beside_its_ids_is_read_by_its_texts(home, settings, tmp_path):
    rows = [{"text": f"A sentence number {n}.", "input_ids": [5, 6, 7]} for n in range(4)]
    info = add_dataset(home, settings, written(tmp_path, rows), "texts", task="text")
    assert info.kept == 4 and "input_ids" in info.unused and "ids" not in open_records(home, info.dataset_id)[0]
