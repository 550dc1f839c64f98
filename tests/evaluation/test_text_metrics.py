"""Matches and overlaps, against rouge_score and sacrebleu as they are."""

import collections
import difflib
import random
import re
import string

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


def test_rouge_l_is_googles_on_any_words():
    """Of a few words, so that many are common, some in another order; the longest common run of words is another number."""
    from rouge_score.rouge_scorer import RougeScorer

    draw, scorer, runs_differ = random.Random(4), RougeScorer(["rougeL"]), 0
    for _ in range(300):
        kinds = draw.choice(("ab", "abcde", string.ascii_lowercase))
        said, right = (draw.choices(kinds, k=draw.randrange(1, 90)) for _ in range(2))
        found = tm.rouge_l(" ".join(said), " ".join(right))
        assert found == pytest.approx(scorer.score(" ".join(right), " ".join(said))["rougeL"].fmeasure)
        run = difflib.SequenceMatcher(None, said, right, autojunk=False).find_longest_match().size
        runs_differ += found != 2 * run / (len(said) + len(right))
    assert runs_differ > 200


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
    got = tm.chrf_corpus(list(answers), [[each] for each in references])
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


# ---- several right answers, by the definition of SQuAD's evaluation script (arXiv 1606.05250) ----


def squad_words(text):
    """That definition: lower case, punctuation off, articles off, blanks mended."""
    plain = "".join(each for each in text.lower() if each not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def squad_f1(answer, reference):
    got, wanted = squad_words(answer).split(), squad_words(reference).split()
    same = sum((collections.Counter(got) & collections.Counter(wanted)).values())
    if not got or not wanted:
        return float(got == wanted)
    if not same:
        return 0.0
    precision, recall = same / len(got), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def test_f1_is_squads_on_plain_english():
    generator, words = (
        random.Random(5),
        ["the", "A", "an", "Rome", "rome!", "Paris,", "42", "3.5", "(in)", "state-of-the-art", "'s", "."],
    )
    seen = set()
    for _ in range(2000):
        answer, *references = [" ".join(generator.choices(words, k=generator.randint(0, 5))) for _ in range(4)]
        expected = max(squad_f1(answer, reference) for reference in references)
        assert tm.best(tm.token_f1, answer, references) == pytest.approx(expected)
        seen.add(round(expected, 3))
    assert {0.0, 1.0} < seen and len(seen) > 8


def test_f1_of_the_published_example():
    assert tm.token_f1("the Denver Broncos team", "Denver Broncos") == pytest.approx(0.8)
    assert tm.token_f1("法國首都是巴黎", "巴黎") == pytest.approx(2 * 2 / 9)


def test_any_of_several_right_answers_counts_and_not_the_first_alone():
    references = ["Denver Broncos", "The Broncos", "Broncos from Denver"]
    assert tm.best(tm.exact_match, "The Broncos", references) and not tm.exact_match("The Broncos", references[0])
    assert tm.best(tm.normalised_match, "the broncos.", references) and not tm.best(
        tm.exact_match, "Chiefs", references
    )


def test_chrf_of_a_corpus_takes_references_of_any_number_as_sacrebleu_does():
    import sacrebleu

    answers, references = ["the cat sat", "a dog ran"], [["a cat sat down", "the cat sits", "cat"], ["the dog ran"]]
    streams = [["a cat sat down", "the dog ran"], ["the cat sits", None], ["cat", None]]
    assert tm.chrf_corpus(answers, references) == pytest.approx(sacrebleu.corpus_chrf(answers, streams).score)


PARCEL = '{"who":"Ann","when":null,"amount":12.5,"at":{"x":1,"y":2}}'


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        (PARCEL, 1),
        ('```json\n{"at": {"y": 2, "x": 1.0}, "amount": 12.50, "when": null, "who": "Ann"}\n```', 1),
        ('{"who":"Ann","when":"12.5","amount":12.5,"at":{"x":1,"y":2}}', 3 / 4),
        ('{"who":"ann","when":null,"amount":"12.5","at":{"x":1}}', 1 / 4),
        ('{"who":"Ann","amount":12.5,"at":{"x":1,"y":2}}', 3 / 4),  # a key that is missing is not null
        ('{"who":"Ann","when":null,"amount":12.5,"at":{"x":1,"y":2},"more":1}', 4 / 5),
        ("{}", 0),
        ('["Ann",null]', 0),
        ('{"who":"Ann"', 0),
        ("Ann", 0),
    ],
)
def test_fields_count_alike_and_by_their_values(answer, share):
    assert tm.fields_share(answer, PARCEL) == pytest.approx(share)


def test_no_share_of_fields_is_told_where_the_right_answer_has_none():
    assert [tm.fields_share(PARCEL, right) for right in ("Ann", "[1, 2]", "{}", "")] == [None] * 4
