"""Every task: a run in bf16 on a CPU is judged with its fp32 weights as they are, and learns under autocast all the same."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import LlamaForSequenceClassification

from llmdemo.training import TrainConfig, build_optimizer, objectives, worker
from llmdemo.training.batches import RunData
from llmdemo.training.loop import Loop
from llmdemo.training.objectives import Place, writing
from llmdemo.training.passes import Passes
from tests.training.objectives.test_parts import TASKS, rows_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("task", ["chat", "packed", "dpo", "orpo", "kto", "reward", "classify"])
def test_evaluations_of_a_run_in_bf16_on_a_cpu_are_those_of_its_fp32_weights(llama64, tmp_path, task):
    """Mutation: evaluations under autocast, or a reference under it for what is judged without."""
    found = {}
    for precision in ("fp32", "bf16"):
        config, model = TrainConfig("x", rank=4, batch_size=6, **TASKS[task]).resolved(), llama64().float()
        if config.task in ("classify", "reward"):
            model.config.num_labels, model.config.pad_token_id = (3 if config.task == "classify" else 1), 0
            torch.manual_seed(1)
            headed = LlamaForSequenceClassification(model.config)
            headed.model, model = model.model, headed
        rows, facts = rows_of(config), {"labels": ["a", "b", "c"], "counts": [4, 4, 4], "positive": 0}
        place = Place(model, SimpleNamespace(pad_token_id=0, eos_token_id=2), config, precision, CPU)
        objective = objectives.of(config.task)(place, RunData(rows, rows, [], {}, {}, facts))
        folder, items = tmp_path / precision, np.arange(6)
        folder.mkdir()
        objective.begin(folder, np.arange(12), lambda *_, **__: None, lambda: False)
        passes = Passes(model, objective, build_optimizer(model, config), config, precision, None)
        found[precision] = objective.evaluate()[0], passes(items, 0, 1)[0].item()
    (judged, learned), (judged_bf16, learned_bf16) = found["fp32"], found["bf16"]
    assert judged_bf16 == judged
    assert learned_bf16 != learned and learned_bf16 == pytest.approx(learned, rel=0.05)


@pytest.mark.parametrize("task", ["chat", "grpo"])
def test_answers_of_an_evaluation_are_written_with_fp32_weights_and_drawn_ones_as_the_run_learns(
    task_run, monkeypatch, task
):
    told, plain, evaluates = set(), writing.fresh_weights, Loop.evaluate
    judging = []

    def evaluate(loop):
        judging.append(1)
        evaluates(loop)
        judging.pop()

    def weights(model, precision):
        told.add((bool(judging), precision))
        return plain(model, precision)

    monkeypatch.setattr(Loop, "evaluate", evaluate)
    monkeypatch.setattr(writing, "fresh_weights", weights)
    assert worker.main(task_run(task, max_steps=1, precision="bf16")) == 0
    assert told == {(True, "auto")} | ({(False, "bf16")} if task == "grpo" else set())
