"""A strategy's values chosen on half of the records, and what the choice is worth on the other half. No models.

Whoever looks for the best of many on the same records that tell how good it is, is told too much: chance is in the score
that was the highest. So the records are dealt into two halves once; the first chooses, the second tells.
"""

from math import fsum
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from llmdemo.evaluation.intervals import Ratio, difference, wilson


def halves(records: list[dict], seed: int) -> tuple[list[dict], list[dict]]:
    """Two halves of the records, dealt at random by the seed; the first has one more where their number is odd."""
    order = np.random.default_rng(seed).permutation(len(records))
    middle = (len(records) + 1) // 2
    return [records[place] for place in order[:middle]], [records[place] for place in order[middle:]]


def told(records: list[dict], models: int, lanes: int, first: int, seed: int) -> list[dict[str, Any]]:
    """For each model: which of the lanes from `first` on scores best on half of the checked records, and that lane on the other.

    {n: (records of each half), chosen: the lane's place, chose: its score on the half that chose it, score, low, high: on the
    other half, base: the first lane's there, difference: to it {value, low, high} | None, agreement: Spearman's correlation of
    the candidates' scores on both halves | None, scores: [[half A, half B] of each candidate]}. [] with fewer than two records.
    """
    checked = [record for record in records if record["cells"][0]["correct"] is not None]
    if len(checked) < 2:
        return []
    return [_of_model(*halves(checked, seed), model * lanes, lanes, first, seed) for model in range(models)]


def _of_model(chooses: list[dict], tells: list[dict], begin: int, lanes: int, first: int, seed: int) -> dict[str, Any]:
    places = range(begin + first, begin + lanes)
    scores = [(_score(chooses, place), _score(tells, place)) for place in places]
    # of equal ones the one that says least, then the first
    best = min(range(len(scores)), key=lambda at: (-scores[at][0], _tokens(chooses, places[at]), at))
    right, base = (_right(tells, place) for place in (places[best], begin))
    low, high = wilson(float(right.sum()), len(right)) or (None, None)
    ones = np.ones(len(tells))
    varied = all(len({pair[half] for pair in scores}) > 1 for half in range(2))
    return {
        "n": [len(chooses), len(tells)],
        "chosen": first + best,
        "chose": scores[best][0],
        "score": scores[best][1],
        "low": low,
        "high": high,
        "base": float(base.mean()),
        "difference": difference(Ratio(base, ones), Ratio(right, ones), seed) if len(tells) > 1 else None,
        "agreement": float(spearmanr(*zip(*scores, strict=True)).statistic) if varied else None,
        "scores": [list(pair) for pair in scores],
    }


def _right(records: list[dict], place: int) -> np.ndarray:
    return np.array([float(record["cells"][place]["correct"]) for record in records])


def _score(records: list[dict], place: int) -> float:
    return float(_right(records, place).mean())


def _tokens(records: list[dict], place: int) -> float:
    return fsum(record["cells"][place]["tokens"] for record in records)
