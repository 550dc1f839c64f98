"""Preferences: pairs add up to a data set that DPO can train on, and never touch one that a run was made from."""

import json

import pytest

from llmdemo import data
from llmdemo.arena.preferences import Preferences
from llmdemo.core.errors import UserError

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture
def preferences(home, settings):
    return Preferences(home, settings)


def records(home, dataset_id):
    return [
        {key: record[key] for key in ("messages", "chosen", "rejected")}
        for record in data.open_records(home, dataset_id)
    ]


def test_a_pair_makes_a_preference_data_set_with_the_name_that_was_given(preferences, home):
    made = preferences.add("My picks", {"messages": TURNS}, "Because of scattering.", "It is painted.")
    info = data.get_dataset(home, made["dataset_id"])
    assert (info.name, info.task, info.kept) == ("My picks", "preference", 1)
    assert records(home, info.dataset_id) == [
        {"messages": TURNS, "chosen": "Because of scattering.", "rejected": "It is painted."}
    ]
    assert preferences.sets() == [{"dataset_id": info.dataset_id, "name": "My picks", "pairs": 1}]


def test_further_pairs_add_up_and_the_same_pair_counts_once(preferences, home):
    preferences.add("picks", "First?", "A good answer", "A bad answer")
    preferences.add("picks", "Second?", "Another good one", ["A bad one", "A worse one"])
    made = preferences.add("picks", "First?", "A good answer", "A bad answer")
    assert (made["pairs"], made["added"]) == (3, 0)
    assert [record["rejected"] for record in records(home, made["dataset_id"])] == [
        "A bad answer",
        "A bad one",
        "A worse one",
    ]
    assert len(data.list_datasets(home)) == 1  # the versions before are gone: nothing speaks of them


def test_a_version_that_a_run_was_made_from_stays(preferences, home):
    first = preferences.add("picks", "First?", "Good", "Bad")
    run = home.runs / "run-20260101-000000-abcdef"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"dataset_id": first["dataset_id"]}))
    second = preferences.add("picks", "Second?", "Good again", "Bad again")
    assert data.get_dataset(home, first["dataset_id"]).kept == 1
    assert data.get_dataset(home, second["dataset_id"]).parent == first["dataset_id"]
    assert preferences.sets() == [{"dataset_id": second["dataset_id"], "name": "picks", "pairs": 2}]


def test_an_uploaded_preference_set_can_be_added_to_and_stays_as_it_was(preferences, home, settings, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([{"prompt": "Hi?", "chosen": "Hello!", "rejected": "Go away."}]))
    uploaded = data.add_dataset(home, settings, file, "mine")
    made = preferences.add("mine", "Why?", "Because.", "No.")
    assert made["pairs"] == 2 and data.get_dataset(home, uploaded.dataset_id).kept == 1


def test_no_name_means_one_for_all(preferences):
    assert preferences.add("  ", "Why?", "Because.", "No.")["name"] == "Arena preferences"


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "words"),
    [
        ({"raw": "Once"}, "upon", "a time", "raw continuation"),
        ("", "Yes", "No", "empty"),
        ("Why?", "", "No", "empty"),
        ("Why?", "Yes", " ", "empty"),
        ("Why?", "Yes", "Yes ", "same"),
        ("Why?", "Yes", [], "no other"),
        ("Why?", "Yes", None, "no other"),
        ("Why?", 7, "No", "empty"),
    ],
)
def test_what_is_no_pair_is_refused_in_a_sentence(preferences, home, prompt, chosen, rejected, words):
    with pytest.raises(UserError) as caught:
        preferences.add("picks", prompt, chosen, rejected)
    assert words in str(caught.value) and caught.value.hint
    assert data.list_datasets(home) == []


def test_the_name_of_other_data_is_refused(preferences, home, settings, alpaca_file):
    data.add_dataset(home, settings, alpaca_file, "sums")
    with pytest.raises(UserError, match="does not hold preferences"):
        preferences.add("sums", "Why?", "Because.", "No.")
