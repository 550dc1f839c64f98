"""Davidson's model: against the likelihood written out, and by simulated voters whose strengths are known."""

import numpy as np
import pytest
from scipy.optimize import minimize

from llmdemo.arena import bradley_terry as bt

STRENGTHS = np.array([0.8, 0.2, -0.3, -0.7])


def simulated(seed: int, voters: int, each: int, *, strengths=STRENGTHS, left=0.0, tie=-0.7) -> bt.Votes:
    """Votes drawn from the model itself."""
    generator = np.random.default_rng(seed)
    kinds, count = len(strengths), voters * each
    first = generator.integers(0, kinds, count)
    second = (first + generator.integers(1, kinds, count)) % kinds
    gap = strengths[first] - strengths[second] + left
    weights = np.exp(np.stack([gap / 2, -gap / 2, np.full(count, tie)], axis=1))
    edges = (weights / weights.sum(axis=1, keepdims=True)).cumsum(axis=1)
    outcome = (generator.random(count)[:, None] > edges).sum(axis=1)
    return bt.Votes(first, second, outcome, np.repeat(np.arange(voters), each))


def fitted(votes: bt.Votes, kinds: int = 4, *, place: bool = True, **options) -> bt.Fit:
    covariates = np.ones((len(votes), 1)) if place else np.zeros((len(votes), 0))
    return bt.fit(votes, bt.contrasts(votes, np.arange(kinds), kinds), covariates, **options)


def brute_force(votes: bt.Votes) -> np.ndarray:
    """(K + 2,): strengths of mean 0, the left place's bias, eta; Davidson's likelihood in pi, nu and gamma, vote by vote."""

    def negative(parameters):
        pi, nu, gamma = np.exp(parameters[:4]), np.exp(parameters[5]), np.exp(parameters[4])
        total = 0.0
        for left, right, outcome in zip(votes.left, votes.right, votes.outcome, strict=True):
            here, there = gamma * pi[left], pi[right]
            parts = here, there, nu * np.sqrt(here * there)
            total -= np.log(parts[outcome] / sum(parts))
        return total + 1e-9 * (parameters**2).sum()

    found = minimize(negative, np.zeros(6), method="BFGS", options={"gtol": 1e-7}).x
    return np.concatenate([found[:4] - found[:4].mean(), found[4:]])


def test_the_maximum_is_that_of_the_likelihood_written_out(monkeypatch):
    monkeypatch.setattr(bt, "RIDGE", 1e-9)
    votes = simulated(1, 6, 40, left=0.4)
    found = fitted(votes, draws=8)
    expected = brute_force(votes)
    np.testing.assert_allclose(found.strength, expected[:4], atol=2e-5)
    np.testing.assert_allclose([found.coefficient[0], found.tie], expected[4:], atol=2e-5)


def test_the_prior_moves_nothing_that_is_known():
    votes = simulated(1, 6, 40, left=0.4)
    np.testing.assert_allclose(fitted(votes, draws=8).strength, brute_force(votes)[:4], atol=1e-2)


def test_leaving_out_the_ties_would_say_something_else():
    votes = simulated(1, 6, 40, tie=0.5)
    decided = votes.outcome != bt.TIE
    without = bt.Votes(*(each[decided] for each in vars(votes).values()))
    assert np.abs(fitted(votes, draws=8).strength - fitted(without, draws=8).strength).max() > 0.05


@pytest.mark.parametrize(("voters", "each"), [(20, 10), (5, 40)], ids=["voters drawn", "votes drawn"])
@pytest.mark.slow
def test_intervals_hold_the_true_strengths_in_93_to_97_of_100_cases(voters, each):
    held, seeds = np.zeros(5), 240
    for seed in range(seeds):
        found = fitted(simulated(seed, voters, each, left=0.3), draws=160, seed=seed)
        inside = [
            low <= true <= high for true, (low, high) in zip(STRENGTHS, map(found.interval, range(4)), strict=True)
        ]
        low, high = found.coefficient_interval(0)
        held += [*inside, low <= 0.3 <= high]
    assert 0.93 <= held[:4].mean() / seeds <= 0.97
    assert 0.93 <= held[4] / seeds <= 0.98


def test_a_bias_towards_the_left_does_not_become_strength():
    """The first contestant stands on the left three times as often; a fit without the place calls it the best."""
    generator = np.random.default_rng(0)
    votes = simulated(3, 30, 60, strengths=np.zeros(2), left=1.0)
    kept = (votes.left == 0) | (generator.random(len(votes)) < 1 / 3)
    uneven = bt.Votes(*(each[kept] for each in vars(votes).values()))
    low, high = fitted(uneven, 2, draws=200).interval(0)
    assert low < 0 < high
    low, high = fitted(uneven, 2, place=False, draws=200).interval(0)
    assert low > 0


def test_voters_of_one_mind_are_drawn_whole():
    """Twelve voters with strong tastes of their own: single votes drawn anew would promise far too much."""
    taste = np.random.default_rng(5).normal(size=12) * 2
    parts = [simulated(index, 1, 40, strengths=np.array([each, -each])) for index, each in enumerate(taste)]
    votes = bt.Votes(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("left", "right", "outcome")),
        voter=np.repeat(np.arange(12), 40),
    )
    whole = fitted(votes, 2, draws=300)
    single = fitted(bt.Votes(votes.left, votes.right, votes.outcome, np.zeros(len(votes), int)), 2, draws=300)
    assert whole.by_voter and not single.by_voter
    assert whole.strength_error[0] > 2 * single.strength_error[0]


def test_who_won_every_vote_is_strong_and_nobody_knows_how_strong():
    votes = bt.Votes(np.zeros(12, int), np.ones(12, int), np.zeros(12, int), np.arange(12))
    found = fitted(votes, 2, place=False, draws=100)
    low, high = found.interval(0)
    assert np.isfinite([low, high]).all()
    assert found.strength[0] > 1
    assert high - low > 2


def test_ties_alone_say_that_nobody_is_stronger():
    votes = simulated(2, 10, 20)
    tied = bt.Votes(votes.left, votes.right, np.full(200, bt.TIE), votes.voter)
    found = fitted(tied, draws=50)
    np.testing.assert_allclose(found.strength, 0, atol=1e-6)
    assert np.isfinite(found.tie) and found.tie > 3


def test_differences_of_all_pairs_hold_together_in_95_of_100_cases():
    held, seeds = 0, 200
    for seed in range(seeds):
        told = bt.differences(fitted(simulated(seed, 20, 10), draws=160, seed=seed))
        pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
        held += all(abs(told(i, j)[0] - (STRENGTHS[i] - STRENGTHS[j])) <= told(i, j)[1] for i, j in pairs)
    assert 0.92 <= held / seeds <= 0.98


def test_the_same_seed_gives_the_same_intervals():
    votes = simulated(4, 10, 10)
    np.testing.assert_array_equal(fitted(votes, seed=3).strength_error, fitted(votes, seed=3).strength_error)
