"""The local judge's scores against the model's own probabilities, one conversation at a time."""

import copy

import pytest
import torch

from llmdemo.data import encode_prompt
from llmdemo.evaluation.judge_local import LocalJudge

TALKS = [[{"role": "user", "content": text}] for text in ("Which?", "Which of the two is the better one, A or B?", "x")]


@pytest.fixture(scope="module")
def pair(tiny_model_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(tiny_model_folder), AutoTokenizer.from_pretrained(tiny_model_folder)


def by_hand(model, tokenizer, talk, beginning):
    """Mean of 1 … 5 under the model after `beginning`, and the likeliest digit."""
    ids = [
        encode_prompt(talk, tokenizer) + tokenizer(beginning + d, add_special_tokens=False)["input_ids"]
        for d in "12345"
    ]
    with torch.no_grad():
        logits = model(torch.tensor([ids[0][:-1]])).logits[0, -1]
    shares = logits[[each[-1] for each in ids]].softmax(-1)
    return float(shares @ torch.arange(1.0, 6.0)), int(shares.argmax()) + 1


def test_scores_are_the_models_own_means_whatever_else_is_in_the_batch(pair):
    model, tokenizer = pair
    for talk, scores in zip(TALKS, LocalJudge(model, tokenizer, 256).scores(TALKS), strict=True):
        first, digit = by_hand(model, tokenizer, talk, "[RESULT] A: ")
        second, _ = by_hand(model, tokenizer, talk, f"[RESULT] A: {digit}, B: ")
        assert scores == (pytest.approx(first, abs=1e-4), pytest.approx(second, abs=1e-4))


def test_what_does_not_fit_is_not_scored(pair):
    scores = LocalJudge(*pair, 40).scores([TALKS[2], [{"role": "user", "content": "word " * 60}]])
    assert scores[0] is not None and scores[1] is None


def test_a_template_that_refuses_a_system_turn_gets_it_from_the_user(pair):
    model, tokenizer = pair[0], copy.deepcopy(pair[1])
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    tokenizer.chat_template = refuses + tokenizer.chat_template
    judge = LocalJudge(model, tokenizer, 256)
    apart = [{"role": "system", "content": "Be fair."}, {"role": "user", "content": "Which?"}]
    joined = [{"role": "user", "content": "Be fair.\n\nWhich?"}]
    assert judge.scores([apart]) == judge.scores([joined])
    assert judge.scores([apart]) != LocalJudge(*pair, 256).scores([apart])  # who takes one is given one
