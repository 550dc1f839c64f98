"""Many prompts in one forward a step: each gets what it gets alone, whatever comes and goes beside it."""

import pytest
import torch

from llmdemo.decoding import DecodeSettings, decode_lanes
from llmdemo.decoding.fused_llama import FusedLlamaWeights
from llmdemo.decoding.run import distinct
from llmdemo.decoding.together import decode_together

BEGIN = [5, 6, 7, 8, 9, 11]
PROMPTS = [[*BEGIN, 5, 6, 7], [*BEGIN, 12], [9], BEGIN, [30, 31, 30, 31, 30], list(range(3, 40)), BEGIN]
LANES = [
    "greedy",
    "top_p",
    "mirostat",
    {"strategy": "beam", "num_beams": 3},
    {"strategy": "best_of_n", "num_return_sequences": 3},
    "stochastic_beam",
    "speculative",
]


def results_of(steps) -> dict:
    """{key: {lane: (token ids, forwards, tokens that were computed, accepted)}} of pairs (key, Step)."""
    found: dict = {}
    for key, step in steps:
        for name, result in step.results.items():
            told = result.token_ids, result.forwards, result.generated, result.accepted
            found.setdefault(key, {})[name] = told
    return found


def asked_of(lanes, tokens: int) -> list:
    return [
        (key, prompt, DecodeSettings.from_dict({"lanes": lanes, "max_new_tokens": tokens, "seed": key}))
        for key, prompt in enumerate(PROMPTS)
    ]


def alone(model, asked) -> dict:
    return results_of((key, step) for key, prompt, settings in asked for step in decode_lanes(model, prompt, settings))


@pytest.mark.slow
def test_each_prompt_gets_what_it_gets_alone(tiny_llama):
    model, asked = tiny_llama(4, eos_token_id=[2, 3]), asked_of(LANES, 20)
    want = alone(model, asked)
    assert len({name: told for told in want.values() for name in told}) == 7
    for most_rows in (1, 9, 64):
        assert results_of(decode_together(model, iter(asked), most_rows=most_rows)) == want, most_rows


@pytest.mark.slow
def test_a_past_that_is_cleared_and_grows_serves_every_branch(tiny_llama):
    model = tiny_llama(3, eos_token_id=None, max_position_embeddings=400)
    asked = asked_of([{"strategy": "beam", "num_beams": 2}, "speculative", "sample"], 300)[:2]
    assert results_of(decode_together(model, asked)) == alone(model, asked)


def test_another_models_own_forward_takes_one_prompt_after_another(tiny_gpt2):
    asked = asked_of(["greedy", "speculative", "dola"], 6)
    assert results_of(decode_together(tiny_gpt2, asked)) == alone(tiny_gpt2, asked)


def test_lanes_with_forwards_of_their_own_take_part(tiny_llama):
    for lanes in (["dola"], ["contrastive", "greedy", "speculative"]):
        asked = asked_of(lanes, 6)
        assert results_of(decode_together(tiny_llama(1), asked)) == alone(tiny_llama(1), asked)


def test_prompts_share_forwards_and_what_they_begin_with(tiny_llama, monkeypatch):
    model, asked = tiny_llama(4, eos_token_id=None), asked_of(["greedy"], 8)
    forwards, batched = [], FusedLlamaWeights.batched_logits

    def counted(weights, requests):
        forwards.append([tokens.numel() for parts in requests for tokens, _ in parts])
        return batched(weights, requests)

    list(decode_lanes(model, [3], asked[0][2]))  # the weights are made and checked
    monkeypatch.setattr(FusedLlamaWeights, "batched_logits", counted)
    list(decode_together(model, asked))
    # the first prompt is read whole; of what begins as one before it does, the rest, and the last token in any case
    assert forwards[:7] == [[9], [1], [1], [1], [5], [37], [1]]
    assert forwards[7:] == [[1] * 7] * 7


def test_rows_that_have_said_the_same_are_one_row_of_the_forward(tiny_llama):
    lanes = [
        "greedy",
        {"strategy": "top_k", "top_k": 1},
        {"strategy": "top_p", "top_p": 1e-6},
        {"strategy": "beam", "num_beams": 1},
    ]
    settings = DecodeSettings.from_dict({"lanes": lanes, "max_new_tokens": 12})
    *_, last = steps = list(decode_lanes(tiny_llama(2), BEGIN, settings, eos_token_ids=[]))
    assert {step.rows for step in steps} == {1} and len(last.results) == 4
    assert len({result.token_ids for result in last.results.values()}) == 1


def test_rows_are_told_apart_by_what_they_go_on_from():
    tokens, parents, places = distinct(torch.tensor([7, 7, 0, 7, 9]), torch.tensor([0, 1, 1, 0, 0]))
    pairs = list(zip(parents.tolist(), tokens.tolist(), strict=True))
    assert sorted(pairs) == [(0, 7), (0, 9), (1, 0), (1, 7)]
    assert [pairs[place] for place in places] == [(0, 7), (1, 7), (1, 0), (0, 7), (0, 9)]


def test_what_one_prompt_may_not_is_said_and_ends_the_work(tiny_llama):
    asked = asked_of(["greedy"], 4)
    with pytest.raises(Exception, match="99"):
        list(decode_together(tiny_llama(0), [*asked, (9, [99], asked[0][2])]))


def test_a_lane_with_forwards_of_its_own_goes_on_when_the_others_have_ended(tiny_llama):
    settings = DecodeSettings.from_dict({"lanes": ["greedy", "dola"], "max_new_tokens": 30})
    for seed in range(8):
        *_, last = decode_lanes(tiny_llama(seed), BEGIN, settings, eos_token_ids=range(20))
        if list(last.results) == ["dola"]:
            return
    raise AssertionError("no model of eight whose greedy lane ends first")
