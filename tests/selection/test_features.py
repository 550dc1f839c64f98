"""Words that tell classes apart, against scikit-learn and counting."""

import math

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import chi2

from llmdemo.selection.features import mutual_information, small_models, table

TEXTS = ["win cash now", "win a prize now", "see you at lunch", "lunch now or later", "cash prize", "see you later"]
TRUTH = np.array([1, 1, 0, 0, 1, 0])


def test_terms_have_the_chi2_of_scikit_learn_and_the_class_they_speak_for():
    found = table(TEXTS, TRUTH, ["ham", "spam"])
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+|[£$€!?]")
    scores = dict(zip(words.fit(TEXTS).get_feature_names_out(), chi2(words.transform(TEXTS), TRUTH)[0], strict=True))
    by_term = {each["term"]: each for each in found}
    assert math.isclose(by_term["cash"]["chi2"], scores["cash"], abs_tol=1e-4)
    assert by_term["cash"]["label"] == "spam" and by_term["lunch"]["label"] == "ham"
    assert [each["chi2"] for each in found] == sorted((each["chi2"] for each in found), reverse=True)


def test_mutual_information_is_that_of_the_counts():
    has = np.array([True, True, True, False])
    truth = np.array([1, 1, 0, 0])
    joint = {(1, 1): 0.5, (1, 0): 0.25, (0, 0): 0.25}
    expected = sum(p * math.log(p / ({1: 0.75, 0: 0.25}[h] * 0.5)) for (h, _), p in joint.items())
    assert math.isclose(mutual_information(has, truth), expected, abs_tol=1e-12)


def test_small_models_are_judged_on_records_they_did_not_see():
    texts = [f"{'cash win' if n % 2 else 'lunch home'} {n % 37} word{n % 11}" for n in range(120)]
    truth = np.arange(120) % 2
    found = small_models(texts, truth, np.arange(80), np.arange(80, 120))
    assert {each["features"] for each in found} == {"all", "chi2", "svd"}
    assert all(each["accuracy"] == 1.0 for each in found if each["features"] == "chi2")
    noise = np.random.default_rng(0).integers(0, 2, 120)
    guessed = small_models(texts, noise, np.arange(80), np.arange(80, 120))
    assert all(each["accuracy"] < 0.8 for each in guessed), "what cannot be known is not known"
