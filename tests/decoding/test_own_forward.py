"""Contrastive search and DoLa against transformers 4 (data/old_searches.py says how its results were made); mutants fail."""

import json
from pathlib import Path

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, contrastive, dola
from tests.decoding import test_constraints
from tests.decoding.data import old_searches

PROMPT = old_searches.PROMPT
CASES = json.loads((Path(old_searches.HERE) / "old_searches.json").read_text())["cases"]


@pytest.fixture(scope="module")
def models():
    return {seed: old_searches.model(seed, tied) for seed, tied in {(case["seed"], case["tied"]) for case in CASES}}


def agrees(run, models, key):
    cases = [case for case in CASES if key in case]
    assert len(cases) >= 12
    for case in cases:
        own = {
            name: case[name] for name in ("penalty_alpha", "top_k", "dola_layers", "repetition_penalty") if name in case
        }
        lane = {"strategy": "contrastive" if key == "penalty_alpha" else "dola", **own}
        _, got = run(models[case["seed"]], PROMPT, lanes=[lane], max_new_tokens=16)
        assert list(got[lane["strategy"]].token_ids) == case["tokens"], case


@pytest.mark.slow
def test_contrastive_search_says_what_transformers_4_said(run, models):
    agrees(run, models, "penalty_alpha")


def test_dola_says_what_transformers_4_said(run, models):
    agrees(run, models, "dola_layers")


def test_a_contrastive_search_that_forgets_what_it_said_itself_fails_the_check(run, models, monkeypatch):
    right = contrastive.contrastive_scores
    monkeypatch.setattr(
        contrastive, "contrastive_scores", lambda p, hidden, context, alpha: right(p, hidden, context[:4], alpha)
    )
    with pytest.raises(AssertionError):
        agrees(run, models, "penalty_alpha")


def test_a_dola_that_takes_the_layer_that_differs_least_fails_the_check(run, models, monkeypatch):
    right = dola._kl_to
    monkeypatch.setattr(dola, "_kl_to", lambda middle, logprobs: -right(middle, logprobs))
    with pytest.raises(AssertionError):
        agrees(run, models, "dola_layers")


@pytest.mark.parametrize("strategy", ["contrastive", "dola"])
def test_a_model_whose_past_is_not_kept_says_the_same(run, models, monkeypatch, strategy):
    model, lane = models[0], {"strategy": strategy}
    _, kept = run(model, PROMPT, lanes=[lane], max_new_tokens=10)
    monkeypatch.setattr("llmdemo.decoding.own_forward.PROVED", ())
    _, again = run(model, PROMPT, lanes=[lane], max_new_tokens=10)
    assert again[strategy].token_ids == kept[strategy].token_ids


def test_they_run_beside_other_lanes_and_say_what_they_cost(run, models):
    steps, got = run(models[1], PROMPT, lanes=["greedy", "contrastive", "dola"], max_new_tokens=8, eos_token_ids=[])
    _, alone = run(models[1], PROMPT, lanes=["greedy"], max_new_tokens=8, eos_token_ids=[])
    assert got["greedy"].token_ids == alone["greedy"].token_ids
    assert (got["contrastive"].forwards, got["contrastive"].generated) == (9, 8 * 4)
    assert (got["dola"].forwards, got["dola"].generated) == (8, 8)
    raw = models[1](torch.tensor([PROMPT])).logits[0, -1].detach().log_softmax(-1)
    for name in ("contrastive", "dola"):
        first = steps[0].lanes[name]
        assert first.logprob == pytest.approx(float(raw[first.token]), abs=1e-4)


def test_at_alpha_0_contrastive_search_is_greedy(run, models):
    _, got = run(
        models[0], PROMPT, lanes=["greedy", {"strategy": "contrastive", "penalty_alpha": 0}], max_new_tokens=12
    )
    assert got["contrastive"].token_ids == got["greedy"].token_ids


def test_what_is_banned_is_no_candidate(run, models):
    _, plain = run(models[0], PROMPT, lanes=["contrastive", "dola"], max_new_tokens=8, eos_token_ids=[])
    said = {token for result in plain.values() for token in result.token_ids}
    banned = {str(token): -100.0 for token in said}
    _, got = run(
        models[0], PROMPT, lanes=["contrastive", "dola"], max_new_tokens=8, eos_token_ids=[], logit_bias=banned
    )
    assert said.isdisjoint(token for result in got.values() for token in result.token_ids)


def test_more_candidates_than_a_forward_has_rows_are_refused():
    with pytest.raises(UserError, match="compares 500 candidates"):
        DecodeSettings.from_dict({"lanes": [{"strategy": "contrastive", "top_k": 500}]})
    lanes = DecodeSettings.from_dict(
        {"top_k": 50, "lanes": ["contrastive", {"strategy": "contrastive", "name": "8", "top_k": 8}]}
    ).lanes
    assert [lane.top_k for lane in lanes] == [4, 8]


def test_dola_has_an_earlier_layer_in_every_model():
    for layers in range(1, 60):
        for which in ("low", "high"):
            for tied in (False, True):
                found = dola.early_layers(layers, which, tied)
                assert found and all(0 <= layer < layers for layer in found)


def test_dola_guided_by_the_negative_prompt_alone_says_what_a_greedy_lane_says(run, models):
    """At scale 0 the prompt says nothing: −∞ times 0 would be no number."""
    _, got = run(models[0], PROMPT, lanes=["dola", "greedy"], max_new_tokens=6, guidance_scale=0)
    assert got["dola"].token_ids == got["greedy"].token_ids


def test_dola_keeps_the_form_where_it_allows_none_of_the_tokens_that_dola_looks_at(tiny_llama):
    """Masked with −∞ by both, every token would be impossible, and the first of the vocabulary would be said."""
    for seed in range(3):
        model = tiny_llama(seed)
        with torch.no_grad():
            model.lm_head.weight.mul_(40)  # so sure that nothing but the likeliest token is looked at
        assert (
            tuple(test_constraints.held(model, ["dola"], max_new_tokens=8)[1]["dola"].token_ids[:-1])
            in test_constraints.TEXTS
        )
