"""Places records in the plane so that neighbours stay neighbours: t-SNE (van der Maaten & Hinton 2008) by openTSNE.

It is given the exact neighbours that are known already. Past a few thousand records the repulsion is interpolated
(FIt-SNE, arXiv 1712.09005), so that time grows with their number only. Vectors only.
"""

from collections.abc import Callable

import numpy as np

EARLY, LATE = 200, 400
"""Steps with exaggeration 12, and after it with 1; exaggeration pulls clusters apart at first."""
_LEAST = 12
_EVERY = 10
_INTERPOLATED = 5000


def placed(
    found: np.ndarray,
    cosines: np.ndarray,
    plane: np.ndarray,
    seed: int,
    tell: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """float32 (N, 2) places. found, cosines: neighbours as neighbours.nearest gives them; plane: (N, 2) to begin from.

    A dozen records or fewer keep their places in the plane. What `tell(share)` raises ends the work.
    """
    count, number = found.shape
    if count <= _LEAST:
        return plane.astype(np.float32)
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    distances = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * cosines.astype(np.float64)))  # between points of a sphere
    index = PrecomputedNeighbors(found.astype(np.int64), distances)
    affinities = PerplexityBasedNN(perplexity=max(2.0, number / 3), knn_index=index, random_state=seed)
    start = plane - plane.mean(0)
    start = 1e-4 * start / max(1e-12, float(start[:, 0].std()))
    way = "fft" if count > _INTERPOLATED else "bh"
    embedding = TSNEEmbedding(start, affinities, negative_gradient_method=way, n_jobs=-1, random_state=seed)

    def stage(begun: int):
        def call(step: int, _error: float, _places) -> bool:
            tell((begun + step) / (EARLY + LATE))
            return False

        return {"callbacks": call, "callbacks_every_iters": _EVERY, "use_callbacks": True}

    embedding = embedding.optimize(EARLY, exaggeration=12, momentum=0.5, **stage(0))
    embedding = embedding.optimize(LATE, momentum=0.8, **stage(EARLY))
    return np.asarray(embedding, np.float32)
