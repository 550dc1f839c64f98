"""The cards of a reward model, KTO and learning from a checker: equal to the losses' own functions on what the models say."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from llmdemo.core.errors import UserError
from llmdemo.data import open_records
from llmdemo.data.encode import encode_preference
from llmdemo.learn import Learn, numbers
from llmdemo.models.load import load_tokenizer
from llmdemo.settings.training import TrainConfig
from llmdemo.training.objectives.kto import kto_losses
from llmdemo.training.objectives.policy_losses import advantages
from llmdemo.training.objectives.reward import reward_losses


def ask(bench, info, goal, **settings):
    return Learn(bench.home, bench.runs).numbers({"dataset_id": info.dataset_id, "goal": goal, **settings})


def rows_of(bench, info, found):
    """(chosen row, rejected row) of the record that is shown."""
    record = next(each for each in open_records(bench.home, info.dataset_id) if each["row"] == found["record"])
    return encode_preference(record, load_tokenizer(bench.folder), 512)


@torch.no_grad()
def log_p(model, row) -> float:
    """log p of an answer, token by token, in float64."""
    logs = model(input_ids=torch.tensor([row.input_ids])).logits[0].double().log_softmax(-1)
    return sum(logs[n - 1, label].item() for n, label in enumerate(row.labels) if label != -100)


def test_a_reward_models_numbers_are_its_own_and_the_loss_is_the_runs(bench):
    info = bench.add("preference")
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_pretrained(bench.folder, num_labels=1).eval()
    model.config.id2label, model.config.label2id = {0: "reward"}, {"reward": 0}
    torch.nn.init.normal_(model.score.weight, std=2.0)
    bench.finish(info, model, task="reward")
    found = ask(bench, info, "reward")
    assert found["task"] == "reward" and found["run_id"] == "run-1"
    with torch.no_grad():
        own = [model(input_ids=torch.tensor([row.input_ids])).logits.item() for row in rows_of(bench, info, found)]
    after = found["after"]
    assert [after["rewards"][key] for key in ("chosen", "rejected")] == pytest.approx(own, abs=1e-4)
    assert after["margin"] == pytest.approx(own[0] - own[1], abs=1e-4) and abs(after["margin"]) > 0.1
    assert after["loss"] == pytest.approx(reward_losses(torch.tensor(after["margin"])).item(), abs=1e-6)
    assert after["loss"] == pytest.approx(-math.log(after["probability"]), abs=1e-6)
    assert found["before"]["rewards"] != after["rewards"]


def test_a_run_of_another_task_on_the_same_data_is_no_after(bench, other_model):
    info = bench.add("preference")
    bench.finish(info, other_model)
    assert ask(bench, info, "reward")["after"] is None and ask(bench, info, "kto")["after"] is None
    assert ask(bench, info, "preference")["after"]


def test_kto_counts_each_answer_of_a_pair_against_answers_to_other_prompts(bench, other_model):
    info = bench.add("preference")
    bench.finish(info, other_model, task="kto")
    settings = {"beta": 0.5, "desired_weight": 1.0, "undesired_weight": 2.0}
    found = ask(bench, info, "kto", **settings)
    before, after = found["before"], found["after"]
    assert [row["desired"] for row in before["rows"]] == [True, False]
    assert [row["loss"] for row in before["rows"]] == pytest.approx([0.5, 1.0]), "nothing gained yet: λ/2"
    base = AutoModelForCausalLM.from_pretrained(bench.folder).eval()
    own = [log_p(other_model, row) - log_p(base, row) for row in rows_of(bench, info, found)]
    assert [row["gain"] for row in after["rows"]] == pytest.approx(own, abs=1e-3)
    config = TrainConfig.from_dict({"dataset_id": "x", "task": "kto", **settings})
    gains = torch.tensor([row["gain"] for row in after["rows"]])
    wanted = kto_losses(gains, torch.tensor([True, False]), torch.tensor(after["strayed"]), config)
    assert [row["loss"] for row in after["rows"]] == pytest.approx(wanted.tolist(), abs=1e-6)
    assert after["others"] == 6 and after["strayed"] >= 0 and after["rows"][0]["loss"] != before["rows"][0]["loss"]


def test_single_answers_are_marked_as_the_data_marks_them(bench):
    found = ask(bench, bench.add("chat"), "kto")
    assert [row["desired"] for row in found["before"]["rows"]] == [True] and found["before"]["others"] == 6


def test_drawn_answers_are_rewarded_and_the_trained_model_is_asked_about_the_same_ones(bench, other_model):
    info = bench.add("chat")
    bench.finish(info, other_model, task="grpo")
    settings = {"reward": "length", "reward_tokens": 4, "rollouts": 4, "max_new_tokens": 12}
    found = ask(bench, info, "grpo", **settings)
    before, after = found["before"], found["after"]
    rewards = [row["reward"] for row in before["rows"]]
    assert rewards == [min(1.0, max(0.0, 2 - row["tokens"] / 4)) for row in before["rows"]]
    config = TrainConfig.from_dict({"dataset_id": "x", "task": "grpo", **settings})
    values = advantages(torch.tensor([rewards], dtype=torch.float64), config)[0].tolist()
    assert [row["advantage"] for row in before["rows"]] == pytest.approx(values)
    assert [row["ratio"] for row in before["rows"]] == pytest.approx([1.0] * 4) and before["answers"] == after[
        "answers"
    ]
    assert before["loss"] == pytest.approx(-sum(values) / 4, abs=1e-6), "at first each answer's loss is −A"
    assert all(abs(row["ratio"] - 1) > 1e-3 and row["kl"] > 0 for row in after["rows"])
    assert found["before"]["expected"].isdigit()


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo", "rejection"])
def test_a_policys_loss_is_the_sum_over_its_tokens_by_hand(loss):
    config = TrainConfig.from_dict(
        {"dataset_id": "x", "task": "grpo", "policy_loss": loss, "kl_weight": 0.1, "max_new_tokens": 10}
    )
    torch.manual_seed(2)
    drawn = [-torch.rand(n) for n in (3, 5, 2)]
    now = [each - 0.5 * torch.rand(len(each)) + 0.25 for each in drawn]
    rewards, counts = [1.0, 0.0, 1.0], [True, loss != "rejection", True]
    found = numbers.policy(now, drawn, rewards, counts, config)
    spread = torch.tensor(rewards).std().item() + 1e-4
    total = 0.0
    tokens = sum(len(each) for each, counted in zip(now, counts, strict=True) if counted)
    for new, old, reward, counted in zip(now, drawn, rewards, counts, strict=True):
        a = (reward - 2 / 3) / (1 if loss == "dr_grpo" else spread)
        weight = {"grpo": 1 / (3 * len(new)), "dr_grpo": 1 / (3 * 10)}.get(loss, 1 / tokens)
        for p, q in zip(new.tolist(), old.tolist(), strict=True):
            ratio = math.exp(p - q)
            kl = math.exp(q - p) - (q - p) - 1
            clipped = min(max(ratio, 1 - config.clip_low), 1 + config.clip_high)
            one = -min(ratio * a, clipped * a) + 0.1 * ratio * kl
            total += weight * (-p if loss == "rejection" else one) * counted
    assert found["loss"] == pytest.approx(total, abs=1e-5)
    assert sum(row["loss"] for row in found["rows"]) == pytest.approx(found["loss"])
    assert (found["rows"][0]["advantage"] is None) == (loss == "rejection")


def test_a_reward_that_cannot_be_had_is_a_sentence(bench):
    info = bench.add("chat")
    for settings in ({"reward": "model", "reward_model_id": "run-none"}, {"reward": "regex"}):
        with pytest.raises(UserError) as error:
            ask(bench, info, "grpo", **settings)
        assert error.value.hint
