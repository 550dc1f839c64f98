"""The numbers inside a loss, against transformers' own loss and against sums by hand."""

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from llmdemo.data.encode import Encoded
from llmdemo.learn import numbers

SIZES = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "pad_token_id": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()


ROW = Encoded([5, 6, 7, 8, 9, 3], [-100, -100, 7, 8, -100, 3])


def test_the_mean_surprise_is_what_torch_and_transformers_call_the_loss(model):
    found = numbers.tokens(model, ROW, 10)
    ids, labels = torch.tensor([ROW.input_ids]), torch.tensor([ROW.labels])
    theirs = model(input_ids=ids, labels=labels).loss.item()
    assert found["trained"] == 3 and [row["id"] for row in found["rows"]] == [7, 8, 3]
    assert found["loss"] == pytest.approx(theirs, abs=1e-6) and found["cross_entropy"] == pytest.approx(
        theirs, abs=1e-6
    )
    assert found["loss"] == pytest.approx(sum(row["surprise"] for row in found["rows"]) / 3, abs=1e-6)


def test_each_row_goes_from_logit_to_probability_to_surprise(model):
    logits = model(input_ids=torch.tensor([ROW.input_ids])).logits[0]
    for row in numbers.tokens(model, ROW, 10)["rows"]:
        before = logits[row["position"] - 1].double()
        p = math.exp(before[row["id"]].item()) / before.exp().sum().item()
        assert row["logit"] == pytest.approx(before[row["id"]].item(), abs=1e-5)
        assert row["probability"] == pytest.approx(p, abs=1e-6)
        assert row["surprise"] == pytest.approx(-math.log(p), abs=1e-5)
        assert row["best_probability"] >= row["probability"]


def test_only_the_first_rows_are_shown_and_all_count(model):
    found = numbers.tokens(model, ROW, 1)
    assert len(found["rows"]) == 1 and found["trained"] == 3
    assert found["loss"] == numbers.tokens(model, ROW, 10)["loss"]


def test_the_classes_probabilities_sum_to_one():
    torch.manual_seed(1)
    names = {0: "ham", 1: "spam", 2: "other"}
    model = LlamaForSequenceClassification(LlamaConfig(**SIZES, id2label=names)).eval()
    found = numbers.classes(model, [5, 6, 7], "spam")
    assert [row["name"] for row in found["rows"]] == ["ham", "spam", "other"]
    assert sum(row["probability"] for row in found["rows"]) == pytest.approx(1, abs=1e-6)
    assert (
        found["loss"] == pytest.approx(found["rows"][1]["surprise"]) == pytest.approx(found["cross_entropy"], abs=1e-6)
    )


def test_an_answers_log_probability_is_the_sum_over_its_tokens(model):
    found = numbers.tokens(model, ROW, 10)
    assert numbers.answer_log_probability(model, ROW) == pytest.approx(-3 * found["loss"], abs=1e-5)


def test_before_training_the_margin_is_zero_and_the_loss_log_two():
    found = numbers.preference((-10.0, -12.0), (-10.0, -12.0), 0.1)
    assert found["margin"] == 0 and found["loss"] == pytest.approx(math.log(2))


def test_the_margin_is_what_the_answers_gained_on_each_other():
    found = numbers.preference((-8.0, -15.0), (-10.0, -12.0), 0.1)
    assert found["margin"] == pytest.approx(5.0) and found["scaled"] == pytest.approx(0.5)
    assert found["loss"] == pytest.approx(-math.log(1 / (1 + math.exp(-0.5))))
