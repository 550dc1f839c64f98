"""The preference losses, beside TRL's own trainer on the same batch."""

import copy
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.data.ingest import add_dataset
from llmdemo.training import TrainConfig
from llmdemo.training.batches import RunData, TokenRows
from llmdemo.training.objectives import Place
from llmdemo.training.objectives.preference import REFERENCE_FILE, Preference
from llmdemo.training.objectives.preference_losses import pair_losses
from tests.conftest import own_model

CPU = torch.device("cpu")


def make_rows(pairs=6, seed=0, vocabulary=64):
    """Answers of unlike lengths behind prompts of unlike lengths."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(pairs):
        prompt = random.integers(3, vocabulary, random.integers(3, 8)).tolist()
        for _ in ("chosen", "rejected"):
            answer = random.integers(3, vocabulary, random.integers(2, 12)).tolist()
            rows.append((prompt + answer, [-100] * len(prompt) + answer))
    return TokenRows.from_lists(rows)


def make_objective(model, rows, start=None, held_out=None, **changes):
    """The objective with reference log-probabilities of `start`, as `begin` computes them."""
    config = TrainConfig("x", task="preference", batch_size=3, **changes)
    data = RunData(rows, TokenRows.from_lists([]) if held_out is None else held_out, [], {})
    tokenizer = SimpleNamespace(pad_token_id=0, eos_token_id=None)
    objective = Preference(Place(model, tokenizer, config, "fp32", CPU), data)
    before = Preference(Place(start if start is not None else model, tokenizer, config, "fp32", CPU), data)

    def begin(folder):
        items = np.arange(len(rows) // 2)
        assert before.begin(folder, items, lambda *args, **fields: None, lambda: False)
        assert objective.begin(folder, items, lambda *args, **fields: None, lambda: False)
        return objective

    return begin


@pytest.fixture
def moved(llama64):
    """(a float32 policy, the model that it started from)."""
    start = llama64().float().eval()
    policy = copy.deepcopy(start)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return policy, start


@pytest.fixture(scope="module")
def trl_loss(tmp_path_factory, tiny_tokenizer):
    """trl_loss(policy, start, rows, loss, **options): the loss and metrics of TRL's DPOTrainer on all these pairs."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    def compute(policy, start, rows, loss, beta=0.1, label_smoothing=0.0):
        arguments = DPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")), report_to=[], use_cpu=True, bf16=False, loss_type=[loss],
            beta=beta, label_smoothing=label_smoothing, max_length=None, disable_tqdm=True, gradient_checkpointing=False,
        )  # fmt: skip
        dummy = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2)
        trainer = DPOTrainer(
            copy.deepcopy(policy), copy.deepcopy(start), args=arguments, train_dataset=dummy,
            processing_class=tiny_tokenizer,
        )  # fmt: skip
        order = [*range(0, len(rows), 2), *range(1, len(rows), 2)]
        width = int(rows.lengths.max())
        inputs = {
            key: torch.zeros((len(rows), width), dtype=torch.long)
            for key in ("input_ids", "attention_mask", "completion_mask")
        }
        for place, index in enumerate(order):
            ids, labels = rows.row(index)
            inputs["input_ids"][place, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
            inputs["attention_mask"][place, : len(ids)] = 1
            inputs["completion_mask"][place, : len(ids)] = torch.from_numpy((labels != -100).astype(np.int64))
        trainer.model.eval()
        with torch.no_grad():
            value = trainer.compute_loss(trainer.model, inputs).item()
        metrics = {name: values[-1] for name, values in trainer._metrics["eval"].items()}
        return value, metrics

    return compute


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"preference_loss": "dpo"}, {"loss": "sigmoid"}),
        ({"preference_loss": "dpo", "beta": 0.5}, {"loss": "sigmoid", "beta": 0.5}),
        ({"preference_loss": "ipo", "beta": 0.3}, {"loss": "ipo", "beta": 0.3}),
        ({"preference_loss": "robust", "label_smoothing": 0.2}, {"loss": "robust", "label_smoothing": 0.2}),
    ],
    ids=lambda values: " ".join(map(str, values.values())),
)
def test_loss_margin_and_accuracy_are_those_of_trl(moved, trl_loss, tmp_path, ours, theirs):
    policy, start = moved
    rows = make_rows()
    expected, metrics = trl_loss(policy, start, rows, **theirs)
    loss, figures = make_objective(policy, rows, start, **ours)(tmp_path).loss_sum(np.arange(6))
    assert loss.item() / 6 == pytest.approx(expected, abs=1e-5)
    assert figures["reward_margin"] / 6 == pytest.approx(metrics["rewards/margins"], abs=1e-5)
    assert figures["reward_accuracy"] / 6 == pytest.approx(metrics["rewards/accuracies"], abs=1e-6)


def test_label_smoothing_weighs_trls_loss_of_the_pairs_as_they_are_and_turned_round(moved, trl_loss, tmp_path):
    policy, start = moved
    rows = make_rows()
    turned = TokenRows.from_lists([tuple(part.tolist() for part in rows.row(index ^ 1)) for index in range(12)])
    right, wrong = (trl_loss(policy, start, each, "sigmoid")[0] for each in (rows, turned))
    loss, _ = make_objective(policy, rows, start, label_smoothing=0.3)(tmp_path).loss_sum(np.arange(6))
    assert loss.item() / 6 == pytest.approx(0.7 * right + 0.3 * wrong, abs=1e-5)


def test_log_probabilities_averaged_over_tokens_would_be_seen(moved, trl_loss, tmp_path, monkeypatch):
    """Mutation: the length-averaged DPO that some trainers compute."""
    policy, start = moved
    rows = make_rows()
    expected, _ = trl_loss(policy, start, rows, "sigmoid")
    objective = make_objective(policy, rows, start)(tmp_path)
    monkeypatch.setattr(
        "llmdemo.training.objectives.preference.pair_losses",
        lambda *sides: pair_losses(*(each._replace(gain=each.gain / each.tokens) for each in sides[:2]), sides[2]),
    )
    assert abs(objective.loss_sum(np.arange(6))[0].item() / 6 - expected) > 1e-3


def test_the_gradient_is_that_of_finite_differences(moved, tmp_path):
    policy, start = (model.double() for model in moved)
    rows = make_rows(2)
    objective = make_objective(policy, rows, start)(tmp_path)
    objective.loss_sum(np.arange(2))[0].backward()
    weight = policy.model.layers[0].self_attn.v_proj.weight
    for place in ((0, 0), (5, 9)):
        with torch.no_grad():
            kept, values = weight[place].item(), []
            for step in (1e-2, -1e-2):
                weight[place] = kept + step
                values.append(objective.loss_sum(np.arange(2))[0].item())
            weight[place] = kept
        assert weight.grad[place].item() == pytest.approx((values[0] - values[1]) / 2e-2, rel=2e-2, abs=1e-4)


def test_the_step_sums_are_the_same_however_the_pairs_are_dealt(moved, tmp_path):
    policy, start = moved
    objective = make_objective(policy, make_rows(), start)(tmp_path)
    whole, figures = objective.loss_sum(np.arange(6))
    parts = [objective.loss_sum(np.array(part)) for part in ([4, 0], [1], [5, 2, 3])]
    assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole.item(), abs=1e-4)
    for name in Preference.figures:
        assert sum(part[name] for _, part in parts) == pytest.approx(figures[name], abs=1e-4)


def test_before_the_first_step_nothing_is_preferred(llama64, tmp_path):
    objective = make_objective(llama64().float(), make_rows())(tmp_path)
    loss, figures = objective.loss_sum(np.arange(6))
    assert loss.item() / 6 == pytest.approx(math.log(2), abs=1e-5)
    assert abs(figures["kl"]) < 1e-6 and abs(figures["reward_margin"]) < 1e-4


def test_kl_is_never_below_zero_and_grows_with_the_distance(moved, tmp_path):
    policy, start = moved
    near = make_objective(policy, make_rows(), start)(tmp_path).loss_sum(np.arange(6))[1]["kl"]
    with torch.no_grad():
        for parameter, other in zip(policy.parameters(), start.parameters(), strict=True):
            parameter.add_(parameter - other)
    far = make_objective(policy, make_rows(), start)(tmp_path).loss_sum(np.arange(6))[1]["kl"]
    assert 0 < near < far


def test_kl_is_half_the_squared_log_ratio_of_the_chosen_answers_tokens(moved, tmp_path):
    policy, start = moved
    rows = make_rows()
    figures = make_objective(policy, rows, start)(tmp_path).loss_sum(np.arange(6))[1]

    def log_probabilities(model, index):
        ids, labels = (torch.from_numpy(part.astype(np.int64)) for part in rows.row(index))
        with torch.no_grad():
            logs = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)
        trained = labels[1:] != -100
        return logs[trained, ids[1:][trained]]

    chosen = range(0, 12, 2)
    expected = [((log_probabilities(policy, i) - log_probabilities(start, i)) ** 2 / 2).mean().item() for i in chosen]
    assert figures["kl"] == pytest.approx(sum(expected), rel=1e-4)


def test_an_answer_that_fell_far_leaves_every_figure_finite_and_kl_as_it_was(moved, tmp_path):
    policy, start = moved
    objective = make_objective(policy, make_rows(), start)(tmp_path)
    before = objective.loss_sum(np.arange(6))[1]["kl"]
    starts = objective._starts["train"]
    reference = objective._reference["train"] = objective._reference["train"].copy()
    reference[starts[1] : starts[2]] += 200  # the rejected answer of the first pair: 200 nats a token, e**200 overflows
    loss, figures = objective.loss_sum(np.arange(6))
    assert math.isfinite(loss.item()) and all(math.isfinite(value) for value in figures.values())
    assert figures["kl"] == pytest.approx(before)
    reference[starts[0] : starts[1]] += 200
    assert math.isfinite(objective.loss_sum(np.arange(6))[1]["kl"])


def test_evaluation_gives_the_means_over_the_held_out_pairs(moved, tmp_path):
    policy, start = moved
    rows = make_rows(5, seed=3)
    objective = make_objective(policy, make_rows(), start, held_out=rows)(tmp_path)
    figures, count = objective.evaluate()
    assert count == 5 and set(figures) == {"loss", "reward_margin", "reward_accuracy", "kl"}
    (tmp_path / "other").mkdir()
    loss, sums = make_objective(policy, rows, start)(tmp_path / "other").loss_sum(np.arange(5))
    assert figures["loss"] == pytest.approx(loss.item() / 5, abs=1e-5)
    assert figures["reward_margin"] == pytest.approx(sums["reward_margin"] / 5, abs=1e-5)


def test_the_reference_is_computed_once_and_kept(moved, tmp_path):
    policy, start = moved
    rows = make_rows()
    make_objective(policy, rows, start)(tmp_path)
    kept = (tmp_path / REFERENCE_FILE).read_bytes()
    with torch.no_grad():
        for parameter in start.parameters():
            parameter.zero_()
    make_objective(policy, rows, start)(tmp_path)
    assert (tmp_path / REFERENCE_FILE).read_bytes() == kept


def test_a_reference_of_other_data_is_refused(moved, tmp_path):
    make_objective(moved[0], make_rows(), moved[1])(tmp_path)
    with pytest.raises(UserError, match="does not fit"):
        make_objective(moved[0], make_rows(7), moved[1])(tmp_path)


def test_a_stop_while_the_reference_is_computed_leaves_no_half_of_it(moved, tmp_path):
    objective = Preference(
        Place(
            moved[0],
            SimpleNamespace(pad_token_id=0, eos_token_id=None),
            TrainConfig("x", task="preference"),
            "fp32",
            CPU,
        ),
        RunData(make_rows(), TokenRows.from_lists([]), [], {}),
    )
    assert not objective.begin(tmp_path, np.arange(6), lambda *args, **fields: None, lambda: True)
    assert not list(tmp_path.iterdir())


def test_a_run_reports_margin_accuracy_and_kl_at_each_step(task_run, ran):
    run = ran(task_run("preference"))
    assert run.end["state"] == "completed", run.end
    steps, evals = run.events("step"), run.events("eval")
    assert [event["step"] for event in evals] == [0, 4, 8]
    assert all({"loss", "reward_margin", "reward_accuracy", "kl"} <= set(event) for event in (*steps, *evals))
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert steps[-1]["reward_margin"] > steps[0]["reward_margin"] and evals[-1]["loss"] < evals[0]["loss"]
    assert (run.run_dir / REFERENCE_FILE).is_file()
    card = (run.run_dir / "model" / "README.md").read_text()
    assert "held-out reward margin after" in card and "| pairs |" in card
    assert run.events("sample")[0]["expected"].startswith("The sum is")


def test_lora_starts_from_its_own_reference(task_run, ran):
    run = ran(task_run("preference", method="lora"))
    assert run.events("step")[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)


def test_pairs_that_are_alike_within_the_length_are_left_out_with_a_sentence(home, settings, tmp_path, task_run, ran):
    rows = [{"prompt": f"Add {n}.", "chosen": "x " * 200 + str(n), "rejected": "x " * 200 + "no"} for n in range(3)]
    rows += [{"prompt": f"Say {n}.", "chosen": f"{n}!", "rejected": "no"} for n in range(12)]
    (tmp_path / "long.json").write_text(json.dumps(rows))
    info = add_dataset(home, settings, tmp_path / "long.json", "long")
    run = ran(task_run("preference", dataset_id=info.dataset_id, max_length=48, max_steps=1))
    assert run.end["state"] == "completed", run.end
    assert (
        "3 pairs left out (rows 1, 2, 3): within 48 tokens the two answers are alike"
        in run.events("note")[0]["message"]
    )


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"prompt": "Add 1.", "chosen": "2", "rejected": "2 "}, "same_answers"),
        ({"prompt": "", "chosen": "2", "rejected": "3"}, "empty_instruction"),
        ({"prompt": "Add 1.", "chosen": "2", "rejected": ""}, "empty_response"),
    ],
)
def test_a_pair_that_teaches_nothing_is_refused_with_a_sentence(home, settings, tmp_path, row, code):
    good = [{"prompt": f"Add {n}.", "chosen": str(n), "rejected": "no"} for n in range(3)]
    (tmp_path / "pairs.json").write_text(json.dumps([*good, row]))
    info = add_dataset(home, settings, tmp_path / "pairs.json", "pairs")
    assert info.task == "preference" and info.kept == 3
    assert [(problem["row"], problem["code"]) for problem in info.problems] == [(4, code)]


def test_a_file_of_pairs_without_prompts_is_refused(home, settings, tmp_path):
    (tmp_path / "pairs.json").write_text(json.dumps([{"chosen": "yes", "rejected": "no"}] * 3))
    with pytest.raises(UserError, match="None of the 3 rows is a valid record"):
        add_dataset(home, settings, tmp_path / "pairs.json", "pairs")


@pytest.mark.slow
def test_a_run_on_a_model_with_capped_logits_begins_at_log_two(home, settings, tiny_tokenizer, task_files, tmp_path):
    """Gemma-2 caps its logits after the output embedding, so that the short loss is wrong for the reference as well."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    from llmdemo.core.events import read_events
    from llmdemo.training import worker
    from tests.training.conftest import run_maker

    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "head_dim": 8,
    }
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=len(tiny_tokenizer),
        num_key_value_heads=2,
        initializer_range=0.6,
        final_logit_softcapping=3.0,
        **sizes,
    )
    Gemma2ForCausalLM(config).save_pretrained(tmp_path / "gemma")
    tiny_tokenizer.save_pretrained(tmp_path / "gemma")
    own_model(tmp_path / "gemma")
    dataset = add_dataset(home, settings, task_files["preference"], "pairs")
    run_dir = run_maker(home, dataset.dataset_id, tmp_path / "gemma")(task="preference", max_steps=1, eval_steps=0)
    assert worker.main(run_dir) == 0
    (step,) = [event for event in read_events(run_dir / "events.jsonl")[0] if event["type"] == "step"]
    assert step["loss"] == pytest.approx(math.log(2), abs=1e-5) and step["kl"] < 1e-8
