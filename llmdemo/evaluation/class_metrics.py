"""How good a classifier's probabilities are, by scikit-learn: figures, confusion, curves, calibration, worst mistakes.

Numbers only: knows no models and no texts. "Positive" is the rarest class that occurs, unless another is named.
scikit-learn is imported at the first use, since that takes a second.
"""

import numpy as np

_UNBALANCED = 0.2
_MANY_CLASSES = 100
"""Above it there is no confusion matrix and no area: both would take minutes and say little."""
_CURVE_POINTS = 200
_BINS = 10


def figures(truth: np.ndarray, probabilities: np.ndarray, labels: list[str], positive: int | None = None) -> dict:
    """Every figure of one classifier.

    truth int (N,), probabilities float (N, C) with rows that sum to 1. Returns accuracy, macro {precision, recall, f1},
    classes [{label, precision, recall, f1, support}], positive (an index), roc_auc and pr_auc (of the positive class for
    two classes, for more the mean one-against-rest of those that occur; None where one class alone occurs, or over 100), unbalanced, confusion (rows: truth; None above 100 classes),
    log_loss, brier, ece, bins. A class that never occurs counts with 0, as scikit-learn's zero_division=0.
    """
    from sklearn import metrics

    predicted, every = probabilities.argmax(1), list(range(len(labels)))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, predicted, labels=every, zero_division=0
    )
    present = [label for label in every if support[label]]
    positive = rarest(truth) if positive is None else positive
    shares = np.bincount(truth, minlength=len(labels)) / max(1, len(truth))
    return {
        "n": len(truth),
        "accuracy": float((predicted == truth).mean()),
        "macro": {
            "precision": float(precision[present].mean()),
            "recall": float(recall[present].mean()),
            "f1": float(f1[present].mean()),
        },
        "classes": [
            {"label": label, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for label, p, r, f, s in zip(labels, precision, recall, f1, support, strict=True)
        ],
        "positive": positive,
        **_areas(truth, probabilities, present, positive),
        "unbalanced": bool(len(present) > 1 and shares[present].min() < _UNBALANCED * (2 / len(present))),
        "confusion": metrics.confusion_matrix(truth, predicted, labels=every).tolist()
        if len(every) <= _MANY_CLASSES
        else None,
        "log_loss": float(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, None)).mean()),
        "brier": float(((probabilities - np.eye(len(labels))[truth]) ** 2).sum(1).mean()),
        **calibration(truth, probabilities),
    }


def rarest(truth: np.ndarray) -> int:
    """The class with the fewest records among those that occur."""
    counts = np.bincount(truth)
    return int(np.argmin(np.where(counts > 0, counts, np.iinfo(np.int64).max)))


def _areas(truth: np.ndarray, probabilities: np.ndarray, present: list[int], positive: int) -> dict:
    from sklearn import metrics

    if not 2 <= len(present) <= _MANY_CLASSES:
        return {"roc_auc": None, "pr_auc": None}
    # Of three classes with two present it may be the positive one that is missing, and that has no area.
    asked = [positive] if probabilities.shape[1] == 2 else present
    areas = [
        (
            metrics.roc_auc_score(truth == label, probabilities[:, label]),
            metrics.average_precision_score(truth == label, probabilities[:, label]),
        )
        for label in asked
    ]
    return {"roc_auc": float(np.mean([a for a, _ in areas])), "pr_auc": float(np.mean([p for _, p in areas]))}


def calibration(truth: np.ndarray, probabilities: np.ndarray, bins: int = _BINS) -> dict:
    """{"ece", "bins": [{from, to, n, confidence, accuracy}]}: how far confidence is from being right.

    Expected calibration error with bins of equal width over the highest probability (Guo et al., arXiv 1706.04599).
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    found, ece = [], 0.0
    for number in range(bins):
        inside = place == number
        if not inside.any():
            continue
        mean, share = float(confidence[inside].mean()), float(right[inside].mean())
        ece += inside.mean() * abs(mean - share)
        found.append(
            {"from": number / bins, "to": (number + 1) / bins, "n": int(inside.sum()), "confidence": mean, "accuracy": share}
        )  # fmt: skip
    return {"ece": float(ece), "bins": found}


def curves(truth: np.ndarray, scores: np.ndarray, positive: int) -> dict:
    """The ROC and the precision-recall curve of one class against the rest, at most 200 points each.

    {"roc": {x: false positive rate, y: true positive rate}, "pr": {x: recall, y: precision}, "base": share of the class}
    """
    from sklearn import metrics

    is_positive = truth == positive
    if not is_positive.any() or is_positive.all():
        return {"roc": None, "pr": None, "base": float(is_positive.mean()) if len(truth) else None}
    rate, hit, _ = metrics.roc_curve(is_positive, scores, drop_intermediate=True)
    precision, recall, _ = metrics.precision_recall_curve(is_positive, scores, drop_intermediate=True)
    return {
        "roc": _thin(rate, hit),
        "pr": _thin(recall[::-1], precision[::-1]),
        "base": float(is_positive.mean()),
    }


def worst(truth: np.ndarray, probabilities: np.ndarray, most: int) -> list[int]:
    """The places of the mistakes, the most confident first."""
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != truth)
    return wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:most].tolist()


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, C) of logits (N, C), in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _thin(x: np.ndarray, y: np.ndarray) -> dict:
    if len(x) > _CURVE_POINTS:
        chosen = np.unique(np.linspace(0, len(x) - 1, _CURVE_POINTS).round().astype(int))
        x, y = x[chosen], y[chosen]
    return {"x": [round(float(value), 5) for value in x], "y": [round(float(value), 5) for value in y]}
