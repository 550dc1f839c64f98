"""Labels that may be wrong."""

import numpy as np

from llmdemo.selection.labels import out_of_fold, suspicions


def test_the_joint_and_the_ranking_are_those_of_the_definition():
    """Thresholds: class 0: mean(.9, .8, .2) = .633; class 1: mean(.7, .6) = .65. A plain argmax would also suspect record 4."""
    first = np.array([0.9, 0.8, 0.2, 0.3, 0.4])
    probabilities = np.stack([first, 1 - first], 1)
    truth = np.array([0, 0, 0, 1, 1])
    found = suspicions(probabilities, truth)
    assert found.joint.tolist() == [[2, 1], [0, 1]]
    assert found.suspicious.tolist() == [False, False, True, False, False]
    assert found.order.tolist()[0] == 2 and found.suggested.tolist() == [0, 0, 1, 1, 1]


def test_a_label_that_the_models_find_likeliest_is_never_suspicious():
    """Class 1's threshold is mean(.99, .99, .55) = .84: record 3 misses it and reaches that of class 0, .4."""
    first = np.array([0.4, 0.01, 0.01, 0.45])
    found = suspicions(np.stack([first, 1 - first], 1), np.array([0, 1, 1, 1]))
    assert found.joint[1].tolist() == [1, 2] and not found.suspicious[3] and found.suggested[3] == 1
    alike = suspicions(np.full((4, 2), 0.5), np.array([0, 1, 0, 1]))
    assert not alike.suspicious.any(), "models that cannot tell suspect nobody"


def test_a_label_nobody_else_has_is_no_error():
    found = suspicions(np.array([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0]]), np.array([0, 1]))
    assert np.isfinite(found.own).all() and found.joint.shape == (3, 3)


def test_flipped_labels_are_found_by_models_that_never_saw_them():
    generator = np.random.default_rng(0)
    words = [["win", "prize", "cash", "free"], ["meeting", "lunch", "home", "later"]]
    right = np.arange(300) % 2
    texts = [" ".join(generator.choice(words[kind], 4)) + f" {generator.integers(50)}" for kind in right]
    flipped = generator.permutation(300)[:15]
    truth = right.copy()
    truth[flipped] = 1 - truth[flipped]
    found = suspicions(out_of_fold(texts, truth, np.arange(300) % 5, 2), truth)
    assert np.isin(flipped, found.order[:30]).mean() >= 0.8
    in_fold = out_of_fold(texts, truth, np.zeros(300, int) + (np.arange(300) > 298), 2)
    assert in_fold.shape == (300, 2)
