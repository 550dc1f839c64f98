"""Labels that may be wrong, by confident learning (Northcutt et al., arXiv 1911.00068). Texts and class numbers only.

A model that never saw a record says how likely each class is: out-of-fold probabilities. A class's threshold is the mean
probability that records with its label get for it; a record that reaches another class's threshold, and has no higher
probability above its own label's, is suspicious. They are ranked by the margin between that class and their own label.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from llmdemo.evaluation.baselines import fit_and_predict, names_for


@dataclass(frozen=True)
class Suspicions:
    """What out-of-fold probabilities say of each of N labels."""

    order: np.ndarray
    """int64 (N,): all places, the most suspicious first."""
    suspicious: np.ndarray
    """bool (N,): off the diagonal of the confident joint, and another class is likelier than the label, as cleanlab has it."""
    suggested: np.ndarray
    """int64 (N,): the class that is likelier than the label; the label itself where none is."""
    own: np.ndarray
    """float64 (N,): probability of the record's own label."""
    other: np.ndarray
    """float64 (N,): probability of the likeliest other class."""
    joint: np.ndarray
    """int64 (C, C): how many records with label i are confidently of class j."""


def out_of_fold(
    texts: list[str],
    truth: np.ndarray,
    part: np.ndarray,
    classes: int,
    tell: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """float64 (N, C): of each record the mean probabilities of the small models that were trained on the other parts.

    part: int (N,) 0 … k - 1, as data.split.parts deals records out.
    """
    found = np.zeros((len(texts), classes))
    names, folds = names_for(classes), int(part.max()) + 1
    for fold in range(folds):
        inside, outside = np.flatnonzero(part == fold), np.flatnonzero(part != fold)
        for place, name in enumerate(names):
            tell((fold + place / len(names)) / folds)
            learned, asked = [texts[n] for n in outside], [texts[n] for n in inside]
            found[inside] += fit_and_predict(name, learned, truth[outside], asked, classes)[0] / len(names)
    return found


def suspicions(probabilities: np.ndarray, truth: np.ndarray) -> Suspicions:
    """probabilities: (N, C), out of fold; truth: int (N,), the labels as they are."""
    count, classes = probabilities.shape
    rows = np.arange(count)
    own = probabilities[rows, truth]
    thresholds = np.array(
        [own[truth == label].mean() if (truth == label).any() else np.inf for label in range(classes)]
    )
    masked = probabilities.copy()
    masked[rows, truth] = -1.0
    best_other = masked.argmax(1)
    other = masked[rows, best_other]
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    confident, is_confident = reached.argmax(1), reached.max(1) >= 0
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (truth[is_confident], confident[is_confident]), 1)
    suspicious = is_confident & (confident != truth) & (other > own)
    order = np.lexsort((rows, own - other))
    return Suspicions(order, suspicious, np.where(other > own, best_other, truth), own, other, joint)
