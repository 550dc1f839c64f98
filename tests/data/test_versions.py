import json

import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import (
    add_dataset,
    apply_filters,
    drop_records,
    edit_record,
    get_dataset,
    list_datasets,
    merge_datasets,
    open_records,
    preview_filters,
)

ROWS = [
    {"instruction": "Ask one.", "output": "Yes."},
    {"instruction": "Ask two.", "output": "No."},
    {"instruction": "ask  ONE.", "output": "yes."},
    {"instruction": "Ask one.", "output": "Maybe, write to a@b.example."},
]


@pytest.fixture
def info(home, settings, write, tokenizer):
    return add_dataset(home, settings, write("a.json", ROWS), "a", tokenizer=tokenizer)


def answers(home, info):
    return [record["messages"][-1]["content"] for record in open_records(home, info.dataset_id)]


def test_a_preview_counts_what_each_filter_leaves_out(home, info):
    preview = preview_filters(home, info.dataset_id)
    assert (preview["kept"], preview["records"]) == (3, 4)
    rows = {row["code"]: (row["on"], row["count"], row["only"]) for row in preview["filters"]}
    assert rows == {"duplicate": (True, 1, 1), "conflicting_answers": (False, 1, 1), "email": (False, 1, 1)}
    assert preview_filters(home, info.dataset_id, ["email", "duplicate"])["kept"] == 2
    assert preview_filters(home, info.dataset_id, [])["kept"] == 4


def test_filters_make_a_new_version_and_leave_the_old_one(home, info):
    new = apply_filters(home, info.dataset_id, ["email"])
    assert (new.kept, new.version, new.parent, new.family) == (3, 2, info.dataset_id, info.dataset_id)
    assert answers(home, new) == ["Yes.", "No.", "yes."]
    assert new.content_hash != info.content_hash and get_dataset(home, info.dataset_id) == info
    assert {p["code"]: p["action"] for p in new.problems}["duplicate"] == "kept"
    assert new.tokens["total"] != info.tokens["total"]
    back = apply_filters(home, new.dataset_id, info.filters)
    assert (back.version, back.content_hash, back.tokens) == (3, info.content_hash, info.tokens)
    with pytest.raises(UserError, match="not a filter"):
        apply_filters(home, info.dataset_id, ["everything"])


def test_an_edit_is_what_the_edited_file_would_have_been(home, settings, write, tokenizer, info):
    changed = [*ROWS[:2], {"instruction": "Ask three.", "output": "Yes, <b>yes</b>."}, ROWS[3]]
    expected = add_dataset(home, settings, write("b.json", changed), "b", tokenizer=tokenizer)
    turns = [{"role": "user", "content": "Ask three."}, {"role": "assistant", "content": "Yes, <b>yes</b>."}]
    edited = edit_record(home, info.dataset_id, 2, {"messages": turns}, tokenizer=tokenizer)
    for name in ("content_hash", "counts", "kept", "tokens", "problems"):
        assert getattr(edited, name) == getattr(expected, name), name
    assert edit_record(home, info.dataset_id, 2, {"messages": turns}).tokens is None


def test_an_edit_that_is_no_record_is_refused(home, info):
    before = list_datasets(home)
    with pytest.raises(UserError, match="no answer"):
        edit_record(home, info.dataset_id, 0, {"messages": [{"role": "user", "content": "Hi"}]})
    with pytest.raises(UserError, match="no record 9"):
        edit_record(home, info.dataset_id, 9, {"messages": []})
    assert list_datasets(home) == before and list(home.tmp.iterdir()) == []


def test_dropping_the_first_of_two_duplicates_keeps_the_second(home, info):
    new = drop_records(home, info.dataset_id, [0])
    assert answers(home, new) == ["No.", "yes.", "Maybe, write to a@b.example."]
    assert new.records == 3 and "Row 1 dropped" in new.change
    assert new.tokens["total"] > 0
    with pytest.raises(UserError, match="No record would be left"):
        drop_records(home, info.dataset_id, [0, 1, 2, 3])


def test_merged_data_sets_are_checked_against_each_other(home, settings, write, info):
    rows = [{"prompt": "Ask two.", "completion": "No."}, {"prompt": "Ask four.", "completion": "Four."}]
    other = add_dataset(home, settings, write("b.json", rows), "b")
    merged = merge_datasets(home, settings, [info.dataset_id, other.dataset_id], "both")
    assert (merged.rows, merged.kept, merged.counts["duplicate"]) == (5, 4, 1)
    assert [record["row"] for record in open_records(home, merged.dataset_id, everything=True)] == [1, 2, 3, 4, 5]
    with pytest.raises(UserError, match="two different"):
        merge_datasets(home, settings, [info.dataset_id], "x")


def test_data_sets_of_two_tasks_do_not_merge(home, settings, write, info):
    text = add_dataset(home, settings, write("a.txt", "Some text.\n\nMore of it."), "t")
    with pytest.raises(UserError, match="chat and text"):
        merge_datasets(home, settings, [info.dataset_id, text.dataset_id], "x")


def test_an_edit_of_a_label_keeps_the_labels_right(home, settings, write):
    rows = "".join(json.dumps({"text": f"text {n}", "label": "ab"[n % 2]}) + "\n" for n in range(4))
    info = add_dataset(home, settings, write("a.jsonl", rows), "a")
    edited = edit_record(home, info.dataset_id, 0, {"text": "text 0", "label": "c"})
    assert edited.labels == ["a", "b", "c"]


def test_a_record_of_a_file_with_several_instances_a_row_can_be_edited(home, settings, write):
    rows = [{"instruction": f"Say {n}.", "instances": [{"input": "", "output": str(n)}]} for n in range(4)]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    turns = [{"role": "user", "content": "Say one."}, {"role": "assistant", "content": "one"}]
    later = edit_record(home, info.dataset_id, 1, {"messages": turns})
    assert open_records(home, later.dataset_id)[1]["messages"] == turns and later.kept == 4
