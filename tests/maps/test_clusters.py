"""Clusters and their titles."""

import math

import numpy as np

from llmdemo.maps.clusters import analyse, c_tf_idf, clustered, telling_terms


def test_planted_clusters_are_found_and_numbered_by_size():
    generator = np.random.default_rng(0)
    centres = np.eye(8)[:3]
    truth = np.repeat([0, 1, 2], [20, 60, 40])
    vectors = centres[truth] + 0.05 * generator.normal(size=(120, 8))
    labels, silhouette = clustered(vectors.astype(np.float32), 0, 0)
    assert silhouette > 0.7 and np.bincount(labels).tolist() == [60, 40, 20]
    assert len(set(zip(truth.tolist(), labels.tolist(), strict=True))) == 3


def test_a_handful_of_records_are_one_cluster():
    labels, silhouette = clustered(np.eye(5, dtype=np.float32), 0, 0)
    assert labels.tolist() == [0] * 5 and silhouette is None


def test_as_many_clusters_as_are_asked_for_are_made_also_where_they_have_no_silhouette():
    labels, silhouette = clustered(np.eye(3, dtype=np.float32), 3, 0)
    assert sorted(labels.tolist()) == [0, 1, 2] and silhouette is None
    assert clustered(np.eye(3, dtype=np.float32), 1, 0)[0].tolist() == [0, 0, 0]


def test_weights_are_those_of_the_formula():
    """Grootendorst's W = tf · log(1 + A / f); a plain TF-IDF would give the shared term 0."""
    weights = c_tf_idf(np.array([[6, 2], [1, 3]]))
    mean = (8 + 4) / 2
    assert np.isclose(weights[0, 0], 6 / 8 * math.log(1 + mean / 7))
    assert np.isclose(weights[1, 1], 3 / 4 * math.log(1 + mean / 5))


def test_titles_are_the_words_that_tell_a_cluster_from_the_others():
    texts = ["add the sum of numbers", "the sum is large", "the capital of France", "the capital Paris"]
    terms = telling_terms(texts, np.array([0, 0, 1, 1]), 2)
    assert "sum" in terms[0] and "capital" in terms[1] and "the" not in terms[0] + terms[1]
    assert telling_terms(["123", "!!"], np.array([0, 1])) == [[], []], "no word, no title, no error"


def test_chinese_is_cut_into_pairs_of_characters():
    assert analyse("Hello 資料集!") == ["hello", "資料", "料集"]
