"""Lanes that are held to a form: transformers' prefix_allowed_tokens_fn is the reference, a list of texts the form."""

from dataclasses import replace

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, constraints, decode_lanes
from llmdemo.settings.lane import Resolved

PROMPT = [5, 6, 7]
TEXTS = [(11, 12, 13), (11, 12, 14, 15), (20,), (20, 21, 22), (30, 31, 32, 33, 34)]
EOS = 2


class Texts:
    """A form: one of a few texts, as token ids. Stands for arena/grammar.py, which needs a tokenizer."""

    def allowed(self, said):
        said, bits = tuple(said), bytearray(8)
        for text in TEXTS:
            if len(text) > len(said) and text[: len(said)] == said:
                bits[text[len(said)] >> 3] |= 1 << (text[len(said)] & 7)
        return bytes(bits)

    def complete(self, said):
        return tuple(said) in TEXTS


class Side:
    """A TextSide whose every lane is held to Texts."""

    def stops(self, token_ids):
        return False

    def rank(self, lane, answers):
        return [(0.0, "") for _ in answers]

    def masks(self, lane):
        return Texts()


def held(model, lanes, eos=(EOS,), prompt=PROMPT, answer_tokens=0, **settings):
    """(list of steps, {lane: LaneResult}) of lanes that are held to Texts."""
    checked = DecodeSettings.from_dict({"lanes": lanes, "regex": "x", **settings})
    checked = replace(checked, resolved=Resolved(texts=Side(), answer_tokens=answer_tokens))
    steps = list(decode_lanes(model, prompt, checked, list(eos)))
    return steps, {name: result for step in steps for name, result in step.results.items()}


def follow(batch, ids):
    """prefix_allowed_tokens_fn of transformers."""
    said, form = tuple(ids[len(PROMPT) :].tolist()), Texts()
    bits = form.allowed(said)
    allowed = [token for token in range(61) if token >> 3 < len(bits) and bits[token >> 3] >> (token & 7) & 1]
    return allowed + [EOS] if form.complete(said) else allowed or [0]


def says_what_generate_says(make):
    for seed in range(6):
        model = make(seed)
        _, got = held(model, ["greedy", {"strategy": "beam", "num_beams": 3}, "speculative"], max_new_tokens=8)
        for name, beams in (("greedy", 1), ("beam", 3)):
            want = model.generate(
                torch.tensor([PROMPT]), max_new_tokens=8, num_beams=beams, do_sample=False, eos_token_id=EOS,
                prefix_allowed_tokens_fn=follow, pad_token_id=0,
            )[0, len(PROMPT) :].tolist()  # fmt: skip
            want = want[: want.index(EOS) + 1]
            assert list(got[name].token_ids) == want, (seed, name)
        assert got["speculative"].token_ids == got["greedy"].token_ids


def test_greedy_and_beams_say_what_generate_says(tiny_llama):
    says_what_generate_says(tiny_llama)


def test_beams_that_forget_whose_text_they_go_on_from_fail_the_check(tiny_llama, monkeypatch):
    right = constraints.Constraint.extend
    monkeypatch.setattr(constraints.Constraint, "extend", lambda self, tokens, parents, t: right(self, tokens, None, t))
    with pytest.raises((AssertionError, IndexError)):
        says_what_generate_says(tiny_llama)


@pytest.mark.parametrize("strategy", ["sample", "top_p", "best_of_n", "diverse_beam", "stochastic_beam", "mirostat"])
@pytest.mark.parametrize("eos", [(EOS,), ()])
def test_every_text_has_the_form_and_ends(tiny_llama, strategy, eos):
    for seed in range(3):
        _, got = held(tiny_llama(seed), [strategy], eos, num_beams=4, num_return_sequences=4, max_new_tokens=8)
        result = got[strategy]
        for one in [result, *result.sequences]:
            assert tuple(token for token in one.token_ids if token not in eos) in TEXTS
            assert one.finish_reason == ("eos" if eos else "stop")


def test_a_search_ends_once_the_form_allows_no_further_text(tiny_llama):
    steps, got = held(tiny_llama(1), [{"strategy": "beam", "num_beams": 8}], max_new_tokens=60)
    assert len(got["beam"].sequences) == len(TEXTS)
    assert len(steps) == max(map(len, TEXTS)) + 1


def test_the_masked_mass_is_what_the_model_gave_to_forbidden_tokens(tiny_llama):
    model = tiny_llama(3)
    steps, got = held(model, ["greedy", {"strategy": "beam", "num_beams": 2}], max_new_tokens=8)
    ids, form = list(PROMPT), Texts()
    for step in steps:
        part = step.lanes.get("greedy")
        if part is None:
            break
        probabilities = model(torch.tensor([ids])).logits[0, -1].detach().double().softmax(-1)
        bits = form.allowed(ids[len(PROMPT) :])
        allowed = [
            token for token in range(61) if bits[token >> 3 : (token >> 3) + 1] and bits[token >> 3] >> (token & 7) & 1
        ]
        allowed += [EOS] if form.complete(ids[len(PROMPT) :]) else []
        assert part.masked == pytest.approx(1 - float(probabilities[allowed].sum()), abs=1e-5)
        ids.append(part.token)
    assert steps[0].lanes["beam"].masked == pytest.approx((steps[0].lanes["greedy"].masked,))
    assert len(steps[1].lanes["beam"].masked) == 2


def test_penalties_give_way_where_they_ban_all_that_the_form_allows(tiny_llama):
    _, got = held(tiny_llama(2), ["greedy"], max_new_tokens=8, min_new_tokens=8)
    assert got["greedy"].token_ids[:-1] in TEXTS and got["greedy"].token_ids[-1] == EOS


def test_a_fork_goes_on_within_the_form_or_is_refused(tiny_llama):
    _, got = held(tiny_llama(2), ["greedy"], prompt=[*PROMPT, 11, 12], answer_tokens=2, max_new_tokens=8)
    assert (11, 12, *got["greedy"].token_ids[:-1]) in TEXTS
    with pytest.raises(UserError, match="does not satisfy regex"):
        held(tiny_llama(2), ["greedy"], prompt=[*PROMPT, 11, 40], answer_tokens=2)


def test_a_lane_without_a_form_beside_one_with_it_is_as_ever_and_tells_no_mask(run, tiny_llama):
    model = tiny_llama(4)
    lanes = ["greedy", {"strategy": "greedy", "name": "free", "regex": ""}]
    steps, got = held(model, lanes, max_new_tokens=8)
    _, plain = run(model, PROMPT, lanes=["greedy"], eos_token_ids=[EOS], max_new_tokens=8)
    assert got["free"].token_ids == plain["greedy"].token_ids != got["greedy"].token_ids
    assert steps[0].lanes["free"].masked is None


def test_without_a_tokenizer_a_form_is_refused(run, tiny_llama):
    with pytest.raises(UserError, match="regex needs a tokenizer"):
        run(tiny_llama(0), PROMPT, lanes=["greedy"], regex="a")
