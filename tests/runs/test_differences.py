"""In what runs differ, and what somebody wrote of one."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.runs.folder import MOST_NOTE, RunFolder
from llmdemo.runs.service import differences

FIRST = {
    "dataset_id": "data-1", "dataset": {"id": "data-1", "name": "mails", "content_hash": "a" * 64}, "run": {"name": "one"},
    "model": {"id": "starter", "title": "Tiny"}, "method": "galore", "rank": 128, "target_modules": [], "name": "one",
}  # fmt: skip


def test_only_what_is_not_alike_is_named_with_the_value_of_each_run():
    second = {**FIRST, "rank": 64, "method": "lora", "run": {"name": "two"}, "name": "two", "beta1": 0.9}
    assert differences({"a": FIRST, "b": second, "c": FIRST}) == {
        "method": {"a": "galore", "b": "lora", "c": "galore"},
        "rank": {"a": 128, "b": 64, "c": 128},
        "beta1": {"a": None, "b": 0.9, "c": None},
    }
    assert differences({"a": FIRST, "b": FIRST}) == {} == differences({"a": FIRST})


def test_data_of_one_name_are_told_apart_by_their_content_and_models_by_their_titles():
    other = {
        **FIRST,
        "dataset": {"id": "data-2", "name": "mails", "content_hash": "b" * 64},
        "model": {"title": "Large"},
    }
    assert differences({"a": FIRST, "b": other}) == {
        "data": {"a": "mails (aaaaaaaa)", "b": "mails (bbbbbbbb)"},
        "model": {"a": "Tiny", "b": "Large"},
    }


def test_configs_that_anybody_may_have_written_end_nothing():
    assert differences({"a": {"dataset": 3, "model": None, "rank": [1]}, "b": {"rank": 1.0}})["rank"] == {
        "a": [1],
        "b": 1.0,
    }


def test_a_note_is_kept_and_taken_away_and_has_a_length(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.own_note() == ""
    folder.annotate("  With a higher rate.\n")
    assert folder.own_note() == "With a higher rate."
    with pytest.raises(UserError, match="2,001 characters"):
        folder.annotate("x" * (MOST_NOTE + 1))
    assert folder.own_note() == "With a higher rate."
    folder.annotate("")
    assert folder.own_note() == "" and not list(tmp_path.iterdir())
