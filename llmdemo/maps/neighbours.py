"""Vectors of records brought to few directions, and each record's nearest neighbours among them. numpy and scikit-learn only.

Hidden states of language models share one large direction (Mu & Viswanath, arXiv 1702.01417), so the mean is taken off
before cosines are: without that every pair of records would look alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from llmdemo.core.errors import UserError

DIRECTIONS = 64
NEIGHBOURS = 30
_BLOCK = 512


@dataclass(frozen=True)
class Reduced:
    """The records in few directions."""

    vectors: np.ndarray
    """float32 (N, d): centred principal components, each row of length 1."""
    plane: np.ndarray
    """float32 (N, 2): the first two components, as they are."""
    explained: float
    """The share of the variance that those two have."""


def reduced(vectors: np.ndarray, seed: int) -> Reduced:
    """Principal components of vectors (N, H). Raises UserError for too few records, and where all are alike."""
    if len(vectors) < 3:
        raise UserError("err_map_too_few", n=len(vectors))
    from sklearn.decomposition import PCA

    vectors = np.asarray(vectors, np.float32)
    spread = vectors - vectors.mean(0)
    if float(np.abs(spread).max()) <= 1e-6 * max(1.0, float(np.abs(vectors).max())):
        raise UserError("err_map_alike")
    directions = min(DIRECTIONS, *vectors.shape)
    pca = PCA(directions, svd_solver="randomized" if min(vectors.shape) > 200 else "full", random_state=seed)
    parts = pca.fit_transform(spread).astype(np.float32)
    lengths = np.linalg.norm(parts, axis=1, keepdims=True)
    explained = float(pca.explained_variance_ratio_[:2].sum())
    return Reduced(parts / np.maximum(lengths, 1e-12), parts[:, :2].copy(), explained)


def nearest(
    vectors: np.ndarray, number: int = NEIGHBOURS, tell: Callable[[float], None] = lambda share: None
) -> tuple[np.ndarray, np.ndarray]:
    """(int32 (N, k) indices, float32 (N, k) cosines) of each row's nearest others, the nearest first; exact.

    vectors: float32 (N, d), rows of length 1. k is `number`, or N - 1 where that is less. In blocks, so memory stays bounded.
    """
    count = len(vectors)
    number = min(number, count - 1)
    found, cosines = np.zeros((count, number), np.int32), np.zeros((count, number), np.float32)
    for start in range(0, count, _BLOCK):
        tell(start / count)
        rows = np.arange(start, min(count, start + _BLOCK))
        alike = vectors[rows] @ vectors.T  # (block, N)
        alike[np.arange(len(rows)), rows] = -np.inf
        top = np.argpartition(-alike, number - 1, axis=1)[:, :number]
        values = np.take_along_axis(alike, top, axis=1)
        order = np.lexsort((top, -values), axis=1)
        found[rows] = np.take_along_axis(top, order, axis=1)
        cosines[rows] = np.clip(np.take_along_axis(values, order, axis=1), -1, 1)
    return found, cosines


def density(cosines: np.ndarray) -> np.ndarray:
    """float32 (N,), 0 … 1: the rank of each record's mean cosine to its neighbours; 1 has the densest surroundings."""
    order = np.argsort(np.argsort(cosines.mean(1), kind="stable"), kind="stable")
    return (order / max(1, len(order) - 1)).astype(np.float32)


def pairs(found: np.ndarray, cosines: np.ndarray, least: float, most: int = 1000) -> tuple[list[tuple], int]:
    """([(record, record, cosine)] most alike first, how many there are in all) with a cosine of at least `least`."""
    rows, columns = np.nonzero(cosines >= least)
    others = found[rows, columns]
    low, high, values = np.minimum(rows, others), np.maximum(rows, others), cosines[rows, columns]
    _, first = np.unique(low.astype(np.int64) * len(found) + high, return_index=True)
    first = first[np.argsort(-values[first], kind="stable")]
    return [(int(low[n]), int(high[n]), round(float(values[n]), 4)) for n in first[:most]], len(first)
