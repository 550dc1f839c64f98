"""The numbers inside a loss, against transformers' own loss and against sums by hand."""

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from llmdemo.data.encode import Encoded
from llmdemo.learn import numbers
from llmdemo.settings.training import TrainConfig

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


def many_classes(label, **probabilities):
    names = [f"class {n:02}" for n in range(40)]
    rows = [{"name": name, "probability": probabilities.get(name.replace(" ", "_"), 0.001)} for name in names]
    return {"rows": rows, "label": label, "loss": 1.0}


def test_of_many_classes_the_right_one_and_the_likeliest_of_the_newer_model_are_shown():
    before = many_classes("class 30", class_39=0.9)
    after = many_classes("class 30", class_35=0.5, class_20=0.4)
    for shown in numbers.likeliest(before, after, 3):
        assert [row["name"] for row in shown["rows"]] == ["class 20", "class 30", "class 35"]
        assert shown["classes"] == 40 and shown["loss"] == 1.0
    first, none = numbers.likeliest(before, None, 2)
    assert [row["name"] for row in first["rows"]] == ["class 30", "class 39"] and none is None
    assert len(numbers.likeliest(before, None, 100)[0]["rows"]) == 40


def told(policy, reference, lengths=(4, 6), **changes):
    return numbers.preference(
        policy, reference, lengths, TrainConfig("x", task="preference", **{"beta": 0.1, **changes})
    )


def test_before_training_the_margin_is_zero_and_the_loss_log_two():
    found = told((-10.0, -12.0), (-10.0, -12.0))
    assert found["margin"] == 0 and found["loss"] == pytest.approx(math.log(2)) and found["target"] is None


def test_the_margin_is_what_the_answers_gained_on_each_other():
    found = told((-8.0, -15.0), (-10.0, -12.0))
    assert found["margin"] == pytest.approx(5.0) and found["scaled"] == pytest.approx(0.5)
    assert found["loss"] == pytest.approx(-math.log(1 / (1 + math.exp(-0.5))))


def test_ipo_counts_the_gain_a_token_and_aims_at_a_margin():
    found = told((-8.0, -15.0), (-10.0, -12.0), preference_loss="ipo", beta=0.5)
    assert found["margin"] == pytest.approx(2 / 4 + 3 / 6) and found["target"] == 1.0
    assert found["loss"] == pytest.approx(0, abs=1e-12)
    at_first = told((-10.0, -12.0), (-10.0, -12.0), preference_loss="ipo", beta=0.5)
    assert at_first["loss"] == pytest.approx(1.0)


def test_without_a_reference_the_log_probabilities_a_token_are_compared():
    found = told((-8.0, -15.0), (-10.0, -12.0), preference_loss="simpo", beta=2.0, simpo_gamma=1.0)
    assert not found["refers"] and found["margin"] == pytest.approx(-2 + 2.5) and found["target"] == 0.5
    assert found["loss"] == pytest.approx(math.log(2))
    odds = [p / (1 - p) for p in (math.exp(-2), math.exp(-2.5))]
    by_hand = 2 + 0.1 * math.log(1 + odds[1] / odds[0])
    assert told((-8.0, -15.0), (0.0, 0.0), preference_loss="orpo")["loss"] == pytest.approx(by_hand)


@pytest.mark.parametrize("loss", ["dpo", "robust"])
def test_wrong_pairs_are_counted_as_the_run_counts_them(loss):
    right, wrong = math.log(1 + math.exp(-0.5)), math.log(1 + math.exp(0.5))
    by_hand = {"dpo": 0.8 * right + 0.2 * wrong, "robust": (0.8 * right - 0.2 * wrong) / 0.6}
    found = told((-8.0, -15.0), (-10.0, -12.0), preference_loss=loss, label_smoothing=0.2)
    assert found["loss"] == pytest.approx(by_hand[loss])
