"""Which records stay."""

import numpy as np
import pytest

from llmdemo.selection import choose


def test_a_figures_highest_lowest_and_middle_and_never_one_that_is_unknown():
    figures = np.array([5.0, np.nan, 1.0, 3.0, 9.0])
    assert choose.by_figure(figures, 2, "high").tolist() == [0, 4]
    assert choose.by_figure(figures, 2, "low").tolist() == [2, 3]
    assert choose.by_figure(figures, 1, "middle").tolist() in ([0], [3])
    assert choose.by_figure(figures, 99, "high").tolist() == [0, 2, 3, 4]


def test_ifd_leaves_out_what_the_question_misleads():
    """The highest IFD without the paper's filter would be the two mismatched pairs."""
    assert choose.by_ifd(np.array([0.2, 1.0, 0.8, 1.7, np.nan]), 2, "high").tolist() == [0, 2]


def greedy_by_hand(vectors, number):
    taken = [int(np.linalg.norm(vectors - vectors.mean(0), axis=1).argmin())]
    while len(taken) < number:
        gaps = np.linalg.norm(vectors[:, None] - vectors[taken][None], axis=2).min(1)
        gaps[taken] = -1
        taken.append(int(gaps.argmax()))
    return sorted(taken)


def test_k_centre_is_the_greedy_of_the_definition_and_reaches_every_planted_group():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(80, 5))
    assert choose.k_centre(vectors, 9).tolist() == greedy_by_hand(vectors, 9)
    groups = np.repeat(np.arange(4), [97, 1, 1, 1])
    planted = 20 * np.eye(4)[groups] + generator.normal(size=(100, 4))
    assert set(groups[choose.k_centre(planted, 4)]) == {0, 1, 2, 3}
    assert len(set(choose.k_centre(np.ones((6, 2)), 4).tolist())) == 4, "equal records are taken once each"


def test_clusters_give_as_many_each_and_small_ones_all_they_have():
    clusters = np.repeat([0, 1, 2], [50, 20, 2])
    counts = np.bincount(clusters[choose.evenly(clusters, 22, 0)])
    assert counts.tolist() == [10, 10, 2]


def test_a_small_set_takes_the_longest_answer_of_each_region():
    vectors = 10 * np.eye(3)[np.repeat([0, 1, 2], 10)] + 0.01 * np.random.default_rng(0).normal(size=(30, 3))
    lengths = np.arange(30.0)
    assert choose.small_set(vectors.astype(np.float32), lengths, 3, 0).tolist() == [9, 19, 29]


@pytest.mark.parametrize("texts", [["red apple pie"] * 3 + ["blue sky"] * 3, ["!!", "??"]])
def test_words_give_vectors_of_length_1_without_a_model(texts):
    vectors = choose.by_words(texts, 0)
    assert len(vectors) == len(texts) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_chance_is_the_seeds():
    assert choose.drawn(100, 7, 1).tolist() == choose.drawn(100, 7, 1).tolist() != choose.drawn(100, 7, 2).tolist()
