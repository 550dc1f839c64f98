"""How far voters agree, and who votes by place: figures over who voted what. Numbers only."""

from dataclasses import dataclass

import numpy as np

_DRAWS = 1000
_RARE = 0.01


@dataclass(frozen=True)
class Agreement:
    """Over items that several voters voted on."""

    items: int
    """Items with two votes at least."""
    share: float
    """Of two voters of one item: the share that voted alike."""
    alpha: float | None
    """Krippendorff's alpha for nominal data: 1 is full agreement, 0 what chance gives; None where all votes are one."""
    low: float | None
    high: float | None
    """Its 95 % percentile interval by drawing items with replacement."""


def agreement(item: np.ndarray, choice: np.ndarray, seed: int = 0) -> Agreement | None:
    """Of N votes the item (N,) int and what was chosen (N,) int from 0; None where no item has two votes.

    Krippendorff 2011, "Computing Krippendorff's alpha-reliability"; items may have any number of voters.
    """
    if not len(item):
        return None
    _, index = np.unique(item, return_inverse=True)
    counts = np.zeros((index.max() + 1, int(choice.max()) + 1))
    np.add.at(counts, (index.reshape(-1), choice), 1.0)
    counts = counts[counts.sum(axis=1) >= 2]  # (items, choices)
    if not len(counts):
        return None
    voters = counts.sum(axis=1)
    share = (counts * (counts - 1)).sum() / (voters * (voters - 1)).sum()
    generator = np.random.default_rng(seed)
    times = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), _DRAWS)
    drawn = np.array([alpha for each in times if (alpha := _alpha(counts, each)) is not None])
    alpha = _alpha(counts, np.ones(len(counts)))
    if alpha is None or len(counts) < 2 or not len(drawn):
        return Agreement(len(counts), float(share), alpha, None, None)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Agreement(len(counts), float(share), alpha, float(low), float(high))


def _alpha(counts: np.ndarray, times: np.ndarray) -> float | None:
    """Krippendorff's alpha of `counts` (items, choices), each item taken so many times."""
    voters = counts.sum(axis=1)
    unlike = (voters**2 - (counts**2).sum(axis=1)) / (voters - 1)  # ordered pairs of unlike votes, by item
    of_choice = times @ counts
    total = of_choice.sum()
    expected = (total**2 - (of_choice**2).sum()) / (total - 1)
    return float(1 - (times @ unlike) / expected) if expected > 0 else None


@dataclass(frozen=True)
class OneSided:
    """A voter who takes one place far more often than a coin would."""

    voter: int
    side: str
    """left or right."""
    count: int
    """Votes for that side."""
    of: int
    """Votes for a side."""
    chance: float
    """Of a coin to do so in either direction: the two-sided binomial test."""


def one_sided(voter: np.ndarray, left: np.ndarray) -> list[OneSided]:
    """Those whose votes for a side a coin would give in less than 1 of 100 cases, the surest first.

    voter: (N,) int; left: (N,) bool; of the votes for one of both sides. The order of answers is drawn, so without a
    bias each side wins half of a voter's decided votes.
    """
    from scipy.stats import binomtest

    found = []
    for each in np.unique(voter):
        mine = left[voter == each]
        lefts, total = int(mine.sum()), len(mine)
        chance = float(binomtest(lefts, total).pvalue)
        if chance < _RARE:
            side, count = ("left", lefts) if 2 * lefts > total else ("right", total - lefts)
            found.append(OneSided(int(each), side, count, total, chance))
    return sorted(found, key=lambda one: one.chance)
