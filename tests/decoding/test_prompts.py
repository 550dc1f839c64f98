"""Many prompts at once give what each gives alone."""

import pytest
import torch

from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.fused_rows import FusedRows
from llmdemo.decoding.prompts import PaddedRows, greedy, written

PROMPTS = [[5, 6, 7], [9] * 17, [40, 41, 3, 8, 99, 120], [12], [200, 13]]


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model_folder)


def alone(model, prompt, new):
    """What transformers' generate gives for one prompt: (tokens, ended)."""
    ids = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
                         do_sample=False, max_new_tokens=new, pad_token_id=2)[0, len(prompt) :].tolist()  # fmt: skip
    return (ids[:-1], True) if ids and ids[-1] == 2 else (ids, False)


@pytest.fixture(params=[False, True], ids=["own forward", "fused"])
def weights(request, model):
    """None, or the model's fused weights."""
    found = fused_weights(model) if request.param else None
    assert (found is not None) == request.param
    return found


def test_batched_answers_are_those_of_generate_one_by_one(model, weights):
    answers = greedy(model, PROMPTS, 24, 2, weights=weights)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        assert (answer.token_ids, answer.ended) == alone(model, prompt, 24)


def test_a_row_that_ends_leaves_and_the_others_go_on_unchanged(model, weights, monkeypatch):
    whole = greedy(model, PROMPTS, 12, 2, weights=weights)
    ends = [answer.token_ids[4] for answer in whole[:2]]  # some end in the middle now
    monkeypatch.setattr(model.generation_config, "eos_token_id", ends)
    kept, kind = [], PaddedRows if weights is None else FusedRows
    monkeypatch.setattr(kind, "keep", lambda self, rows, real=kind.keep: kept.append(len(rows)) or real(self, rows))
    cut = greedy(model, PROMPTS, 12, 2, weights=weights)
    for before, after in zip(whole, cut, strict=True):
        places = [place for place, token in enumerate(before.token_ids) if token in ends]
        assert after.ended == bool(places)
        assert after.token_ids == before.token_ids[: places[0] if places else None]
    assert kept and kept[-1] < len(PROMPTS)


def test_the_end_token_is_no_part_of_the_answer_and_the_limit_no_end(model):
    assert all(len(answer.token_ids) <= 3 for answer in greedy(model, PROMPTS, 3, 2))
    assert greedy(model, [], 3, 2) == []


def test_what_is_told_may_end_the_work(model):
    def tell(share):
        if share > 0.2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        greedy(model, PROMPTS, 24, 2, tell)


def test_fused_logits_are_the_models_own_to_rounding(model):
    weights = fused_weights(model)
    with torch.inference_mode():
        pair = PaddedRows(model), FusedRows(weights, 3)
        found = [pair[0].start(PROMPTS, 2), pair[1].start(PaddedRows(model), PROMPTS, 2)]
        assert torch.equal(*found)
        for token in (7, 8, 9):
            found = [rows.extend(torch.full((len(PROMPTS), 1), token)) for rows in pair]
            torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)


ALIKE = [[5, 6, 7, 8, 9, *rest] for rest in ([40], [41, 3, 99], [], [12] * 11)]
"""The third is what all begin with."""


def test_what_all_prompts_begin_with_is_read_once_and_each_gets_what_it_would_alone(model, monkeypatch):
    weights, read = fused_weights(model), []
    real = weights.hidden_states
    monkeypatch.setattr(weights, "hidden_states", lambda ids, parts: read.append(len(ids)) or real(ids, parts))
    with torch.inference_mode():
        pair = PaddedRows(model), FusedRows(weights, 3)
        found = [pair[0].start(ALIKE, 2), pair[1].start(PaddedRows(model), ALIKE, 2)]
        assert read == [4, sum(len(prompt) - 4 for prompt in ALIKE)]
        torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
        for token in (7, 8, 9):
            found = [rows.extend(torch.full((len(ALIKE), 1), token)) for rows in pair]
            torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
    for prompt, answer in zip(ALIKE, greedy(model, ALIKE, 24, 2, weights=weights), strict=True):
        assert (answer.token_ids, answer.ended) == alone(model, prompt, 24)


def test_copies_of_prompts_that_begin_alike_go_on_as_one_would(model):
    weights = fused_weights(model)
    one = greedy(model, ALIKE, 8, 2, weights=weights)
    three = written(model, ALIKE, 8, 2, lambda logits, places: logits.argmax(-1), weights=weights, copies=3)
    assert [answer.token_ids for answer in three] == [answer.token_ids for answer in one for _ in range(3)]
