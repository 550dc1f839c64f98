"""The classes that labels stand for, however they are spelt."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.data.labels import merge_labels


def test_spellings_that_differ_in_case_or_blanks_are_one_class_and_said_to_be():
    classes = merge_labels(["spam", "spam", "Spam", "spam ", "ham", "not  spam", "not spam", "not spam"])
    assert classes.names == ["ham", "not spam", "spam"]
    assert classes.index["Spam"] == classes.index["spam "] == 2 and classes.index["not  spam"] == 1
    assert classes.merged() == ["not spam", "spam"] and classes.numbers(["Spam", "ham"]).tolist() == [2, 0]
    assert any("'spam'" in note and "'Spam'" in note and "case or blanks" in note for note in classes.notes)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["ham"] * 5, "All 5 records have the label 'ham'"),
        (["ham", "HAM"], "All 2 records have the label 'HAM'"),
        ([f"label {n}" for n in range(5000)], "5,000 different labels"),
    ],
)
def test_too_few_or_too_many_labels_are_refused(labels, words):
    with pytest.raises(UserError, match=words):
        merge_labels(labels)


def test_labels_that_are_equal_as_numbers_are_one_class():
    classes = merge_labels(["1", "1.0", "0", "0.00", "1", "-2.0", "1.5"])
    assert classes.names == ["-2.0", "0", "1", "1.5"] and classes.index["1.0"] == 2 and classes.index["0.00"] == 1
    assert any("1.0" in note for note in classes.notes)
