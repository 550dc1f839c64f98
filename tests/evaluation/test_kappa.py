"""Cohen's kappa against scikit-learn, on the value and on each draw."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from llmdemo.evaluation.kappa import cohens_kappa


@pytest.mark.parametrize("seed, n, agree", [(0, 12, 0.9), (1, 60, 0.5), (2, 200, 0.0)])
def test_kappa_and_its_interval_are_those_of_scikit_learn(seed, n, agree):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 3, n)
    second = np.where(rng.random(n) < agree, first, rng.integers(0, 3, n))
    found = cohens_kappa(first, second, 3, seed)
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert found.share == np.mean(first == second) and np.sum(found.table) == n
    places = rng.integers(0, n, (400, n))
    drawn = np.quantile([cohen_kappa_score(first[each], second[each]) for each in places], (0.025, 0.975))
    assert [found.low, found.high] == pytest.approx(drawn, abs=0.06)


def test_raters_who_never_differ_in_anything_have_no_kappa_and_nobody_has_none():
    same = np.zeros(5, int)
    found = cohens_kappa(same, same, 3)
    assert (found.share, found.kappa, found.low) == (1.0, None, None)
    assert cohens_kappa(same[:0], same[:0], 3) is None
