"""Votes over final answers, and minimum Bayes risk with chrF against sacrebleu's; wrong versions fail the same checks."""

from collections import Counter

import pytest
from sacrebleu.metrics import CHRF

from llmdemo.arena import ranking
from llmdemo.arena.ranking import chrf_of, expected_utility, final_answer, last_number, ngrams, vote

TEXTS = [
    "The cat sat on the mat.",
    "A cat sat on a mat",
    "the  cat\nsat",
    "貓坐在墊子上",
    "貓在墊子上",
    "x",
    "",
    "Completely different words here!",
]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 3 + 4 = 7.", "7"),
        ("It costs $1,234.50 in all", "1234.5"),
        ("7.0 and −12", "-12"),
        ("x = -0.50", "-0.5"),
        ("answer: .25", "0.25"),
        ("1,2,3", "3"),
        ("0.0", "0"),
        ("100", "100"),
        ("GPT4 and v2.1 say nothing", None),
        ("none at all", None),
    ],
)
def test_the_last_number_of_a_text_by_its_value(text, number):
    assert last_number(text) == number


def test_answers_that_come_to_the_same_vote_together_and_those_without_one_do_not_vote():
    texts = ["5 + 5 = 10", "That is 10.0", "12", "no idea", "It is 10"]
    assert vote(texts, "number") == [(0.6, "10"), (0.6, "10"), (0.2, "12"), (0.0, ""), (0.6, "10")]


def votes_by_final_answer(counting):
    texts = ["first 3, so 7", "3 and then 7", "7 or else 3"]
    assert [label for _, label in counting(texts, "number")] == ["7", "7", "3"]


def test_a_vote_for_the_first_number_fails_the_check(monkeypatch):
    votes_by_final_answer(vote)
    monkeypatch.setattr(ranking, "last_number", lambda text: ranking._NUMBER.search(text)[0])
    with pytest.raises(AssertionError):
        votes_by_final_answer(vote)


def test_a_pattern_or_the_whole_text_can_be_what_is_voted_for():
    assert final_answer("the answer is (B), not (C). Answer: (B)", "regex", r"\(([A-D])\)") == "B"
    assert final_answer("nothing", "regex", r"\(([A-D])\)") is None
    assert final_answer("  yes \n", "text") == "yes" and final_answer("  ", "text") is None


def is_sacrebleus(score):
    theirs = CHRF()
    for one in TEXTS:
        for other in TEXTS:
            if other:  # sacrebleu warns of an empty reference
                want = theirs.sentence_score(one, [other]).score
                assert score(ngrams(one), ngrams(other)) == pytest.approx(want, abs=1e-9), (one, other)


def test_chrf_is_sacrebleus():
    is_sacrebleus(chrf_of)


def test_a_chrf_with_a_beta_of_one_fails_the_check(monkeypatch):
    monkeypatch.setattr(ranking, "_BETA_SQUARED", 1.0)
    with pytest.raises(AssertionError):
        is_sacrebleus(chrf_of)


def test_a_chrf_that_counts_runs_once_fails_the_check():
    def sets(one, other):
        return chrf_of([Counter(dict.fromkeys(each, 1)) for each in one], [Counter(dict.fromkeys(e, 1)) for e in other])

    with pytest.raises(AssertionError):
        is_sacrebleus(sets)


def test_the_expected_utility_is_the_mean_with_every_other_answer_as_the_reference():
    texts = ["the cat sat", "the cat sat down", "a dog"]
    theirs = CHRF()
    for own, utility in enumerate(expected_utility(texts)):
        others = [theirs.sentence_score(texts[own], [text]).score for at, text in enumerate(texts) if at != own]
        assert utility == pytest.approx(sum(others) / 2)
    assert expected_utility(["alone"]) == [0.0] and expected_utility([]) == []


def test_the_answer_that_says_what_most_say_has_the_highest_utility():
    texts = ["Paris is the capital", "The capital is Paris", "Paris is the capital.", "Berlin"]
    utilities = expected_utility(texts)
    assert utilities.index(max(utilities)) in (0, 2) and min(utilities) == utilities[3]
