"""How far two raters agree beyond chance: Cohen's kappa with its interval. Numbers only."""

from dataclasses import dataclass

import numpy as np

_DRAWS = 2000


@dataclass(frozen=True)
class Kappa:
    """Over items that both raters put into one of the same categories."""

    n: int
    share: float
    """Of the items: those that both put alike."""
    kappa: float | None
    """1 is full agreement, 0 what chance gives; None where both put all into one category."""
    low: float | None
    high: float | None
    """The 95 % percentile interval by drawing items with replacement; None of fewer than two items."""
    table: list[list[int]]
    """[first rater's category][second's] → items."""


def cohens_kappa(first: np.ndarray, second: np.ndarray, categories: int, seed: int = 0) -> Kappa | None:
    """Of N items the category that each rater gave, (N,) int from 0; None without items.

    Cohen 1960, "A coefficient of agreement for nominal scales"; equals sklearn.metrics.cohen_kappa_score.
    """
    if not len(first):
        return None
    cells = np.bincount(first * categories + second, minlength=categories**2).astype(float)  # (categories²,)
    value = _kappa(cells[None], categories)[0]
    low = high = None
    if len(first) > 1 and np.isfinite(value):
        draws = np.random.default_rng(seed).multinomial(len(first), cells / len(first), _DRAWS)  # (draws, categories²)
        drawn = _kappa(draws.astype(float), categories)
        low, high = (float(each) for each in np.quantile(drawn[np.isfinite(drawn)], (0.025, 0.975)))
    table = cells.reshape(categories, categories)
    share = float(np.trace(table) / len(first))
    return Kappa(len(first), share, float(value) if np.isfinite(value) else None, low, high, table.astype(int).tolist())


def _kappa(cells: np.ndarray, categories: int) -> np.ndarray:
    """(draws,) of tables (draws, categories²); NaN where chance alone gives full agreement."""
    table = cells.reshape(-1, categories, categories)
    total = table.sum((1, 2))
    observed = np.trace(table, axis1=1, axis2=2) / total
    expected = (table.sum(1) * table.sum(2)).sum(1) / total**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)
