"""Draws of many rows, each with a generator of its own."""

import pytest
import torch

from llmdemo.decoding.draws import Draws
from llmdemo.decoding.filters import keep_top_p

LOGITS = torch.tensor([2.0, 1.0, 0.5, -1.0, -3.0])


def test_a_row_draws_the_same_alone_and_among_others():
    rows = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    together = Draws([5, 6, 7], 1.0, 0.9)
    found = [together(rows, [0, 1, 2]).tolist() for _ in range(20)]
    alone = Draws([6], 1.0, 0.9)
    assert [tokens[1] for tokens in found] == [alone(rows[1:2], [0]).item() for _ in range(20)]
    late = Draws([5, 6, 7], 1.0, 0.9)
    assert [late(rows[1:2], [1]).item() for _ in range(20)] == [tokens[1] for tokens in found], "others have left"


@pytest.mark.slow
def test_draws_follow_the_filtered_distribution_by_chi_square():
    draws = Draws([3], 0.7, 0.95)
    counts = torch.zeros(5)
    for _ in range(20_000):
        counts[draws(LOGITS[None], [0])] += 1
    scaled = LOGITS / 0.7
    expected = scaled.masked_fill(~keep_top_p(scaled, 0.95), -torch.inf).softmax(-1) * 20_000
    kept = expected > 0
    assert counts[~kept].sum() == 0
    assert ((counts - expected)[kept] ** 2 / expected[kept]).sum() < 16.3  # 0.1 % point of chi-square with 3 degrees


def test_temperature_zero_takes_the_likeliest_and_tells_the_raw_log_probability():
    draws = Draws([1], 0.0, 0.5)
    assert draws(LOGITS[None], [0]).tolist() == [0]
    assert abs(draws.logprobs[0][0] - LOGITS.log_softmax(-1)[0].item()) < 1e-6
