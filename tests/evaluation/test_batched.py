"""Many prompts at once give what each gives alone, and likelihoods are transformers' own."""

import pytest
import torch

from llmdemo.data import Encoded
from llmdemo.evaluation.batched import PaddedRows, greedy
from llmdemo.evaluation.likelihood import row_losses

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


def test_batched_answers_are_those_of_generate_one_by_one(model):
    answers = greedy(model, PROMPTS, 24, 2)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        assert (answer.token_ids, answer.ended) == alone(model, prompt, 24)


def test_a_row_that_ends_leaves_and_the_others_go_on_unchanged(model, monkeypatch):
    whole = greedy(model, PROMPTS, 12, 2)
    ends = [answer.token_ids[4] for answer in whole[:2]]  # some end in the middle now
    monkeypatch.setattr(model.generation_config, "eos_token_id", ends)
    kept = []
    monkeypatch.setattr(
        PaddedRows, "keep", lambda self, rows, real=PaddedRows.keep: kept.append(len(rows)) or real(self, rows)
    )
    cut = greedy(model, PROMPTS, 12, 2)
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


def test_losses_are_transformers_own_whatever_else_is_in_the_batch(model):
    rows = [Encoded(ids + [30, 31, 32, 33], [-100] * len(ids) + [30, 31, -100, 33]) for ids in PROMPTS]
    for row, (loss, count) in zip(rows, row_losses(model, rows, 2), strict=True):
        with torch.no_grad():
            own = model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])).loss
        assert count == 3
        assert loss / count == pytest.approx(float(own), rel=1e-5)


def test_a_row_without_labels_counts_nothing(model):
    assert row_losses(model, [Encoded([1, 2, 3], [-100] * 3)], 2) == [(0.0, 0)]
