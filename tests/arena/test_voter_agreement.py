"""Agreement between voters against published figures, and voters who vote by place."""

import numpy as np

from llmdemo.arena.voter_agreement import agreement, one_sided


def test_alpha_is_krippendorffs():
    """His own example: four observers, twelve units (Krippendorff 2011, "Computing Krippendorff's alpha-reliability")."""
    values = {
        0: [1, 1, 1], 1: [2, 2, 3, 2], 2: [3, 3, 3, 3], 3: [3, 3, 3, 3], 4: [2, 2, 2, 2], 5: [1, 2, 3, 4],
        6: [4, 4, 4, 4], 7: [1, 1, 2, 1], 8: [2, 2, 2, 2], 9: [5, 5, 5], 10: [1, 1], 11: [3],
    }  # fmt: skip
    item = np.array([unit for unit, given in values.items() for _ in given])
    choice = np.array([value for given in values.values() for value in given])
    found = agreement(item, choice)
    assert round(found.alpha, 3) == 0.743
    assert found.items == 11
    assert found.low < 0.743 < found.high


def test_the_share_counts_pairs_of_voters():
    found = agreement(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0]))
    assert found.items == 2
    assert found.share == 2 * 2 / (3 * 2 + 2 * 1)


def test_agreement_needs_two_voters_of_one_item_and_two_kinds_of_votes():
    assert agreement(np.array([0, 1]), np.array([0, 0])) is None
    assert agreement(np.array([], int), np.array([], int)) is None
    assert agreement(np.array([0, 0, 1, 1]), np.array([1, 1, 1, 1])).alpha is None


def test_coins_agree_as_chance_does():
    generator = np.random.default_rng(1)
    found = agreement(np.repeat(np.arange(200), 5), generator.integers(0, 3, 1000))
    assert abs(found.alpha) < 0.03
    assert found.low < 0 < found.high


def test_a_voter_who_always_takes_the_left_is_told_and_no_other():
    generator = np.random.default_rng(7)
    voter = np.repeat(np.arange(1, 21), 12)
    left = generator.random(240) < 0.5
    left[voter == 7] = True
    (found,) = one_sided(voter, left)
    assert (found.voter, found.side, found.count, found.of) == (7, "left", 12, 12)
    assert found.chance == 2 / 2**12


def test_five_votes_for_one_side_are_not_told():
    assert one_sided(np.ones(5, int), np.ones(5, bool)) == []
