"""Which words tell classes apart, and how small models do with few of them. Texts and class numbers; scikit-learn.

Terms are ranked on the training part alone: ranked on all, the held-out part would help to choose them.
"""

import warnings
from typing import Any

import numpy as np

KS = (10, 50, 200, 1000)
_MOST_WORDS = 50_000


def table(texts: list[str], truth: np.ndarray, labels: list[str], most: int = 50) -> list[dict]:
    """[{term, label, records, chi2, mutual_information}] by chi² of the TF-IDF weights, highest first.

    label: the class with the highest mean weight. mutual_information: of the term's presence and the class, in nats, by
    counting. Raises ValueError where no text has a word.
    """
    from sklearn.feature_selection import chi2

    words = _words()
    weights = words.fit_transform(texts)
    scores = np.nan_to_num(chi2(weights, truth)[0])
    names = words.get_feature_names_out()
    present = (weights > 0).tocsc()
    found = []
    for term in np.argsort(-scores, kind="stable")[:most]:
        has = np.zeros(len(texts), bool)
        has[present[:, term].indices] = True
        column = weights[:, term].toarray()[:, 0]
        means = [column[truth == label].mean() if (truth == label).any() else 0.0 for label in range(len(labels))]
        found.append(
            {
                "term": str(names[term]),
                "label": labels[int(np.argmax(means))],
                "records": int(has.sum()),
                "chi2": round(float(scores[term]), 4),
                "mutual_information": round(mutual_information(has, truth), 6),
            }
        )
    return found


def mutual_information(has: np.ndarray, truth: np.ndarray) -> float:
    """Nats between presence, bool (N,), and class, int (N,), by their counts; equals sklearn.metrics.mutual_info_score."""
    from sklearn.metrics import mutual_info_score

    return float(mutual_info_score(has, truth))


def small_models(
    texts: list[str], truth: np.ndarray, train: np.ndarray, held: np.ndarray, tell=lambda share: None
) -> list[dict[str, Any]]:
    """[{features: "chi2" | "svd" | "all", k, accuracy, f1}] of logistic regression on the held-out part.

    chi2: the k terms with the highest chi²; svd: TF-IDF brought to k directions; all: every term, k being their number.
    f1: the mean over the classes. k that there are not so many of are left out.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_selection import SelectKBest, chi2

    words = _words()
    learned = words.fit_transform([texts[n] for n in train])
    asked = words.transform([texts[n] for n in held])
    found = [_scored("all", learned.shape[1], learned, asked, truth, train, held)]
    for place, k in enumerate(KS):
        tell(place / len(KS))
        if k >= learned.shape[1]:
            break
        best = SelectKBest(chi2, k=k).fit(learned, truth[train])
        found.append(_scored("chi2", k, best.transform(learned), best.transform(asked), truth, train, held))
        if k <= 200 and k < min(learned.shape):
            svd = TruncatedSVD(k, random_state=0).fit(learned)
            found.append(_scored("svd", k, svd.transform(learned), svd.transform(asked), truth, train, held))
    return found


def _scored(features: str, k: int, learned, asked, truth, train, held) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one that has not converged is good enough to compare with
        model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=200).fit(learned, truth[train])
    said = model.predict(asked)
    return {
        "features": features,
        "k": int(k),
        "accuracy": round(float(accuracy_score(truth[held], said)), 4),
        "f1": round(float(f1_score(truth[held], said, average="macro", zero_division=0)), 4),
    }


def _words():
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, max_features=_MOST_WORDS, token_pattern=r"(?u)\w+|[£$€!?]")
