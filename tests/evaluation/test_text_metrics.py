"""Matches and overlaps, against rouge_score and sacrebleu as they are."""

import pytest

from llmdemo.evaluation import text_metrics as tm

PAIRS = [
    ("The cat sat on the mat.", "A cat sat on a mat!"),
    ("", "something"),
    ("Completely different words here", "nothing in common at all"),
    ("x_y and 3.14 don't", "x y and 3 14 don t"),
]


@pytest.mark.parametrize("answer, reference", PAIRS)
def test_rouge_l_is_googles_on_plain_english(answer, reference):
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
    assert tm.rouge_l(answer, reference) == pytest.approx(expected)


def test_rouge_l_sees_languages_without_spaces():
    assert tm.rouge_l("法國的首都是巴黎", "法國首都是巴黎") > 0.9
    assert tm.rouge_l("柏林", "巴黎") == 0


@pytest.mark.parametrize("answer, reference", PAIRS)
def test_chrf_is_sacrebleus(answer, reference):
    import sacrebleu

    assert tm.chrf(answer, reference) == pytest.approx(sacrebleu.sentence_chrf(answer, [reference]).score)


def test_chrf_of_a_corpus_is_not_the_mean_of_its_sentences():
    import sacrebleu

    answers, references = zip(*PAIRS, strict=True)
    got = tm.chrf_corpus(list(answers), list(references))
    assert got == pytest.approx(sacrebleu.corpus_chrf(list(answers), [list(references)]).score)
    assert tm.chrf_corpus([], []) is None


@pytest.mark.parametrize(
    "answer, reference, exact, loose",
    [
        ("Paris", "Paris", True, True),
        (" Paris\n", "Paris", True, True),
        ("paris.", "Paris", False, True),
        ("The answer", "answer", False, True),
        ("Rome", "Paris", False, False),
        ('{"b": 1, "a": [2]}', '{"a":[2],"b":1.0}', False, True),
        ('```json\n{"a": 1}\n```', '{"a": 1}', False, True),
        ('{"a": true}', '{"a": 1}', False, False),
        ("a: 1", '{"a": 1}', False, False),
        ("５", "5", False, True),
        ("5.", "5", False, True),
        ("5.0", "5", False, True),
        ("+5", "5", False, True),
        ("−5", "-5", False, True),
        ("1000", "1,000", False, True),
        (".50 km", "0.5 km.", False, True),
        ("**Paris**!", "Paris", False, True),
        ("- Paris", "Paris", False, True),
        ('"Paris, France"', "Paris France", False, True),
        ("x < 5", "x<5", False, True),
        ("It's ‘good’.", "Its good", False, True),
        ("a.", "A", False, True),
        ("《紅樓夢》。", "紅樓夢", False, True),
        ("你好，世界！", "你好世界", False, True),
        ("?!", "?!", True, True),
        ("-5", "5", False, False),
        ("5", "-5", False, False),
        ("35", "3.5", False, False),
        ("1.000", "1,000", False, False),
        ("12", "1/2", False, False),
        ("7", "007", False, False),
        ("C", "C++", False, False),
        ("C", "C#", False, False),
        ("x>5", "x<5", False, False),
        ("5%", "5", False, False),
        ("x", "!x", False, False),
        ("", "A", False, False),
        ("the", "A", False, False),
        ("vitamin", "vitamin A", False, False),
        ("", "?!", False, False),
        ("-0", "0.0", False, True),
    ],
)
def test_matches(answer, reference, exact, loose):
    assert tm.exact_match(answer, reference) is exact
    assert tm.normalised_match(answer, reference) is loose


@pytest.mark.parametrize(
    "reference, checkable",
    [
        ("Paris", True),
        ('{"a": ' + "1" * 200 + "}", True),
        ("one two three four five six seven eight nine", False),
        ("  ", False),
    ],
)
def test_only_short_answers_and_json_are_checked(reference, checkable):
    assert tm.is_checkable(reference) is checkable


def test_json_nested_without_end_is_no_json():
    assert tm.as_json("[" * 200_000) is None
