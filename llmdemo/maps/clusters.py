"""Clusters of vectors by k-means, and their most telling terms by c-TF-IDF. Vectors and texts only.

c-TF-IDF (Grootendorst, arXiv 2203.05794): all texts of a cluster count as one; a term's weight is its share of the
cluster's words times log(1 + A / f), A being the mean number of words of a cluster and f the term's number over all.
"""

import re
import warnings

import numpy as np

_SAMPLE = 3000
_TRIED = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
_MANY, _LEAST_OF_MANY = 300, 5
"""Of so many records fewer clusters than this say nothing, although the silhouette of two is often the best."""
_LEAST_OF_EACH = 8
_MOST_TERMS = 50_000
_FEW = {"min_df": 2, "max_df": 0.5}
"""A word that stands in one record, or in every other one, is no title."""
WORDS = r"(?u)[^\W\d_][^\W_]+"
"""Two letters or more; of Chinese, characters in a row, which `analyse` cuts into pairs."""


def clustered(vectors: np.ndarray, wanted: int, seed: int) -> tuple[np.ndarray, float | None]:
    """(int16 (N,) a number for each record, 0 being the largest cluster; silhouette, None of one cluster).

    wanted 0: of 2 (5, of 300 records and more) to 32 clusters the number with the best silhouette (Rousseeuw 1987) over a sample; of two that are alike
    within a hundredth, the smaller.
    """
    most = max(1, len(vectors) // _LEAST_OF_EACH)
    generator = np.random.default_rng(seed)
    sample = generator.permutation(len(vectors))[:_SAMPLE]
    least = _LEAST_OF_MANY if len(vectors) >= _MANY else 2
    if wanted:
        labels = _means(vectors, min(wanted, len(vectors)), seed)
        return _largest_first(labels), _silhouette(vectors[sample], labels[sample])
    best: tuple[np.ndarray, float | None] = (np.zeros(len(vectors), np.int16), None)
    for number in (each for each in _TRIED if least <= each <= most):
        labels = _means(vectors, number, seed)
        score = _silhouette(vectors[sample], labels[sample])
        if score is not None and (best[1] is None or score > best[1] + 0.01):
            best = labels, score
    return _largest_first(best[0]), best[1]


def _means(vectors: np.ndarray, number: int, seed: int) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer distinct records than clusters: there are fewer then
        means = MiniBatchKMeans(number, random_state=seed, n_init=3, batch_size=2048).fit(vectors)
    return means.labels_.astype(np.int16)


def _silhouette(vectors: np.ndarray, labels: np.ndarray) -> float | None:
    from sklearn.metrics import silhouette_score

    count = len(np.unique(labels))
    return float(silhouette_score(vectors, labels)) if 2 <= count < len(labels) else None


def _largest_first(labels: np.ndarray) -> np.ndarray:
    names, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    place = np.empty(len(names), np.int16)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(names))
    return place[inverse]


def analyse(text: str) -> list[str]:
    """The words of a text in small letters, without English stop words; a run of Chinese characters as its pairs."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found = []
    for word in re.findall(WORDS, text.lower()):
        if "\u3040" <= word[0] <= "\u9fff":
            found += [word[place : place + 2] for place in range(len(word) - 1)]
        elif word not in ENGLISH_STOP_WORDS:
            found.append(word)
    return found


def telling_terms(texts: list[str], labels: np.ndarray, number: int = 5) -> list[list[str]]:
    """The terms of each cluster with the largest c-TF-IDF, largest first. labels: (N,) 0 … C - 1."""
    from sklearn.feature_extraction.text import CountVectorizer

    groups = int(labels.max(initial=0)) + 1
    vectorizer = CountVectorizer(analyzer=analyse, max_features=_MOST_TERMS, **(_FEW if len(texts) > 50 else {}))
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # no text has a word
        return [[] for _ in range(groups)]
    weights = c_tf_idf(np.vstack([np.asarray(counts[labels == group].sum(0))[0] for group in range(groups)]))
    names = vectorizer.get_feature_names_out()
    return [[str(names[term]) for term in np.argsort(-row, kind="stable")[:number] if row[term] > 0] for row in weights]


def c_tf_idf(counts: np.ndarray) -> np.ndarray:
    """float64 (C, T) weights for counts (C, T) of T terms in C clusters."""
    counts = np.asarray(counts, np.float64)
    words = counts.sum(1, keepdims=True)
    mean, total = words.mean(), counts.sum(0)
    return counts / np.maximum(words, 1) * np.log1p(mean / np.maximum(total, 1))
