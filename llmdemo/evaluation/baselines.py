"""What a classifier has to beat: TF-IDF with logistic regression, and Naive Bayes, on the same split, by scikit-learn.

Both see words and pairs of words and train in a second. Texts and class numbers only; imported at their first use.
"""

import time
import warnings

import numpy as np

_MOST_WORDS = 100_000
_MOST_WEIGHTS = 20_000_000
_MOST_CLASSES = 100
NAMES = ("logistic", "bayes")


def names_for(classes: int) -> tuple[str, ...]:
    """Those that train in seconds with so many classes."""
    return NAMES if classes <= _MOST_CLASSES else ("bayes",)


def fit_and_predict(
    name: str, texts: list[str], truth: np.ndarray, asked: list[str], classes: int
) -> tuple[np.ndarray, float]:
    """(probabilities (N, classes) for the `asked` texts, seconds to train), after training on `texts`.

    A class that has no training text gets probability 0. With one class alone, everything is of that class.
    """
    started = time.perf_counter()
    found = np.zeros((len(asked), classes))
    known = np.unique(truth)
    if len(known) == 1:
        found[:, known[0]] = 1.0
        return found, time.perf_counter() - started
    words, model = _make(name, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a logistic regression that has not converged is good enough to compare with
        model.fit(words.fit_transform(texts), truth)
    seconds = time.perf_counter() - started
    found[:, model.classes_] = model.predict_proba(words.transform(asked))
    return found, seconds


def _make(name: str, classes: int):
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB

    # Single characters are words too: in Chinese, or where a message shouts "U".
    options = {
        "ngram_range": (1, 2),
        "max_features": min(_MOST_WORDS, _MOST_WEIGHTS // classes),
        "token_pattern": r"(?u)\w+|[£$€!?]",
    }
    if name == "logistic":
        return TfidfVectorizer(sublinear_tf=True, **options), LogisticRegression(
            C=10.0, class_weight="balanced", max_iter=100
        )
    return CountVectorizer(**options), MultinomialNB(alpha=0.1)
