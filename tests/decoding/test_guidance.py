"""Classifier-free guidance against transformers' own, and beams by hand, whose rows are followed."""

from dataclasses import replace

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, decode_lanes, guidance
from llmdemo.settings.lane import Resolved

PROMPT, NEGATIVE = [5, 6, 7, 8], [9, 10, 11]


def guided(model, lanes, negative=tuple(NEGATIVE), prompt=PROMPT, answer_tokens=0, eos=(), **settings):
    checked = DecodeSettings.from_dict({"lanes": lanes, "max_new_tokens": 12, **settings})
    checked = replace(checked, resolved=Resolved(negative=negative, answer_tokens=answer_tokens))
    steps = list(decode_lanes(model, prompt, checked, list(eos)))
    return {name: result for step in steps for name, result in step.results.items()}


def says_what_generate_says(make):
    for seed in range(3):
        model = make(seed)
        model.generation_config.eos_token_id = None
        for scale in (0.0, 0.5, 1.5, 4.0):
            for negative in (NEGATIVE, []):
                ids = torch.tensor([NEGATIVE]) if negative else None
                want = model.generate(
                    torch.tensor([PROMPT]), do_sample=False, max_new_tokens=12, pad_token_id=0, repetition_penalty=1.2,
                    guidance_scale=scale, negative_prompt_ids=ids,
                )[0, len(PROMPT) :].tolist()  # fmt: skip
                got = guided(model, ["greedy"], tuple(negative), guidance_scale=scale, repetition_penalty=1.2)
                assert list(got["greedy"].token_ids) == want, (seed, scale, negative)


@pytest.mark.slow
def test_greedy_says_what_generate_says(tiny_llama, monkeypatch):
    says_what_generate_says(tiny_llama)


def test_guidance_the_wrong_way_round_fails_the_check(tiny_llama, monkeypatch):
    right = guidance.Guidance.__init__

    def wrong(self, model, context, rows, scale, penalties):
        right(self, model, context, rows, 1 - scale, penalties)

    monkeypatch.setattr(guidance.Guidance, "__init__", wrong)
    with pytest.raises(AssertionError):
        says_what_generate_says(tiny_llama)


def by_hand(model, beams, scale, length):
    """Beam search of guided scores in float64, each from whole texts: nothing is kept from step to step."""
    live = [((), 0.0)]
    for _ in range(length):
        grown = []
        for text, score in live:
            prompted = model(torch.tensor([[*PROMPT, *text]])).logits[0, -1].detach().double().log_softmax(-1)
            negative = model(torch.tensor([[*NEGATIVE, *text]])).logits[0, -1].detach().double().log_softmax(-1)
            guided_scores = negative + scale * (prompted - negative)
            grown += [((*text, token), score + float(each)) for token, each in enumerate(guided_scores)]
        live = sorted(grown, key=lambda one: -one[1])[:beams]
    return live[0][0]


def test_beams_are_followed_to_their_parents(tiny_llama):
    for seed in range(3):
        model = tiny_llama(seed)
        lane = {"strategy": "beam", "num_beams": 3, "length_penalty": 0.0}
        got = guided(model, [lane], guidance_scale=1.7, max_new_tokens=6)
        assert got["beam"].token_ids == by_hand(model, 3, 1.7, 6)


def test_a_fork_goes_on_as_the_whole_text_would(tiny_llama):
    model = tiny_llama(4)
    whole = guided(model, ["greedy"], guidance_scale=2.0)["greedy"].token_ids
    fork = guided(
        model, ["greedy"], prompt=[*PROMPT, *whole[:4]], answer_tokens=4, guidance_scale=2.0, max_new_tokens=8
    )
    assert fork["greedy"].token_ids == whole[4:]


def test_a_scale_of_1_and_groups_of_beams(tiny_llama):
    model = tiny_llama(5)
    assert (
        guided(model, ["greedy"], guidance_scale=1.0)["greedy"].token_ids
        == guided(model, ["greedy"], ())["greedy"].token_ids
    )
    with pytest.raises(UserError, match="searches in groups"):
        guided(model, ["diverse_beam"], guidance_scale=2.0)
    with pytest.raises(UserError, match="leaves no room"):
        guided(model, ["greedy"], tuple(range(3, 60)) * 3, guidance_scale=2.0)
