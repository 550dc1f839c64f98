"""The reward model: its loss beside TRL's RewardTrainer, its figures, and answers that it rewards in a run."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.core.store import read_json, write_json
from llmdemo.data.ingest import add_dataset
from llmdemo.models import catalog
from llmdemo.training import TrainConfig
from llmdemo.training.batches import RunData
from llmdemo.training.objectives import Place
from llmdemo.training.objectives.reward import Reward, RewardModel, figures_of
from tests.conftest import make_tokenizer
from tests.training.conftest import run_maker
from tests.training.objectives.test_preference import make_rows

CPU = torch.device("cpu")


@pytest.fixture
def judge_model():
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.15, pad_token_id=0, num_labels=1,
    )  # fmt: skip
    return LlamaForSequenceClassification(config).eval()


def make_objective(model, rows):
    place = Place(
        model, SimpleNamespace(pad_token_id=0, eos_token_id=None), TrainConfig("x", task="reward"), "fp32", CPU
    )
    return Reward(place, RunData(rows, rows, [], {}))


def test_the_loss_margin_and_accuracy_are_those_of_trl(judge_model, tiny_tokenizer, tmp_path):
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    rows = make_rows()
    arguments = RewardConfig(
        output_dir=str(tmp_path),
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        gradient_checkpointing=False,
    )
    dummy = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2)
    trainer = RewardTrainer(
        copy.deepcopy(judge_model), args=arguments, train_dataset=dummy, processing_class=copy.deepcopy(tiny_tokenizer)
    )
    trainer.model.config.pad_token_id = 0
    width = int(rows.lengths.max())
    ids, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
    for place, index in enumerate([*range(0, len(rows), 2), *range(1, len(rows), 2)]):
        row = rows.row(index)[0]
        ids[place, : len(row)], mask[place, : len(row)] = torch.from_numpy(row.astype(np.int64)), 1
    trainer.model.eval()
    with torch.no_grad():
        expected = trainer.compute_loss(trainer.model, {"input_ids": ids, "attention_mask": mask}).item()
        loss, figures = make_objective(judge_model, rows).loss_sum(np.arange(6))
    metrics = {name: values[-1] for name, values in trainer._metrics["eval"].items()}
    assert loss.item() / 6 == pytest.approx(expected, abs=1e-5)
    assert figures["reward_margin"] / 6 == pytest.approx(metrics["margin"], abs=1e-5)
    assert figures["reward_accuracy"] / 6 == pytest.approx(metrics["accuracy"])


def test_an_evaluation_in_parts_is_that_of_all_pairs(judge_model):
    objective = make_objective(judge_model, make_rows(20))
    with torch.no_grad():
        margins = objective.margins(objective.data.held_out, np.arange(20)).numpy()
    figures, pairs = objective.evaluate()
    assert pairs == 20 and figures["loss"] == pytest.approx(np.log1p(np.exp(-margins)).mean(), abs=1e-6)
    assert figures["reward_accuracy"] == (margins > 0).mean()


def test_calibration_is_the_gap_between_how_sure_the_model_is_and_how_often_it_is_right():
    random = np.random.default_rng(0)
    margins = random.normal(0, 2, 40_000)
    true = np.where(random.random(40_000) < 1 / (1 + np.exp(-np.abs(margins))), np.abs(margins), -np.abs(margins))
    assert figures_of(true)["calibration_error"] < 0.02
    assert figures_of(5 * true)["calibration_error"] > 0.1, "five times too sure"
    assert figures_of(np.array([9.0, -9.0]))["calibration_error"] == pytest.approx(0.5, abs=1e-3)


@pytest.fixture
def trained(home, settings, tiny_model_folder, tmp_path, ran):
    """(the id of a finished reward model that prefers answers with an "x", its run)."""
    pairs = [{"prompt": f"Say {n}.", "chosen": f"x x x {n}", "rejected": f"o o o {n}"} for n in range(40)]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    dataset_id = add_dataset(home, settings, tmp_path / "pairs.json", "pairs").dataset_id
    changes = {"task": "reward", "learning_rate": 5e-3, "max_steps": 30, "eval_steps": 0, "batch_size": 8}
    run = ran(run_maker(home, dataset_id, tiny_model_folder)(**changes))
    assert run.status == 0, run.end
    write_json(run.run_dir / "config.json", {**read_json(run.run_dir / "config.json"), "state": "completed"})
    return str(run.run_dir / "model"), run


@pytest.mark.slow
def test_a_reward_model_learns_which_answers_are_preferred_and_gives_a_run_its_reward(
    trained, home, settings, tiny_model_folder, alpaca_file, ran
):
    model_id, run = trained
    last = run.events("eval")[-1]
    assert last["reward_accuracy"] == 1.0 and last["reward_margin"] > 1 and last["calibration_error"] < 0.4
    entry = catalog.resolve(home, model_id)
    assert (entry.task, entry.writes) == ("reward", False)
    tokenizer = make_tokenizer()
    judge = RewardModel(entry.path, tokenizer, CPU)
    prompt, answers = (
        tokenizer("Say 7.")["input_ids"],
        (tokenizer(text)["input_ids"] for text in ("x x x 7", "o o o 7")),
    )
    preferred, other = judge([prompt + answer for answer in answers])
    assert 0 < other < preferred < 1
    dataset_id = add_dataset(home, settings, alpaca_file, "sums").dataset_id
    changes = {
        "task": "grpo", "reward": "model", "reward_model_id": model_id, "rollouts": 4, "max_new_tokens": 8, "batch_size": 4,
        "gradient_accumulation_steps": 1, "max_steps": 2, "eval_steps": 0, "eval_records": 4, "kl_limit": 0.0,
    }  # fmt: skip
    learned = ran(run_maker(home, dataset_id, tiny_model_folder)(**changes))
    assert learned.status == 0, learned.end
    assert len({answer["reward"] for answer in learned.events("answers")[0]["answers"]}) > 1
    refused = ran(
        run_maker(home, dataset_id, tiny_model_folder)(**{**changes, "reward_model_id": str(tiny_model_folder)})
    )
    assert refused.end["reason"] == "bad_config" and "not a reward model" in refused.end["message"]


def test_a_reward_model_with_another_tokenizer_is_refused(trained):
    other = make_tokenizer(vocab_size=300)
    with pytest.raises(UserError, match="other tokens"):
        RewardModel(trained[1].run_dir / "model", other, CPU)


def test_rows_of_a_pair_are_read_together_or_apart_alike(judge_model):
    rows = make_rows(4)
    objective = make_objective(judge_model, rows)
    with torch.no_grad():
        whole = objective.margins(rows, np.arange(4))
        apart = torch.cat([objective.margins(rows, np.array([item])) for item in range(4)])
    assert torch.allclose(whole, apart, atol=1e-5)
