"""Directions, neighbours, density and near-duplicates of vectors."""

import numpy as np
import pytest

from llmdemo.core.errors import UserError
from llmdemo.maps.neighbours import density, nearest, pairs, reduced


def test_a_direction_that_all_vectors_share_says_nothing_of_how_alike_they_are():
    """Without taking the mean off, every cosine here would be above 0.99."""
    generator = np.random.default_rng(0)
    vectors = 50 * np.ones((60, 20)) + generator.normal(size=(60, 20))
    vectors[30:] += np.eye(20)[3] * 8
    parts = reduced(vectors, 0).vectors
    assert np.allclose(np.linalg.norm(parts, axis=1), 1, atol=1e-5)
    assert (parts[:30] @ parts[:30].T).mean() > 0.1 > (parts[:30] @ parts[30:].T).mean()


@pytest.mark.parametrize(("count", "words"), [(2, "3 records"), (10, "alike")])
def test_too_few_records_or_all_alike_are_refused_with_a_sentence(count, words):
    with pytest.raises(UserError, match=words):
        reduced(np.ones((count, 8)), 0)


def test_neighbours_are_those_of_a_search_through_all_pairs():
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(1100, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found, cosines = nearest(vectors, 4)
    whole = vectors @ vectors.T
    np.fill_diagonal(whole, -2)
    assert (np.sort(np.argsort(-whole, 1)[:, :4]) == np.sort(found)).mean() > 0.999
    assert np.allclose(cosines, -np.sort(-whole, 1)[:, :4], atol=1e-5)


def test_a_pair_of_near_duplicates_is_told_once_and_the_most_alike_first():
    found = np.array([[1, 2], [0, 2], [1, 0]])
    cosines = np.array([[0.99, 0.5], [0.99, 0.97], [0.97, 0.5]])
    assert pairs(found, cosines, 0.9) == ([(0, 1, 0.99), (1, 2, 0.97)], 2)
    assert pairs(found, cosines, 0.9, most=1) == ([(0, 1, 0.99)], 2)


def test_density_is_a_rank_from_0_to_1():
    assert density(np.array([[0.1], [0.9], [0.5]])).tolist() == [0.0, 1.0, 0.5]
