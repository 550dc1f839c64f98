"""Loss and IFD of records against the paper's formula in float64."""

import numpy as np
import pytest
import torch

from llmdemo.data.encode import encode_chat
from llmdemo.maps.losses import scores
from llmdemo.maps.service import ifd


@pytest.fixture(scope="module")
def model():
    from tests.conftest import make_llama, make_tokenizer

    tokenizer = make_tokenizer()
    return make_llama(len(tokenizer)), tokenizer


def record(asked: str, answer: str) -> dict:
    return {"row": 1, "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}


def mean_loss(llama, ids: list[int], counted: range) -> float:
    """−mean log p of the tokens at the `counted` places, in float64."""
    logits = llama(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return -float(np.mean([logits[place - 1, ids[place]].item() for place in counted]))


def test_ifd_is_the_answers_loss_after_its_question_over_its_loss_alone(model):
    llama, tokenizer = model
    each = record("What is the capital of France?", "The capital is Paris.")
    found = scores(llama, tokenizer, [each, record("Add.", "3")], 128, 2)
    row = encode_chat(each["messages"], tokenizer, 128)
    answer = [label for label in row.labels if label != -100]
    with torch.inference_mode():
        after = mean_loss(llama, row.input_ids, range(*row.spans[0]))
        alone = mean_loss(llama, [tokenizer.bos_token_id, *answer], range(1, len(answer) + 1))
        whole = mean_loss(llama, row.input_ids, range(1, len(row.input_ids)))
    assert found[0, 2] == len(answer)
    assert np.isclose(found[0, 0], after, atol=1e-4) and np.isclose(found[0, 1], alone, atol=1e-4)
    assert np.isclose(ifd(found)[0], after / alone, atol=1e-4)
    assert not np.isclose(ifd(found)[0], np.exp(after) / np.exp(alone), atol=1e-3), (
        "a ratio of losses, not of perplexities"
    )
    assert not np.isclose(found[0, 0], whole, atol=1e-3), "the question's own tokens do not count"


def test_the_answers_alone_are_left_out_where_nobody_asks_for_them(model):
    llama, tokenizer = model
    records = [record("Name a fruit.", "An apple."), record("Add 1 and 2.", "3")]
    whole, less = (scores(llama, tokenizer, records, 128, 2, alone=alone) for alone in (True, False))
    assert np.array_equal(whole[:, [0, 2]], less[:, [0, 2]]) and np.isnan(less[:, 1]).all()


def test_raw_text_has_a_loss_and_no_ifd_and_classes_have_neither(model):
    llama, tokenizer = model
    text = scores(llama, tokenizer, [{"row": 1, "text": "The quick brown fox."}], 64, 2)
    assert np.isfinite(text[0, 0]) and np.isnan(ifd(text)[0])
    assert np.isnan(scores(llama, tokenizer, [{"row": 1, "text": "a", "label": "b"}], 64, 2)).all()


def test_a_preference_counts_with_the_answer_that_was_chosen(model):
    llama, tokenizer = model
    chat = record("Name three fruits", "apples and pears")
    pair = {"row": 1, "messages": chat["messages"][:1], "chosen": "apples and pears", "rejected": "no"}
    assert np.allclose(scores(llama, tokenizer, [pair], 64, 2), scores(llama, tokenizer, [chat], 64, 2))
