"""What decoding strategies are worth: score against cost, each with its interval, from the cells of records. No models.

pass@k is the unbiased estimate of Chen et al., arXiv 2107.03374. Differences are by the paired bootstrap over the same
records (intervals.py).
"""

from math import comb, fsum
from typing import Any

import numpy as np

from llmdemo.core.errors import UserError
from llmdemo.evaluation.intervals import Ratio, difference, wilson

_BINS = 5
COSTS = ("forwards", "tokens", "seconds")


def pass_at_k(n: int, right: int, k: int) -> float:
    """The chance that one of k answers, of the n that were drawn of which `right` are, is right: 1 − C(n−c, k) / C(n, k)."""
    if not 1 <= k <= n:
        raise UserError("err_pass_at_k", k=k, n=n)
    return 1.0 - comb(n - right, k) / comb(n, k)


def table(records: list[dict], models: int, lanes: list[dict], pass_at: tuple[int, ...], seed: int) -> list[dict]:
    """A row for each model and lane, in the order of the records' cells.

    {model, lane, name, strategy, score, low, high, n (checked records), forwards, tokens (means an answer), seconds (of an
    answer that is decoded alone; None where none was), difference to the model's first lane {value, low, high} | None,
    pass_at {k: estimate}, calibration, dominated {cost: bool}}.
    """
    rows: list[dict[str, Any]] = []
    for model in range(models):
        for place, lane in enumerate(lanes):
            rows.append(_row(records, model * len(lanes) + place, model * len(lanes), pass_at, seed))
            rows[-1] |= {"model": model, "lane": place, "name": lane["name"], "strategy": lane["strategy"]}
    for row in rows:
        row["dominated"] = {cost: any(_dominates(other, row, cost) for other in rows) for cost in COSTS}
    return rows


def _row(records: list[dict], place: int, first: int, pass_at: tuple[int, ...], seed: int) -> dict[str, Any]:
    cells = [record["cells"][place] for record in records]
    checked = [record["cells"] for record in records if record["cells"][place]["correct"] is not None]
    right = np.array([float(row[place]["correct"]) for row in checked])
    ones = np.ones(len(checked))
    low, high = wilson(float(right.sum()), len(checked)) or (None, None)
    base = Ratio(np.array([float(row[first]["correct"]) for row in checked]), ones)
    change = difference(base, Ratio(right, ones), seed) if place != first and len(checked) > 1 else None
    seconds = [cell["seconds"] for cell in cells if cell["seconds"] is not None]
    return {
        "score": float(right.mean()) if len(checked) else None,
        "low": low,
        "high": high,
        "n": len(checked),
        "forwards": _mean([cell["forwards"] for cell in cells]),
        "tokens": _mean([cell["tokens"] for cell in cells]),
        "seconds": _mean(seconds),
        "difference": change,
        "pass_at": _passes([row[place] for row in checked], pass_at),
        "calibration": calibration([row[place] for row in checked]),
    }


def calibration(cells: list[dict]) -> dict[str, Any] | None:
    """How far the agreement between a lane's answers is the chance that the chosen one is right; None without agreements.

    {error: the expected calibration error, bins: [[mean agreement, share that is right, cells], …]} over five bins of equal
    width, as in Guo et al., arXiv 1706.04599.
    """
    known = [(cell["agreement"], cell["correct"]) for cell in cells if cell.get("agreement") is not None]
    if not known:
        return None
    agreed, right = (np.array(column, dtype=float) for column in zip(*known, strict=True))
    which = np.clip(np.ceil(agreed * _BINS) - 1, 0, _BINS - 1)  # a share of exactly 0.4 is the second's
    bins = [(agreed[which == at], right[which == at]) for at in range(_BINS)]
    told = [[float(a.mean()), float(r.mean()), len(a)] for a, r in bins if len(a)]
    return {"error": fsum(n * abs(a - r) for a, r, n in told) / len(known), "bins": told}


def _passes(cells: list[dict], pass_at: tuple[int, ...]) -> dict[str, float]:
    """Of a lane that draws several answers: pass@k, the mean over the records."""
    n = min((cell["n"] for cell in cells), default=1)
    if n < 2:
        return {}
    asked = [k for k in pass_at if k <= n] or [2**power for power in range(n.bit_length()) if 2**power <= n]
    return {str(k): fsum(pass_at_k(cell["n"], cell["right"], k) for cell in cells) / len(cells) for k in asked}


def _dominates(one: dict, other: dict, cost: str) -> bool:
    """Whether `one` scores at least as well for at most the cost, and one of the two is better."""
    if None in (one["score"], other["score"], one[cost], other[cost]):
        return False
    as_good = one["score"] >= other["score"] and one[cost] <= other[cost]
    return as_good and (one["score"] > other["score"] or one[cost] < other[cost])


def _mean(values: list[float]) -> float | None:
    return fsum(values) / len(values) if values else None
