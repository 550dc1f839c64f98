"""The four classes of knowledge."""

import pytest

from llmdemo.knowledge.classes import changed, class_of, counted, is_right


@pytest.mark.parametrize(
    ("greedy", "sampled", "expected"),
    [([True, True], 0, "highly"), ([True, False], 0, "maybe"), ([False, False], 1, "weakly"), ([False, False], 0, "unknown"), ([], 0, "unknown")],
)  # fmt: skip
def test_classes_are_those_of_the_paper(greedy, sampled, expected):
    assert class_of(greedy, sampled) == expected


@pytest.mark.parametrize(
    ("said", "right"),
    [(" The Paris.\nQuestion: next", True), ("paris", True), ("Paris is in France", False), ("In\nParis", False), ("", False), ("巴黎。", True)],
)  # fmt: skip
def test_only_the_whole_first_line_is_right(said, right):
    assert is_right(said, ["Paris", "巴黎"]) is right


def test_an_answer_of_signs_alone_is_never_right():
    assert not is_right("...", ["!"])


def test_the_letter_a_of_a_multiple_choice_is_an_answer():
    assert is_right(" A.", ["A"]) and not is_right("B", ["A"]) and not is_right("...", ["A"])


def test_what_was_right_and_is_wrong_now_is_told_of_records_asked_twice():
    before = [{"index": 1, "greedy": [True, False]}, {"index": 2, "greedy": [False]}, {"index": 3, "greedy": [True]}]
    after = [{"index": 1, "greedy": [False]}, {"index": 2, "greedy": [True]}]
    after += [{"index": 3, "greedy": []}]  # its prompts were longer than the context
    assert changed(before, after) == {"lost": [1], "learned": [2]}
    assert counted([{"class": "maybe"}, {"class": ""}])["maybe"] == 1
