"""Numbers about generated texts, against values worked out by hand."""

import math
from random import Random

import pytest

from llmdemo.arena.metrics import Loop, distinct, diversity, ending_loop, lane_metrics, self_bleu


def test_perplexity_is_that_of_the_mean_log_probability():
    metrics = lane_metrics([1, 2], [math.log(0.5), math.log(0.125)])
    assert metrics.perplexity == pytest.approx(4.0)
    assert metrics.mean_logprob == pytest.approx(math.log(0.25))


def test_a_lane_without_tokens_has_no_numbers():
    assert lane_metrics([], []).to_dict() == {
        "tokens": 0,
        "mean_logprob": None,
        "perplexity": None,
        "distinct_1": None,
        "distinct_2": None,
        "loop": None,
    }


def test_an_impossible_token_gives_no_perplexity_instead_of_an_overflow():
    assert lane_metrics([1], [-9999.0]).perplexity is None


def test_distinct_counts_different_n_grams():
    assert distinct([1, 2, 1, 2], 1) == 0.5
    assert distinct([1, 2, 1, 2], 2) == pytest.approx(2 / 3)
    assert distinct([1], 2) is None


def test_a_phrase_of_three_tokens_said_twice_at_the_end_is_a_loop():
    assert ending_loop([9, 1, 2, 3, 1, 2, 3]) == Loop(3, 2)


def test_the_same_phrase_in_the_middle_is_no_loop():
    assert ending_loop([1, 2, 3, 1, 2, 3, 9]) is None


def test_short_phrases_count_only_beyond_fifty_times():
    assert ending_loop([7] + [1] * 50) is None
    assert ending_loop([7] + [1] * 51) == Loop(1, 51)
    assert ending_loop([1, 2] * 30) is None


def test_the_length_with_most_repeats_is_taken():
    assert ending_loop([1, 2, 3] * 6) == Loop(3, 6)


def test_self_bleu_is_one_for_the_same_texts_and_low_for_different_ones():
    text = [1, 2, 3, 4, 5, 6]
    assert self_bleu([text, text, text]) == pytest.approx(1.0)
    assert self_bleu([text, [10, 11, 12, 13, 14, 15]]) == 0.0
    assert self_bleu([text]) is None


def test_self_bleu_by_hand():
    """[1 2 3 4] against [1 2 3 5]: precisions 3/4, 2/3, 1/2 and 0.1/1, no brevity penalty, and the same the other way."""
    expected = math.exp(sum(math.log(p) for p in (3 / 4, 2 / 3, 1 / 2, 0.1)) / 4)
    assert self_bleu([[1, 2, 3, 4], [1, 2, 3, 5]]) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_self_bleu_is_that_of_nltk(seed):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    random = Random(seed)
    texts = [[random.randrange(6) for _ in range(random.randrange(1, 30))] for _ in range(random.randrange(2, 9))]
    smooth = SmoothingFunction().method1
    scores = [
        sentence_bleu([*texts[:at], *texts[at + 1 :]], text, smoothing_function=smooth) for at, text in enumerate(texts)
    ]
    assert self_bleu(texts) == pytest.approx(sum(scores) / len(scores), abs=1e-12)


@pytest.mark.slow
def test_self_bleu_of_many_texts_takes_no_time_that_grows_with_their_square():
    random = Random(1)
    texts = [[random.randrange(1000) for _ in range(64)] for _ in range(4000)]
    assert 0 < self_bleu(texts) < 0.2  # 16 million pairs would take minutes


def test_diversity_is_one_without_any_repeated_pair_and_small_when_samples_are_alike():
    assert diversity([[1, 2, 3, 4, 5], [6, 7, 8, 9]]) == 1
    assert diversity([[1, 2, 3, 4, 5]] * 2) == pytest.approx(0.5**3)
    assert diversity([[1, 2, 3]]) is None
