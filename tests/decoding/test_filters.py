import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from llmdemo.core.errors import UserError
from llmdemo.decoding import filters, keep_min_p, keep_top_k, keep_top_p
from llmdemo.decoding.filters import largest
from llmdemo.decoding.lanes import draw, kept_mask, lane_uniforms, lane_weights
from llmdemo.settings.lane import LaneSettings

# --- a float64 reference, written from the definitions and without torch -----------------------------------------


def softmax64(logits):
    wide = np.asarray(logits, dtype=np.float64)
    weights = np.exp(wide - wide.max())
    return weights / weights.sum()


def reference_top_k(logits, k):
    finite = sorted((x for x in logits if x > -np.inf), reverse=True)
    return [x > -np.inf and x >= finite[min(k, len(finite)) - 1] for x in logits]


def reference_top_p(logits, p, tolerance=2.5e-7):
    probs = softmax64(logits)
    kept, mass = [False] * len(logits), 0.0
    for i in sorted(range(len(logits)), key=lambda i: (-logits[i], i)):
        if logits[i] == -np.inf or (mass >= p - tolerance and mass > 0 and p < 1):
            break
        kept[i] = True
        mass += probs[i]
    return kept


def reference_min_p(logits, share):
    probs = softmax64(logits)
    return [bool(q > 0 and q >= share * probs.max() * (1 - 3e-7)) for q in probs]


def of(*probs):
    return torch.tensor(probs, dtype=torch.float64).log().float()


# --- filters as they should be, and the mutants that must fail the same checks -----------------------------------


def drops_the_crossing_token(logits, p):
    order = logits.argsort(descending=True, stable=True)
    kept = logits[order].softmax(-1).cumsum(-1) < p
    kept[0] = True
    return torch.zeros_like(kept).scatter(-1, order, kept)


def crossing_is_kept(top_p):
    assert top_p(of(0.5, 0.3, 0.2), 0.6).tolist() == [True, True, False]
    assert top_p(of(0.2, 0.5, 0.3), 0.81).tolist() == [True, True, True]


def test_the_token_that_crosses_p_is_kept():
    crossing_is_kept(keep_top_p)


def test_a_filter_that_drops_the_crossing_token_fails_the_check():
    with pytest.raises(AssertionError):
        crossing_is_kept(drops_the_crossing_token)


@pytest.mark.parametrize(("probs", "p", "count"), [
    ((0.5, 0.3, 0.2), 0.8, 2),
    ((0.5, 0.3, 0.2), 0.5, 1),
    ((0.25, 0.25, 0.25, 0.25), 0.5, 2),
    ((0.7, 0.1, 0.1, 0.1), 0.9, 3),
    ((0.4, 0.3, 0.2, 0.1), 0.9, 3),
    ((0.1,) * 10, 0.3, 3),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exact_hit_adds_no_extra_token(probs, p, count, dtype):
    logits = torch.tensor(probs, dtype=torch.float64).log().to(dtype)
    assert int(keep_top_p(logits, p).sum()) == count


def test_a_mass_just_short_of_p_is_no_hit():
    assert int(keep_top_p(of(0.5, 0.3, 0.2), 0.8 + 1e-6).sum()) == 3
    assert int(keep_top_p(of(0.5, 0.3, 0.2).double(), 0.8 + 1e-6).sum()) == 3


def test_p_towards_zero_keeps_one_and_one_keeps_all():
    logits = torch.randn(4, 50)
    for tiny in (1e-12, 0, 0.0):
        assert keep_top_p(logits, tiny).sum(-1).tolist() == [1] * 4
        assert bool(keep_min_p(logits, 0).all())
    assert bool(keep_top_p(logits, 1.0).all())
    assert bool(keep_top_p(torch.tensor([0.0, -2000.0]), 1.0).all())  # a probability that underflows is still finite


def test_of_equal_tokens_at_the_edge_the_lower_index_is_kept():
    assert keep_top_p(torch.zeros(5), 0.5).tolist() == [True, True, True, False, False]


def test_ties_at_the_kth_token_are_all_kept():
    assert keep_top_k(torch.tensor([1.0, 3.0, 2.0, 2.0, 0.0]), 2).tolist() == [False, True, True, True, False]


def test_k_beyond_the_vocabulary_keeps_all():
    assert bool(keep_top_k(torch.randn(3, 7), 1000).all())


@pytest.mark.parametrize(
    "keep", [lambda x: keep_top_k(x, 3), lambda x: keep_top_p(x, 0.9), lambda x: keep_min_p(x, 0.1)]
)
def test_impossible_tokens_are_never_kept(keep):
    rows = torch.tensor(
        [[-torch.inf, 1.0, -torch.inf, 0.9], [-torch.inf] * 4, [0.0, -torch.inf, -torch.inf, -torch.inf]]
    )
    mask = keep(rows)
    assert mask.tolist() == [[False, True, False, True], [False] * 4, [True, False, False, False]]


@pytest.mark.parametrize(("keep", "bad"), [
    (keep_top_k, 0), (keep_top_k, -3), (keep_top_k, 2.5), (keep_top_k, True),
    (keep_top_p, -0.1), (keep_top_p, 1.1), (keep_top_p, float("nan")), (keep_top_p, "0.9"),
    (keep_min_p, -1), (keep_min_p, float("nan")), (keep_min_p, 2),
])  # fmt: skip
def test_a_bad_filter_value_is_a_user_error(keep, bad):
    with pytest.raises(UserError, match="must be"):
        keep(torch.zeros(4), bad)


def test_the_mask_has_the_shape_of_the_logits():
    logits = torch.randn(2, 3, 11)
    for mask in (keep_top_k(logits, 4), keep_top_p(logits, 0.7), keep_min_p(logits, 0.2)):
        assert mask.shape == logits.shape and mask.dtype == torch.bool
    assert torch.equal(keep_top_p(logits, 0.7)[1, 2], keep_top_p(logits[1, 2], 0.7))


values = st.one_of(st.floats(-30, 30, width=32), st.sampled_from([0.0, 1.0, -float("inf"), 80.0, -80.0]))
rows = st.lists(values, min_size=1, max_size=40).filter(lambda row: max(row) > -float("inf"))


@settings(max_examples=150, deadline=None)
@given(rows, st.integers(1, 60), st.floats(1e-6, 1.0), st.floats(1e-6, 1.0))
def test_any_row_agrees_with_the_float64_reference(row, k, p, share):
    logits = torch.tensor(row, dtype=torch.float32)
    exact = logits.double().numpy()
    assert keep_top_k(logits, k).tolist() == reference_top_k(exact, k)
    assert keep_min_p(logits, share).tolist() == reference_min_p(exact, share)
    got, want = keep_top_p(logits, p), torch.tensor(reference_top_p(exact, p))
    if not torch.equal(got, want):  # only where a cumulated mass meets p to within rounding
        mass = np.sort(softmax64(exact))[::-1].cumsum()
        assert np.abs(mass - p).min() < 3e-7 and abs(int(got.sum()) - int(want.sum())) <= 1


@pytest.mark.parametrize("spread", [0.3, 2.0, 8.0])
def test_a_wide_vocabulary_agrees_with_the_reference_however_flat(spread):
    for seed in range(3):
        logits = torch.randn(20_000, generator=torch.Generator().manual_seed(seed)) * spread
        for p in (0.1, 0.5, 0.9, 0.99):
            assert keep_top_p(logits, p).tolist() == reference_top_p(logits.double().numpy(), p)


def test_a_wide_row_with_a_tie_at_the_edge_still_keeps_the_smallest_set():
    logits = torch.zeros(20_000)
    logits[100:200] = 9.0
    kept = keep_top_p(logits, 0.5)
    assert kept.tolist() == reference_top_p(logits.double().numpy(), 0.5)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.99])
def test_of_a_wide_rows_equal_tokens_at_the_edge_the_lower_index_is_kept_as_by_a_stable_sort(p):
    row = (3 * torch.randn(2, 4096, generator=torch.Generator().manual_seed(2))).bfloat16().float()  # many are equal
    assert torch.equal(keep_top_p(row, p), filters._top_p_by_sort(row, p))


@pytest.mark.parametrize(
    "row", [[0.0] * 6, [3.0] + [-math.inf] * 5, [-math.inf] * 6, [math.nan] * 6, [90.0, -90.0, 90.0, 0.0, 0.0, -1e-30]]
)
def test_rows_of_equal_impossible_or_far_logits_are_cut_as_by_a_sort(row):
    logits = torch.tensor([row, [1.0, 2.0, 2.0, 0.5, 0.25, 2.0]])
    for p in (0.0, 0.2, 0.5, 0.999):
        kept, by_sort = keep_top_p(logits, p), filters._top_p_by_sort(logits, p) & (logits > -math.inf)
        assert torch.equal(kept, by_sort)


@pytest.mark.parametrize("spread", [0.0, 0.3, 8.0])
def test_typical_tokens_found_row_by_row_are_those_of_a_sort(spread, monkeypatch):
    logits = spread * torch.randn(2, 3, 5000, generator=torch.Generator().manual_seed(4))
    logits[0, 0, :9] = -math.inf
    found = [filters.keep_typical(logits, mass) for mass in (0.1, 0.9, 0.999)]
    monkeypatch.setattr(filters, "_is_by_rows", lambda logits: False)
    for mass, kept in zip((0.1, 0.9, 0.999), found, strict=True):
        assert torch.equal(kept, filters.keep_typical(logits, mass))


@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("step", [1.0, 0.0])
def test_the_largest_of_many_are_those_of_topk(k, step):
    x = step * torch.randn(3, 8192, generator=torch.Generator().manual_seed(k)).bfloat16().float()
    values, indices = largest(x, k)
    assert torch.equal(values, x.topk(k).values) and torch.equal(x.gather(-1, indices), values)
    assert all(len(set(row)) == k for row in indices.tolist())


def test_the_filters_are_those_of_transformers():
    logits = torch.randn(50, 300, generator=torch.Generator().manual_seed(1)) * 3
    for k in (1, 5, 299):
        assert torch.equal(keep_top_k(logits, k), TopKLogitsWarper(k)(None, logits) > -torch.inf)
    for p in (0.1, 0.5, 0.95):
        assert torch.equal(keep_top_p(logits, p), TopPLogitsWarper(p)(None, logits) > -torch.inf)
    for share in (0.01, 0.3):
        assert torch.equal(keep_min_p(logits, share), MinPLogitsWarper(share)(None, logits) > -torch.inf)


def test_several_filters_apply_one_after_the_other():
    logits = torch.randn(200, generator=torch.Generator().manual_seed(2)) * 2
    lane = LaneSettings("x", "top_p", top_k=20, top_p=0.7, min_p=0.1)
    want = logits[None]
    for warper in (TopKLogitsWarper(20), TopPLogitsWarper(0.7), MinPLogitsWarper(0.1)):
        want = warper(None, want)
    assert torch.equal(kept_mask(logits, lane), want[0] > -torch.inf)


# --- the distribution that is drawn from -------------------------------------------------------------------------

DRAWS = 100_000
LOGITS = torch.tensor([2.0, 1.6, 1.5, 0.7, 0.5, -0.3, -1.0, -2.0, -4.0])
CASES = {
    "top_k": LaneSettings("c", "top_k", temperature=0.7, top_k=4),
    "top_p": LaneSettings("c", "top_p", temperature=1.5, top_p=0.85),
    "min_p": LaneSettings("c", "min_p", temperature=1.3, min_p=0.3),
    "sample": LaneSettings("c", "sample", temperature=0.8),
    "both": LaneSettings("c", "top_p", temperature=2.0, top_k=5, top_p=0.9),
}


def wanted(lane):
    """float64 probabilities by the definitions: temperature, then top-k, top-p, min-p, then one normalisation."""
    scaled = np.float32(LOGITS.numpy() / np.float32(lane.temperature)).astype(np.float64)
    for value, off, keep in (
        (lane.top_k, 0, reference_top_k),
        (lane.top_p, 1, reference_top_p),
        (lane.min_p, 0, reference_min_p),
    ):
        if value != off:
            scaled = np.where(keep(scaled, value), scaled, -np.inf)
    return softmax64(scaled)


def weights_as_the_engine_has_them(lane):
    return lane_weights(LOGITS, lane)[0]


def temperature_after_the_filter(lane):
    return (LOGITS.double() / lane.temperature).exp() * kept_mask(LOGITS, lane)


def renormalised_twice(lane):
    once = weights_as_the_engine_has_them(lane)
    return (once / once.sum()).exp() * (once > 0)  # a softmax over probabilities


def without_the_crossing_token(lane):
    scaled = LOGITS / lane.temperature
    return scaled.double().exp() * drops_the_crossing_token(scaled, lane.top_p)


def draws_fit(lane, weights):
    """Chi-square (with the 1e-6 quantile by Wilson and Hilferty's approximation) and total variation of 100,000 draws."""
    chi_square_fits(draw(weights(lane), lane_uniforms(11, lane.name, DRAWS)), wanted(lane))


def chi_square_fits(drawn, want):
    """Asserts that the token ids `drawn` have the float64 distribution `want`."""
    draws = len(drawn)
    counts = np.bincount(drawn.numpy(), minlength=len(want))
    support = want > 0
    assert counts[~support].sum() == 0, "a token was drawn that the filter cuts"
    expected = want[support] * draws
    statistic = ((counts[support] - expected) ** 2 / expected).sum()
    free = max(support.sum() - 1, 1)
    limit = free * (1 - 2 / (9 * free) + 4.75 * np.sqrt(2 / (9 * free))) ** 3
    assert statistic < limit, f"chi-square {statistic:.1f} over {limit:.1f}"
    assert np.abs(counts / draws - want).sum() / 2 < 0.01


@pytest.mark.parametrize("name", CASES)
def test_a_hundred_thousand_draws_have_the_filtered_distribution(name):
    draws_fit(CASES[name], weights_as_the_engine_has_them)


@pytest.mark.parametrize(("name", "mutant"), [
    ("top_p", temperature_after_the_filter), ("min_p", temperature_after_the_filter), ("both", temperature_after_the_filter),
    ("top_k", renormalised_twice), ("top_p", renormalised_twice), ("sample", renormalised_twice),
    ("top_p", without_the_crossing_token),
])  # fmt: skip
def test_a_wrong_sampler_fails_the_same_check(name, mutant):
    with pytest.raises(AssertionError):
        draws_fit(CASES[name], mutant)


def test_the_largest_uniform_number_still_draws_a_kept_token():
    weights = torch.tensor([0.3, 0.1, 0.0], dtype=torch.float64)
    assert draw(weights, torch.tensor([0.0, 1 - 2**-52], dtype=torch.float64)).tolist() == [0, 1]


def test_a_lanes_numbers_depend_on_seed_and_name_and_begin_alike_at_any_length():
    long = lane_uniforms(3, "top_p", 500)
    assert torch.equal(long[:7], lane_uniforms(3, "top_p", 7))
    assert not torch.equal(long, lane_uniforms(4, "top_p", 500))
    assert not torch.equal(long, lane_uniforms(3, "top_k", 500))
