"""ORPO and SimPO beside TRL's own trainers on the same batch; the losses with a reference are in test_preference.py."""

import copy
import math

import numpy as np
import pytest
import torch

from llmdemo.training import TrainConfig
from llmdemo.training.objectives.preference import REFERENCE_FILE
from llmdemo.training.objectives.preference_losses import Answers, margins, pair_losses
from tests.training.objectives.test_preference import make_objective, make_rows, moved  # noqa: F401


@pytest.fixture(scope="module")
def trl(tmp_path_factory, tiny_tokenizer):
    """trl(policy, rows, orpo or simpo, **options): (loss, metrics) of TRL's ORPOTrainer or CPOTrainer on all these pairs."""
    from datasets import Dataset
    from trl.experimental.cpo import CPOConfig, CPOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    def compute(policy, rows, loss, **options):
        made, trainer_class, more = (ORPOConfig, ORPOTrainer, {}) if loss == "orpo" else (
            CPOConfig, CPOTrainer, {"loss_type": "simpo", "cpo_alpha": 0.0},
        )  # fmt: skip
        arguments = made(
            output_dir=str(tmp_path_factory.mktemp("trl")), report_to=[], use_cpu=True, bf16=False, disable_tqdm=True,
            max_length=512, gradient_checkpointing=False, **more, **options,
        )  # fmt: skip
        dummy = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2)
        trainer = trainer_class(
            copy.deepcopy(policy), args=arguments, train_dataset=dummy, processing_class=tiny_tokenizer
        )
        trainer.model.eval()
        with torch.no_grad():
            value, metrics = trainer.get_batch_loss_metrics(trainer.model, _batch(rows), "eval")
        return value.item(), {name.removeprefix("eval_"): float(each) for name, each in metrics.items()}

    return compute


def _batch(rows):
    batch = {"prompt_input_ids": torch.zeros(len(rows) // 2, 1, dtype=torch.long)}
    width = int(rows.lengths.max())
    for side, first in (("chosen", 0), ("rejected", 1)):
        ids = torch.zeros(len(rows) // 2, width, dtype=torch.long)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for place, index in enumerate(range(first, len(rows), 2)):
            row, wanted = rows.row(index)
            ids[place, : len(row)] = torch.from_numpy(row.astype(np.int64))
            labels[place, : len(row)] = torch.from_numpy(wanted.astype(np.int64))
            mask[place, : len(row)] = 1
        batch |= {f"{side}_input_ids": ids, f"{side}_labels": labels, f"{side}_attention_mask": mask}
    return batch


def rows_with_prompts_of_one_token():
    """TRL's ORPO learns the prompt's tokens as well, the paper's does not: the first token of a row is never predicted."""
    from llmdemo.training.batches import TokenRows

    rows = make_rows()
    answers = [[part[labels != -100].tolist() for part in (ids, labels)] for ids, labels in map(rows.row, range(12))]
    return TokenRows.from_lists([([5, *ids], [-100, *labels]) for ids, labels in answers])


@pytest.mark.parametrize(
    ("ours", "options"),
    [
        ({"preference_loss": "orpo"}, {"beta": 0.1}),
        ({"preference_loss": "orpo", "beta": 0.7}, {"beta": 0.7}),
        ({"preference_loss": "simpo", "beta": 2.0}, {"beta": 2.0, "simpo_gamma": 0.5}),
        ({"preference_loss": "simpo", "beta": 2.5, "simpo_gamma": 1.2}, {"beta": 2.5, "simpo_gamma": 1.2}),
        (
            {"preference_loss": "simpo", "beta": 2.0, "label_smoothing": 0.2},
            {"beta": 2.0, "simpo_gamma": 0.5, "label_smoothing": 0.2},
        ),
    ],
    ids=lambda values: " ".join(map(str, values.values())),
)
def test_loss_margin_and_accuracy_without_a_reference_are_those_of_trl(moved, trl, tmp_path, ours, options):  # noqa: F811
    policy, _ = moved
    rows = rows_with_prompts_of_one_token()
    expected, metrics = trl(policy, rows, ours["preference_loss"], **options)
    objective = make_objective(policy, rows, **ours)(tmp_path)
    loss, figures = objective.loss_sum(np.arange(6))
    assert loss.item() / 6 == pytest.approx(expected, abs=1e-5)
    assert figures["reward_margin"] / 6 == pytest.approx(metrics["rewards/margins"], abs=1e-5)
    assert figures["reward_accuracy"] / 6 == pytest.approx(metrics["rewards/accuracies"], abs=1e-6)
    assert set(figures) == set(objective.figures) == {"reward_margin", "reward_accuracy"}
    assert not list(tmp_path.iterdir()), "no reference is computed or kept"


def test_sums_instead_of_means_over_the_tokens_would_be_seen(moved, trl, tmp_path, monkeypatch):  # noqa: F811
    """Mutation: SimPO without its normalisation by length."""
    policy, _ = moved
    rows = rows_with_prompts_of_one_token()
    expected, _ = trl(policy, rows, "simpo", beta=2.0, simpo_gamma=0.5)
    objective = make_objective(policy, rows, preference_loss="simpo", beta=2.0)(tmp_path)
    monkeypatch.setattr(Answers, "mean", property(lambda self: self.log_probability))
    assert abs(objective.loss_sum(np.arange(6))[0].item() / 6 - expected) > 1e-2


def answers(log_probability: float, tokens: int) -> Answers:
    return Answers(torch.tensor([log_probability]), None, torch.tensor([float(tokens)]))


def test_odds_stay_finite_for_certain_and_for_impossible_answers():
    config = TrainConfig("x", task="preference", preference_loss="orpo")
    for chosen, rejected in ((0.0, -1e4), (-1e4, 0.0), (-1e-9, -1e-9)):
        log_probability = answers(chosen, 1).log_probability.requires_grad_()
        loss = pair_losses(Answers(log_probability, None, torch.ones(1)), answers(rejected, 1), config)
        loss.sum().backward()
        assert math.isfinite(loss.item()) and math.isfinite(log_probability.grad.item())


def test_the_margin_that_simpo_asks_for_is_gamma():
    config = TrainConfig("x", task="preference", preference_loss="simpo", beta=2.0, simpo_gamma=1.0)
    at_margin = pair_losses(answers(-2.0, 2), answers(-4.5, 3), config)  # means −1 and −1.5: β·0.5 = γ
    assert at_margin.item() == pytest.approx(math.log(2))
    assert margins(answers(-2.0, 2), answers(-4.5, 3), config).item() == pytest.approx(1.0)


@pytest.mark.parametrize("loss", ["orpo", "simpo"])
@pytest.mark.slow
def test_a_run_without_a_reference_learns_and_goes_on_bit_for_bit(task_run, ran, loss):
    changes = {"preference_loss": loss, "beta": 2.0 if loss == "simpo" else 0.1, "eval_steps": 4}
    whole = ran(task_run("preference", **changes))
    assert whole.end["state"] == "completed", whole.end
    steps, evals = whole.events("step"), whole.events("eval")
    assert all({"loss", "reward_margin", "reward_accuracy"} <= set(event) and "kl" not in event for event in steps)
    assert evals[-1]["loss"] < evals[0]["loss"] and evals[-1]["reward_margin"] > evals[0]["reward_margin"]
    assert not (whole.run_dir / REFERENCE_FILE).exists()
    run_dir = task_run("preference", **changes)
    assert ran(run_dir, stop=3).end["state"] == "stopped"
    expected, found = whole.weights(), ran(run_dir).weights()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
