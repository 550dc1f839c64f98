"""KTO beside TRL's KTOTrainer on the same answers, and which answers it learns from."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llmdemo.core.store import read_json
from llmdemo.data.ingest import add_dataset
from llmdemo.training import TrainConfig
from llmdemo.training.batches import RunData, TokenRows
from llmdemo.training.objectives import Place
from llmdemo.training.objectives.kto import Kto, items_of, kto_losses, matched
from tests.conftest import make_llama
from tests.training.conftest import run_maker

CPU = torch.device("cpu")
MARKS = [1, 0, 1, 1, 0]


def make_rows():
    """Five answers, each row followed by its prompt with the next one's answer."""
    random = np.random.default_rng(0)
    pairs = [[random.integers(3, 380, count).tolist() for count in random.integers(2, 9, 2)] for _ in MARKS]
    rows = []
    for place, (prompt, answer) in enumerate(pairs):
        other = pairs[(place + 1) % len(pairs)][1]
        rows += [(prompt + each, [-100] * len(prompt) + each) for each in (answer, other)]
    return TokenRows.from_lists(rows, [mark for mark in MARKS for _ in range(2)])


def make_objective(tmp_path, **changes):
    """(objective of a moved policy, that policy, the model that it started from)."""
    start = make_llama(384).eval()
    policy = copy.deepcopy(start)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    config, rows = TrainConfig("x", task="kto", batch_size=2, **changes), make_rows()
    data, tokenizer = RunData(rows, rows, [], {}), SimpleNamespace(pad_token_id=0, eos_token_id=None)
    for model in (start, policy):
        objective = Kto(Place(model, tokenizer, config, "fp32", CPU), data)
        objective.begin(tmp_path, np.arange(len(MARKS)), lambda *_, **__: None, lambda: False)
    return objective, policy, start


@pytest.fixture(scope="module")
def trl_loss(tmp_path_factory, tiny_tokenizer):
    """trl_loss(policy, start, rows, **options): the loss of TRL's KTOTrainer on all these answers."""
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    def compute(policy, start, rows, **options):
        arguments = KTOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")), report_to=[], use_cpu=True, bf16=False, disable_tqdm=True,
            gradient_checkpointing=False, per_device_train_batch_size=2, **options,
        )  # fmt: skip
        dummy = Dataset.from_list([{"prompt": f"a{n}", "completion": "b", "label": bool(n)} for n in range(2)])
        trainer = KTOTrainer(
            copy.deepcopy(policy),
            copy.deepcopy(start),
            args=arguments,
            train_dataset=dummy,
            processing_class=tiny_tokenizer,
        )
        width, inputs = int(rows.lengths.max()), {"label": torch.tensor(MARKS, dtype=torch.bool)}
        for prefix, first in (("", 0), ("KL_", 1)):
            ids, mask, completion = (torch.zeros(len(MARKS), width, dtype=torch.long) for _ in range(3))
            for place, index in enumerate(range(first, len(rows), 2)):
                row, labels = (torch.from_numpy(each.astype(np.int64)) for each in rows.row(index))
                ids[place, : len(row)], mask[place, : len(row)] = row, 1
                completion[place, : len(row)] = (labels != -100).long()
            inputs |= {
                f"{prefix}input_ids": ids,
                f"{prefix}attention_mask": mask,
                f"{prefix}completion_mask": completion,
            }
        trainer.model.eval()
        trainer.ref_model.eval()
        with torch.no_grad():
            return trainer._compute_loss(trainer.model, inputs, False).item()

    return compute


@pytest.mark.parametrize(
    "options", [{}, {"beta": 0.5}, {"desired_weight": 0.7, "undesired_weight": 1.3}], ids=["plain", "beta", "weights"]
)
def test_the_loss_is_that_of_trl(trl_loss, tmp_path, options):
    objective, policy, start = make_objective(tmp_path, **options)
    names = {"desired_weight": "desirable_weight", "undesired_weight": "undesirable_weight"}
    expected = trl_loss(policy, start, objective.data.train, **{names.get(key, key): v for key, v in options.items()})
    with torch.no_grad():
        found, figures = objective.loss_sum(np.arange(len(MARKS)))
    assert found.item() / len(MARKS) == pytest.approx(expected, abs=1e-5)
    assert 0 <= figures["reward_accuracy"] <= len(MARKS)
    evaluated, count = objective.evaluate()
    assert count == len(MARKS) and evaluated["loss"] == pytest.approx(expected, abs=1e-5)


def test_an_answer_is_worth_more_as_it_is_likelier_and_an_undesired_one_less():
    config, zero = TrainConfig("x", task="kto"), torch.tensor(0.0)
    desired, gains = torch.tensor([True, False]), torch.tensor([3.0, 3.0])
    at_start = kto_losses(torch.zeros(2), desired, zero, config)
    assert (at_start == 0.5).all()
    better, worse = kto_losses(gains, desired, zero, config)
    assert better < 0.5 < worse
    assert kto_losses(gains, desired, torch.tensor(3.0), config).tolist() == [0.5, 0.5], "gains count beside the KL"


def test_the_kl_is_measured_on_answers_to_other_prompts_also_of_pairs():
    """The next item of a pair's chosen answer is the rejected answer to the same prompt."""

    class Pairs(list):
        task = "preference"

    def pairs_of(prompts):
        records = [{"messages": [p], "chosen": f"{p}{n}+", "rejected": f"{p}{n}-"} for n, p in enumerate(prompts)]
        items = items_of(Pairs(records), np.arange(len(records)))
        return [(item["chosen"], item["rejected"]) for item in matched(items)]

    assert all(own[0] != other[0] for own, other in pairs_of("abc")) and len(pairs_of("abc")) == 6
    assert all(own != other for own, other in pairs_of("aa")), "with one prompt only, another answer to it"


@pytest.fixture
def thumbs(home, settings, tmp_path):
    rows = [
        {
            "prompt": f"Add {n} and {n}.",
            "completion": f"The sum is {2 * n}." if n % 3 else f"No idea {n}.",
            "label": bool(n % 3),
        }
        for n in range(30)
    ]
    (tmp_path / "thumbs.json").write_text(json.dumps(rows))
    return add_dataset(home, settings, tmp_path / "thumbs.json", "thumbs")


def test_single_verdicts_are_learned_from_and_instruction_tuning_sees_the_desired_alone(
    thumbs, home, tiny_model_folder, ran
):
    assert (thumbs.task, thumbs.kept, thumbs.counts) == ("chat", 20, {"undesired": 10})
    make = run_maker(home, thumbs.dataset_id, tiny_model_folder)
    run = ran(make(task="kto", max_steps=2, eval_steps=0, eval_records=8))
    assert run.status == 0, run.end
    about = read_json(run.run_dir / "data.json")
    card = about["facts"]["card"]
    assert card["desired answers"] + card["undesired answers"] == 27 and card["undesired answers"] > 5
    assert run.events("step")[0]["kl"] == 0 and run.events("step")[0]["loss"] == pytest.approx(0.5)
    chat = ran(make(task="chat", max_steps=1, eval_steps=0))
    assert read_json(chat.run_dir / "data.json")["about"]["train_records"] == 18


def test_data_without_an_undesired_answer_is_refused(home, settings, alpaca_file, tiny_model_folder, ran):
    dataset_id = add_dataset(home, settings, alpaca_file, "sums").dataset_id
    run = ran(run_maker(home, dataset_id, tiny_model_folder)(task="kto", max_steps=1))
    assert run.end["reason"] == "bad_config" and "marked alike" in run.end["message"]
