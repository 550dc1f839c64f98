"""Strengths of contestants from paired votes with ties: Davidson's extension of Bradley and Terry. Arrays only.

Model (Davidson 1970, doi:10.1080/01621459.1970.10481082): a vote between the answers l (left) and r (right) falls on

    left, right, tie  with logits  (d/2, -d/2, eta),   d = strength[l] - strength[r] + covariates · coefficients

so that exp(eta) is Davidson's nu. A constant covariate 1 is the bias towards the left place; the difference of lengths
is the style control of Chatbot Arena. The log-likelihood is concave in all parameters; Newton's method finds its maximum.
A weak normal prior (precision `RIDGE`: a standard deviation of 4.5) keeps it finite where somebody won every vote or
every vote was a tie.

Knows no votes' log, no names and no page.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEFT, RIGHT, TIE = 0, 1, 2
"""The outcomes of a vote, as `Votes.outcome` holds them."""
RIDGE = 0.05
FEWEST_VOTERS = 8
"""With fewer, single votes are drawn again instead of voters: intervals then speak of these voters alone."""
_STEPS, _LONGEST_STEP, _NEAR = 60, 2.0, 1e-9
_DEGENERATE = 0.6
"""A spread of the draws below this share of the error by the information matrix is taken for none."""


@dataclass(frozen=True)
class Votes:
    """N votes; all arrays have N rows."""

    left: np.ndarray
    """int: the contestant on the left."""
    right: np.ndarray
    """int: the contestant on the right."""
    outcome: np.ndarray
    """int: LEFT, RIGHT or TIE."""
    voter: np.ndarray
    """int: who voted, from 0."""

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True)
class Fit:
    """Strengths and coefficients with what is known of their error. K strengths, C covariates."""

    strength: np.ndarray
    """(K,): log-odds, their mean is 0."""
    strength_error: np.ndarray
    """(K,): standard errors."""
    draws: np.ndarray
    """(B, K): strengths of the bootstrap's draws, each of mean 0."""
    coefficient: np.ndarray
    """(C,)"""
    coefficient_error: np.ndarray
    """(C,)"""
    tie: float
    """eta, the logarithm of Davidson's nu."""
    quantile: float
    """So many standard errors to either side make a 95 % interval: Student's t where voters were drawn."""
    by_voter: bool
    """Whether voters were drawn again, and not single votes."""
    information: np.ndarray
    """(K, K): covariance of the strengths by the information matrix."""
    correction: float
    """By what the draws' spread is multiplied: of few voters it is a little too small."""

    def interval(self, index: int) -> tuple[float, float]:
        """(low, high) of a strength, 95 %."""
        reach = self.quantile * self.strength_error[index]
        return float(self.strength[index] - reach), float(self.strength[index] + reach)

    def coefficient_interval(self, index: int) -> tuple[float, float]:
        """(low, high) of a covariate's coefficient, 95 %."""
        reach = self.quantile * self.coefficient_error[index]
        return float(self.coefficient[index] - reach), float(self.coefficient[index] + reach)


def contrasts(votes: Votes, groups: np.ndarray, count: int) -> np.ndarray:
    """(N, count): +1 for the group of the left contestant, -1 for the right one's, 0 where both are of one group.

    groups: int (contestants,), the group of each; `np.arange(K)` for the contestants themselves.
    """
    rows = np.arange(len(votes))
    design = np.zeros((len(votes), count))
    np.add.at(design, (rows, groups[votes.left]), 1.0)
    np.add.at(design, (rows, groups[votes.right]), -1.0)
    return design


def fit(votes: Votes, strengths: np.ndarray, covariates: np.ndarray, *, draws: int = 400, seed: int = 0) -> Fit:
    """The maximum of the likelihood, and its error by the bootstrap.

    strengths: (N, K) as `contrasts` makes it; covariates: (N, C), C may be 0. With FEWEST_VOTERS or more, whole voters
    are drawn with replacement (votes of one voter hang together), else votes. Where somebody won nearly every vote, all
    draws say the same and their spread nothing: the error is then that of the information matrix.
    """
    kinds = strengths.shape[1]
    table = _table(votes, np.concatenate([strengths, covariates], axis=1))
    best = maximise(table.features, table.counts.sum(axis=0)[None])
    weights, by_voter = _resampled(votes, table, draws, np.random.default_rng(seed))
    drawn = maximise(table.features, weights, best[0])
    centred = drawn[:, :kinds] - drawn[:, :kinds].mean(axis=1, keepdims=True)
    told = _information_covariance(table, best[0], kinds)
    voters = len(np.unique(votes.voter))
    correction = float(np.sqrt(voters / (voters - 1))) if by_voter else 1.0
    spread = np.concatenate([centred, drawn[:, kinds:-1]], axis=1).std(axis=0, ddof=1)
    error = _error(spread * correction, np.sqrt(np.diag(told)[:-1]))
    return Fit(
        strength=best[0, :kinds] - best[0, :kinds].mean(),
        strength_error=error[:kinds],
        draws=centred,
        coefficient=best[0, kinds:-1],
        coefficient_error=error[kinds:],
        tie=float(best[0, -1]),
        quantile=float(stats.t.ppf(0.975, voters - 1) if by_voter else stats.norm.ppf(0.975)),
        by_voter=by_voter,
        information=told[:kinds, :kinds],
        correction=correction,
    )


def maximise(features: np.ndarray, counts: np.ndarray, start: np.ndarray | None = None):
    """(B, P + 1): for each of B tables of votes the coefficients of P features and eta, by Newton's method.

    features: (U, P), one row for each kind of comparison; counts: (B, U, 3), votes for left, right, tie;
    start: (P + 1,) to begin at. The prior on every parameter is normal, with precision RIDGE.
    """
    size = features.shape[1] + 1
    found = np.tile(np.zeros(size) if start is None else start, (len(counts), 1))  # (B, P + 1)
    squares = (features[:, :, None] * features[:, None, :]).reshape(len(features), -1)  # (U, P * P)
    total = counts.sum(axis=2)  # (B, U)
    for _ in range(_STEPS):
        slope, bend = _derivatives(features, squares, counts, total, found)
        slope -= RIDGE * found
        bend += RIDGE * np.eye(size)
        step = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]  # (B, P + 1)
        longest = np.abs(step).max(axis=1, keepdims=True)
        found += step / np.maximum(1.0, longest / _LONGEST_STEP)
        if longest.max() < _NEAR:
            break
    return found


def probabilities(features: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(B, U, 3): the chances of left, right, tie for parameters (B, P + 1)."""
    half = found[:, :-1] @ features.T / 2  # (B, U)
    logits = np.stack([half, -half, np.broadcast_to(found[:, -1:], half.shape)], axis=2)
    raised = np.exp(logits - logits.max(axis=2, keepdims=True))
    return raised / raised.sum(axis=2, keepdims=True)


def _derivatives(features, squares, counts, total, found):
    """(gradient (B, P + 1), information (B, P + 1, P + 1)) of the log-likelihood, without the prior."""
    chance = probabilities(features, found)
    side = chance[:, :, 0] - chance[:, :, 1]  # (B, U): mean of +1 for left, -1 for right, 0 for a tie
    tie = chance[:, :, 2]
    slope = ((counts[:, :, 0] - counts[:, :, 1] - total * side) @ features) / 2
    slope_tie = (counts[:, :, 2] - total * tie).sum(axis=1, keepdims=True)
    width = features.shape[1]
    bend = np.zeros((len(found), width + 1, width + 1))
    bend[:, :-1, :-1] = ((total * (1 - tie - side**2)) @ squares).reshape(-1, width, width) / 4
    bend[:, :-1, -1] = bend[:, -1, :-1] = -((total * side * tie) @ features) / 2
    bend[:, -1, -1] = (total * tie * (1 - tie)).sum(axis=1)
    return np.concatenate([slope, slope_tie], axis=1), bend


@dataclass(frozen=True)
class _Table:
    """Votes counted by kind of comparison."""

    features: np.ndarray
    """(U, P)"""
    row: np.ndarray
    """(N,): the kind of comparison of each vote."""
    counts: np.ndarray
    """(voters, U, 3)"""


def _table(votes: Votes, design: np.ndarray) -> _Table:
    features, row = np.unique(design, axis=0, return_inverse=True)
    row = row.reshape(-1)
    _, voter = np.unique(votes.voter, return_inverse=True)
    counts = np.zeros((voter.max() + 1, len(features), 3))
    np.add.at(counts, (voter, row, votes.outcome), 1.0)
    return _Table(features, row, counts)


def _resampled(votes: Votes, table: _Table, draws: int, generator: np.random.Generator) -> tuple[np.ndarray, bool]:
    """((B, U, 3) counts of the draws, whether voters were drawn)."""
    voters = len(table.counts)
    shape = (draws, *table.counts.shape[1:])
    if voters >= FEWEST_VOTERS:
        times = generator.multinomial(voters, np.full(voters, 1 / voters), draws).astype(float)  # (B, voters)
        return (times @ table.counts.reshape(voters, -1)).reshape(shape), True
    every = table.counts.sum(axis=0).reshape(-1)
    return generator.multinomial(len(votes), every / len(votes), draws).astype(float).reshape(shape), False


def _information_covariance(table: _Table, best: np.ndarray, kinds: int) -> np.ndarray:
    """(P + 1, P + 1): the inverse information matrix, of strengths whose mean is 0."""
    features, counts = table.features, table.counts.sum(axis=0)[None]
    squares = (features[:, :, None] * features[:, None, :]).reshape(len(features), -1)
    _, bend = _derivatives(features, squares, counts, counts.sum(axis=2), best[None])
    size = len(best)
    centre = np.eye(size)
    centre[:kinds, :kinds] -= 1 / kinds
    return centre @ np.linalg.inv(bend[0] + RIDGE * np.eye(size)) @ centre.T


def differences(result: Fit) -> Callable[[int, int], tuple[float, float]]:
    """A function (i, j) → (strength[i] - strength[j], half the width of its interval).

    The intervals of all pairs hold together in 95 % of cases (max-t of the bootstrap's draws, as in Westfall and Young
    1993), so that a sentence may speak of several pairs.
    """
    first, second = np.triu_indices(result.draws.shape[1], 1)
    change = result.draws[:, first] - result.draws[:, second]  # (B, pairs)
    spread = change.std(axis=0, ddof=1)
    variance = np.diag(result.information)
    told = np.sqrt(variance[first] + variance[second] - 2 * result.information[first, second])
    error = _error(spread * result.correction, told)
    scaled = np.abs(change - change.mean(axis=0)) / np.maximum(spread, 1e-9)
    greatest = float(np.quantile(scaled.max(axis=1), 0.95))
    greatest *= result.quantile / float(stats.norm.ppf(0.975))
    value = result.strength[first] - result.strength[second]
    known = {(int(i), int(j)): at for at, (i, j) in enumerate(zip(first, second, strict=True))}

    def told_of(i: int, j: int) -> tuple[float, float]:
        at = known[min(i, j), max(i, j)]
        return float(value[at] if i < j else -value[at]), float(greatest * error[at])

    return told_of


def _error(spread: np.ndarray, told: np.ndarray) -> np.ndarray:
    """The spread of the draws; where somebody won nearly every vote it is none, and `told` by the information matrix."""
    return np.where(spread < _DEGENERATE * told, told, spread)
