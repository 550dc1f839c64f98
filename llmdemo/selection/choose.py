"""Which of N records stay, by a figure of each or by their vectors. numpy and scikit-learn; knows no data set.

Every function returns places, int64 (n,), ascending, n being `number` or all where there are no more.
"""

import numpy as np

_DIRECTIONS = 64
MISLED = 1.0
"""IFD from which on the question makes the answer less likely: such pairs do not belong together (arXiv 2308.12032)."""


def by_figure(figures: np.ndarray, number: int, order: str) -> np.ndarray:
    """The highest, the lowest, or those nearest to the median; NaN never. Of equal ones the first."""
    known = np.flatnonzero(np.isfinite(figures))
    values = figures[known]
    if order == "middle" and len(values):
        values = -np.abs(values - np.median(values))
    ranked = np.argsort(values if order == "low" else -values, kind="stable")
    return np.sort(known[ranked[:number]])


def by_ifd(figures: np.ndarray, number: int, order: str) -> np.ndarray:
    """As `by_figure`, without those of MISLED and above."""
    with np.errstate(invalid="ignore"):
        return by_figure(np.where(figures < MISLED, figures, np.nan), number, order)


def drawn(count: int, number: int, seed: int) -> np.ndarray:
    """By chance alone."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:number])


def k_centre(vectors: np.ndarray, number: int) -> np.ndarray:
    """Greedy k-centre (Gonzalez 1985; Sener & Savarese, arXiv 1708.00489): each time the record farthest from all that are
    taken, beginning with the one nearest to the mean. At most twice as far from the farthest record as the best choice.

    vectors: (N, d). Takes N · number · d multiplications.
    """
    vectors = np.asarray(vectors, np.float32)
    count = min(number, len(vectors))
    lengths = (vectors**2).sum(1)
    taken = [int(((vectors - vectors.mean(0)) ** 2).sum(1).argmin())]
    gaps = np.full(len(vectors), np.inf, np.float32)
    while len(taken) < count:
        last = taken[-1]
        np.minimum(gaps, lengths + lengths[last] - 2 * (vectors @ vectors[last]), out=gaps)
        gaps[taken] = -1
        taken.append(int(gaps.argmax()))
    return np.sort(np.array(taken, np.int64))


def evenly(clusters: np.ndarray, number: int, seed: int) -> np.ndarray:
    """As many of each cluster as there can be; within a cluster by chance. What a small one lacks, the others give."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(clusters))
    place = np.zeros(len(clusters), np.int64)
    for cluster in np.unique(clusters):
        members = order[clusters[order] == cluster]
        place[members] = np.arange(len(members))
    ranked = order[np.argsort(place[order], kind="stable")]
    return np.sort(ranked[:number])


def small_set(vectors: np.ndarray, lengths: np.ndarray, number: int, seed: int) -> np.ndarray:
    """The record with the longest answer of each of `number` regions: different and worked out, which LIMA's were chosen for by
    hand (arXiv 2305.11206); length stands for the care of an answer (arXiv 2402.04833). A proxy, not a judgement."""
    if number >= len(vectors):
        return np.arange(len(vectors))
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(number, random_state=seed, n_init=1, batch_size=max(1024, 3 * number)).fit(vectors)
    ranked = np.argsort(-lengths, kind="stable")
    _, first = np.unique(means.labels_[ranked], return_index=True)  # of each region the longest
    chosen = ranked[first]
    rest = ranked[~np.isin(ranked, chosen)][: number - len(chosen)]  # regions that came out empty
    return np.sort(np.concatenate([chosen, rest]))


def by_words(texts: list[str], seed: int) -> np.ndarray:
    """float32 (N, d) vectors of length 1 without any model: TF-IDF brought to few directions (latent semantic analysis)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, max_features=50_000, token_pattern=r"(?u)\w+")
    try:
        found = words.fit_transform(texts)
    except ValueError:  # no text has a word
        return np.ones((len(texts), 1), np.float32)
    if min(found.shape) > _DIRECTIONS + 1:
        vectors = TruncatedSVD(_DIRECTIONS, random_state=seed).fit_transform(found)
    else:
        vectors = found.toarray()
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
