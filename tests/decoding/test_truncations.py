"""The rarer truncations against transformers' warpers, or float64 by their definition; wrong versions fail the same checks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import EpsilonLogitsWarper, EtaLogitsWarper, TypicalLogitsWarper

from llmdemo.core.errors import UserError
from llmdemo.decoding import keep_epsilon, keep_eta, keep_top_n_sigma, keep_typical, keep_xtc, lanes
from llmdemo.decoding.filters import keep_surprise
from llmdemo.decoding.lanes import Rows, TokenLane, draw, kept_mask, lane_uniforms, lane_weights
from llmdemo.settings.lane import LaneSettings
from tests.decoding.test_filters import LOGITS, chi_square_fits, softmax64
from tests.decoding.test_graphs import graph_run, ids

WIDE = torch.randn(60, 300, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.1, 5, 60)[:, None]
CPU = torch.device("cpu")


def same_as(keep, warper, values):
    for value in values:
        assert torch.equal(keep(WIDE, value), warper(value)(None, WIDE) > -torch.inf)


WARPED = [
    (keep_typical, TypicalLogitsWarper, (0.05, 0.2, 0.6, 0.95)),
    (keep_epsilon, EpsilonLogitsWarper, (1e-4, 3e-3, 0.1, 0.9)),
    (keep_eta, EtaLogitsWarper, (1e-4, 3e-3, 0.1, 0.9)),
]


@pytest.mark.parametrize(("keep", "warper", "values"), WARPED)
def test_the_kept_set_is_that_of_transformers(keep, warper, values):
    same_as(keep, warper, values)


def typical_by_probability(logits, mass):
    """Orders by probability and not by the distance to the entropy: that is top-p."""
    from llmdemo.decoding import keep_top_p

    return keep_top_p(logits, mass)


def eta_without_the_entropy(logits, epsilon):
    return keep_epsilon(logits, epsilon)


def epsilon_of_the_likeliest(logits, epsilon):
    from llmdemo.decoding import keep_min_p

    return keep_min_p(logits, epsilon)


@pytest.mark.parametrize(
    ("mutant", "case"),
    list(zip((typical_by_probability, epsilon_of_the_likeliest, eta_without_the_entropy), WARPED, strict=True)),
)
def test_a_wrong_truncation_fails_the_same_check(mutant, case):
    with pytest.raises(AssertionError):
        same_as(mutant, *case[1:])


def test_the_rarer_filters_apply_after_the_others_as_in_transformers():
    lane = LaneSettings("x", "sample", top_k=200, typical_p=0.9, epsilon_cutoff=0.004, eta_cutoff=0.05)
    row = WIDE[20:21]
    want = row.masked_fill(row < row.topk(200).values[..., -1:], -torch.inf)
    for warper in (TypicalLogitsWarper(0.9), EpsilonLogitsWarper(0.004), EtaLogitsWarper(0.05)):
        want = warper(None, want)
    assert torch.equal(kept_mask(row[0], lane), want[0] > -torch.inf)


# --- top-nσ: the definition, and that the temperature does not change what is kept ---------------------------------


def reference_sigma(logits, n):
    wide = np.asarray(logits, dtype=np.float64)
    return (wide >= wide.max() - n * wide[wide > -np.inf].std()).tolist()


def does_not_depend_on_the_temperature(keep):
    for row in WIDE:
        for n in (0.5, 1.0, 2.0):
            assert keep(row, n).tolist() == reference_sigma(row, n)
            for temperature in (0.3, 1.7, 5.0):
                assert torch.equal(keep(row, n), keep(row / temperature, n))


def test_top_n_sigma_keeps_the_same_tokens_at_any_temperature():
    does_not_depend_on_the_temperature(keep_top_n_sigma)
    masked = WIDE[5].clone()
    masked[::3] = -torch.inf
    assert keep_top_n_sigma(masked, 1.0).tolist() == reference_sigma(masked, 1.0)


def test_a_deviation_of_probabilities_fails_the_same_check():
    def mutant(logits, n):
        probs = logits.double().softmax(-1)
        return probs >= probs.max() - n * probs.std(correction=0)

    with pytest.raises(AssertionError):
        does_not_depend_on_the_temperature(mutant)


# --- what is drawn ---------------------------------------------------------------------------------------------------


def wanted_xtc(threshold, chance):
    """float64: with `chance` the tokens of p ≥ threshold but the least likely of them are gone."""
    probs = softmax64(LOGITS.double() / 0.8)
    above = [i for i in np.argsort(-probs) if probs[i] >= threshold]
    cut = probs.copy()
    cut[above[:-1]] = 0
    return chance * cut / cut.sum() + (1 - chance) * probs


def xtc_fits(keep, monkeypatch, count=20_000, threshold=0.1, chance=0.5):
    monkeypatch.setattr(lanes, "keep_xtc", keep)
    lane = TokenLane(
        LaneSettings("x", "xtc", temperature=0.8, xtc_threshold=threshold, xtc_probability=chance), 3, count, [], CPU
    )
    drawn = [int(lane._sample(LOGITS, torch.arange(3), torch.tensor([t]))[0]) for t in range(count)]
    chi_square_fits(torch.tensor(drawn), wanted_xtc(threshold, chance))


@pytest.mark.slow
def test_xtc_draws_from_its_mixture(monkeypatch):
    xtc_fits(keep_xtc, monkeypatch)


@pytest.mark.parametrize(
    "mutant",
    [
        lambda logits, threshold: logits.softmax(-1) < threshold,  # leaves out the last of them too
        lambda logits, threshold: logits < logits.max(),  # leaves out the likeliest only
        lambda logits, threshold: keep_xtc(logits, threshold) | (logits == logits.max()),
    ],
)
@pytest.mark.slow
def test_a_wrong_xtc_fails_the_same_check(mutant, monkeypatch):
    with pytest.raises(AssertionError):
        xtc_fits(mutant, monkeypatch, 4_000)


@pytest.mark.parametrize(
    ("probs", "kept"),
    [
        ((0.5, 0.3, 0.15, 0.05), [False, False, True, True]),
        ((0.95, 0.03, 0.02), [True, True, True]),  # one alone above the threshold stays
        ((0.3, 0.3, 0.3, 0.05, 0.05), [True, True, True, True, True]),
        ((0.04,) * 25, [True] * 25),
    ],
)
def test_xtc_leaves_out_all_but_the_least_likely_of_the_top(probs, kept):
    assert keep_xtc(torch.tensor(probs).double().log(), 0.1).tolist() == kept


def mirostat_run(tau, count=400, eta=0.2):
    """(tokens, surprises in bits, the lane) of a lane on random logits."""
    lane = TokenLane(
        LaneSettings("m", "mirostat", temperature=1.0, mirostat_tau=tau, mirostat_eta=eta), 5, count, [], CPU
    )
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(count, 500, generator=generator) * (1 + torch.rand(count, 1, generator=generator))
    tokens = [int(lane._sample(row, torch.arange(3), torch.tensor([t]))[0]) for t, row in enumerate(rows)]
    surprises = [-math.log2(softmax64(row)[token]) for row, token in zip(rows, tokens, strict=True)]
    return rows, tokens, surprises


def mirostat_is_the_papers(tau=4.0, eta=0.2):
    """Follows the algorithm in float64 with the lane's own random numbers."""
    rows, tokens, _ = mirostat_run(tau, 120, eta)
    uniforms, most = lane_uniforms(5, "m", 120).numpy(), 2 * tau
    for row, uniform, token in zip(rows, uniforms, tokens, strict=True):
        probs = softmax64(row)
        kept = -np.log2(probs) <= most
        kept[probs.argmax()] = True
        ladder = np.cumsum(probs * kept)
        want = int(np.searchsorted(ladder, uniform * ladder[-1], side="right"))
        assert token == want
        most -= eta * (-math.log2(probs[want]) - tau)


def test_mirostat_is_the_papers_second_algorithm():
    mirostat_is_the_papers()


def test_a_mirostat_that_reads_its_surprise_in_nats_fails_the_same_check(monkeypatch):
    monkeypatch.setattr(lanes, "keep_surprise", lambda logits, most: keep_surprise(logits, most / math.log(2)))
    with pytest.raises(AssertionError):
        mirostat_is_the_papers()


@pytest.mark.parametrize("tau", [4.0, 5.0, 6.0])
def test_mirostat_comes_to_the_surprise_it_aims_at(tau):
    _, _, surprises = mirostat_run(tau)
    assert np.mean(surprises[100:]) == pytest.approx(tau, abs=0.15)


CASES = {
    "typical_p": LaneSettings("c", "typical_p", temperature=0.8, typical_p=0.6),
    "epsilon": LaneSettings("c", "epsilon", temperature=1.2, epsilon_cutoff=0.08),
    "eta": LaneSettings("c", "eta", temperature=1.2, eta_cutoff=0.3),
    "top_n_sigma": LaneSettings("c", "top_n_sigma", temperature=1.8, top_n_sigma=0.7),
}


def kept64(lane, scaled):
    probs = softmax64(scaled)
    entropy = -(probs * np.log(probs)).sum()
    if lane.strategy == "top_n_sigma":
        return np.array(reference_sigma(scaled, lane.top_n_sigma))
    if lane.strategy == "typical_p":
        distance = np.abs(-np.log(probs) - entropy)
        order = np.argsort(distance)
        count = int((np.cumsum(probs[order]) < lane.typical_p).sum()) + 1
        return np.isin(np.arange(len(probs)), order[:count])
    eta = lane.epsilon_cutoff or min(lane.eta_cutoff, math.sqrt(lane.eta_cutoff) * math.exp(-entropy))
    return probs >= eta


@pytest.mark.parametrize("name", CASES)
def test_a_hundred_thousand_draws_have_the_truncated_distribution(name):
    lane = CASES[name]
    scaled = LOGITS.double().numpy() / lane.temperature
    kept = kept64(lane, scaled)
    assert 1 < kept.sum() < len(LOGITS)
    want = softmax64(np.where(kept, scaled, -np.inf))
    drawn = draw(lane_weights(LOGITS, lane)[0], lane_uniforms(11, lane.name, 100_000))
    chi_square_fits(drawn, want)
    late = lane_weights(LOGITS, replace(lane, temperature=1.0))[0]  # the temperature forgotten
    with pytest.raises(AssertionError):
        chi_square_fits(draw(late, lane_uniforms(11, lane.name, 100_000)), want)


# --- whole lanes -----------------------------------------------------------------------------------------------------

RARE = ["typical_p", "epsilon", "eta", "top_n_sigma", "xtc", "mirostat"]


@pytest.mark.parametrize("first_steps", [2, 128])
def test_a_step_of_fixed_shapes_gives_the_same_rarer_lanes(tiny_llama, run, monkeypatch, first_steps):
    from llmdemo.decoding import fused_llama

    monkeypatch.setattr(fused_llama, "_FIRST_STEPS", first_steps)
    values = dict(lanes=["greedy", *RARE], temperature=1.5, seed=3, xtc_probability=0.7, mirostat_tau=3)
    model = tiny_llama(4)
    eos = list(range(2, 9))
    assert ids(graph_run(model, eos=eos, **values)[1]) == ids(
        run(model, [5, 6, 7, 8], eos_token_ids=eos, max_new_tokens=40, **values)[1]
    )


def test_the_rarer_lanes_do_not_depend_on_each_other(tiny_llama, run):
    _, together = run(tiny_llama(1), [5, 6, 7], lanes=RARE, max_new_tokens=25, temperature=1.4)
    for name in RARE:
        _, alone = run(tiny_llama(1), [5, 6, 7], lanes=[name], max_new_tokens=25, temperature=1.4)
        assert alone[name].token_ids == together[name].token_ids


@pytest.mark.parametrize("name", RARE)
def test_at_temperature_zero_a_rarer_lane_is_greedy(tiny_llama, run, name):
    lanes = ["greedy", {"strategy": name, "name": "cold", "temperature": 0}]
    _, results = run(tiny_llama(3), [5, 6, 7], lanes=lanes, max_new_tokens=12, eos_token_ids=[])
    assert results["cold"].token_ids == results["greedy"].token_ids


@pytest.mark.parametrize("keep", [lambda x: keep_typical(x, 0.5), lambda x: keep_epsilon(x, 0.3), lambda x: keep_eta(x, 0.3),
                                  lambda x: keep_top_n_sigma(x, 1), lambda x: keep_xtc(x, 0.2)])  # fmt: skip
def test_impossible_tokens_are_never_kept(keep):
    row = torch.tensor([-torch.inf, 1.0, -torch.inf, 0.9, -3.0])
    kept = keep(row)
    assert kept.any() and not kept[0] and not kept[2]


@pytest.mark.parametrize(("keep", "bad"), [
    (keep_typical, 1.5), (keep_epsilon, -0.1), (keep_eta, math.nan), (keep_xtc, "0.1"), (keep_top_n_sigma, 0), (keep_top_n_sigma, math.inf),
])  # fmt: skip
def test_a_bad_value_is_a_user_error(keep, bad):
    with pytest.raises(UserError, match="must be"):
        keep(torch.zeros(4), bad)


def test_rows_of_a_lane_tell_what_was_kept():
    lane = TokenLane(CASES["top_n_sigma"], 1, 4, [], CPU)
    token, _, packed = lane.choose(Rows.of(LOGITS[None], 10), torch.tensor([0]))
    size = int(packed[4])
    assert size == int(keep_top_n_sigma(LOGITS, 0.7).sum()) and int(token) < size


def drawn_as(logits, lane, kept):
    """Asserts that 100,000 draws fit the float64 probabilities of the tokens in `kept` at the lane's temperature."""
    weights, _ = lane_weights(torch.tensor(logits), lane)
    want = softmax64(np.array(logits, dtype=np.float64) / lane.temperature) * kept
    tokens = draw(weights, lane_uniforms(3, "order", 100_000))
    chi_square_fits(tokens, want / want.sum())


@pytest.mark.parametrize(
    ("key", "value"), [("top_p", 0.75), ("min_p", 0.2), ("typical_p", 0.6), ("epsilon_cutoff", 0.06)]
)
def test_the_order_of_temperature_and_filter_decides_what_is_kept_and_the_draws_fit_float64(key, value):
    logits = [2.0, 1.4, 1.1, 0.2, -0.5, -1.5, -3.0]
    first = LaneSettings("a", "sample", temperature=2.0, **{key: value})
    last = replace(first, filter_order="filters_first")
    plain = kept_mask(torch.tensor(logits, dtype=torch.float64), first).numpy()
    heated = kept_mask(torch.tensor(logits, dtype=torch.float64) / 2, first).numpy()
    assert plain.sum() != heated.sum()
    drawn_as(logits, first, heated)
    drawn_as(logits, last, plain)
    with pytest.raises(AssertionError):  # the mutant: the switch does nothing
        drawn_as(logits, first, plain)


def test_what_is_kept_with_the_filters_first_does_not_depend_on_the_temperature():
    for lane in (LaneSettings("a", "xtc", xtc_probability=1.0), LaneSettings("a", "mirostat", mirostat_tau=1.0)):
        kept = set()
        for temperature in (0.3, 1.0, 4.0):
            one = replace(lane, temperature=temperature, filter_order="filters_first")
            token = TokenLane(one, 1, 4, [], CPU)
            rows = Rows.of(torch.tensor([[2.0, 1.4, 1.1, 0.2, -0.5, -1.5]]), 10)
            packed = token.choose(rows, torch.tensor([0]))[2]
            kept.add((int(packed[4]), round(float(packed[5]), 6)))  # how many are kept, and their mass
        assert len(kept) == 1, (lane.strategy, kept)
