"""Every task: a micro-batch that is computed in parts has the loss, the gradient and the figures of one pass, in less room."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import LlamaForSequenceClassification

from llmdemo.training import TrainConfig, build_optimizer, objectives
from llmdemo.training.batches import NOT_TRAINED, RunData, TokenRows
from llmdemo.training.loop import Loop
from llmdemo.training.memory_estimate import Batch
from llmdemo.training.objectives import Place
from llmdemo.training.packing import pack
from llmdemo.training.passes import Passes

CPU = torch.device("cpu")
BOUND = 48
"""Tokens of a part here; the longest record alone has more."""
TASKS = {
    "chat": {"task": "chat"},
    "packed": {"task": "text", "packing": True},
    "dpo": {"task": "preference"},
    "orpo": {"task": "preference", "preference_loss": "orpo"},
    "kto": {"task": "kto", "desired_weight": 1.3},
    "reward": {"task": "reward"},
    "classify": {"task": "classify", "class_weights": "balanced"},
    "some sure": {"task": "classify", "least_loss": 0.7},
    "all sure": {"task": "classify", "least_loss": 50.0},
}


def rows_of(config: TrainConfig) -> TokenRows:
    """Twelve records or pairs of unlike lengths."""
    random = np.random.default_rng(5)
    pairs = config.task in ("preference", "reward", "kto")
    rows = []
    for number in range(24 if pairs else 12):
        ids = random.integers(3, 64, 56 if number == 8 else 5 + 3 * (number % 5))
        rows.append((ids, np.where(np.arange(len(ids)) < len(ids) // 3, NOT_TRAINED, ids)))
    if config.packing:
        return pack([row for row in rows if len(row[0]) < 20] * 4, 24)
    marks = {"classify": [n % 3 for n in range(12)], "kto": [(n // 2) % 3 > 0 for n in range(24)]}.get(config.task)
    return TokenRows.from_lists(rows, marks)


@pytest.fixture
def make(llama64, tmp_path, monkeypatch):
    """(passes, objective, optimizer, tokens of each forward pass) of a task in float64; bound: pass_tokens."""

    def made(bound, **changes):
        monkeypatch.setattr(TrainConfig, "pass_tokens", bound)
        config = TrainConfig("x", rank=4, batch_size=6, gradient_accumulation_steps=2, stagger=False, **changes)
        config, model = config.resolved(), llama64()
        if config.task in ("classify", "reward"):
            model.config.num_labels, model.config.pad_token_id = (3 if config.task == "classify" else 1), 0
            torch.manual_seed(1)
            headed = LlamaForSequenceClassification(model.config).double()
            headed.model, model = model.model, headed
            torch.nn.init.normal_(model.score.weight, std=0.3)
        optimizer, rows = build_optimizer(model, config), rows_of(config)
        facts = {"labels": ["a", "b", "c"], "counts": [4, 4, 4], "positive": 0}
        place = Place(model, SimpleNamespace(pad_token_id=0, eos_token_id=2), config, "fp32", CPU)
        objective = objectives.of(config.task)(place, RunData(rows, rows, [], {}, {}, facts))
        sizes = []
        model.model.register_forward_pre_hook(
            lambda module, args, kwargs: sizes.append([*args, kwargs.get("input_ids")][0].numel()), with_kwargs=True
        )
        objective.begin(tmp_path, np.arange(12), lambda *_, **__: None, lambda: False)
        for values in getattr(objective, "_reference", {}).values():  # a policy that has moved from its reference
            values -= np.linspace(0.0, 1.0, len(values), dtype=np.float32)
        return Passes(model, objective, optimizer, config, "fp32", None), objective, optimizer, sizes

    return made


def step_of(made):
    passes, objective, optimizer, sizes = made
    items = np.arange(len(objective.lengths))
    loss, figures = passes(items[np.argsort(-objective.lengths, kind="stable")], 0, 1)
    return loss.item(), figures, [each.clone() for each in optimizer.gradients()], objective.evaluate()[0], len(sizes)


@pytest.mark.parametrize("task", TASKS)
def test_a_step_in_parts_is_that_of_one_pass(make, task):
    whole = make(None, **TASKS[task])
    loss, figures, gradients, evaluated, passes = step_of(whole)
    assert max(whole[3]) > 2 * BOUND
    in_parts = make(BOUND, **TASKS[task])
    found = step_of(in_parts)
    assert found[0] == pytest.approx(loss, rel=1e-6) and found[4] > passes
    assert found[1] == pytest.approx(figures, rel=1e-6)
    assert found[3] == pytest.approx(evaluated, rel=1e-6)
    assert len(found[2]) == len(gradients)
    for own, one in zip(found[2], gradients, strict=True):
        torch.testing.assert_close(own, one, rtol=1e-5, atol=1e-7)
    objective = in_parts[1]
    record = int(objective.lengths.max()) * (2 if task in ("dpo", "orpo", "reward", "kto") else 1)  # kto judges two
    assert max(in_parts[3]) <= max(BOUND, record)


@pytest.mark.parametrize("task", ["orpo", "kto", "all sure"])
def test_the_sum_of_the_parts_own_losses_would_be_another(make, task):
    """Mutation: ORPO's mean over tokens, KTO's KL and the least sure text, each of a part instead of the micro-batch."""
    _, objective, _, _ = make(BOUND, **TASKS[task])
    items = np.arange(12)
    with torch.no_grad():
        right = [part() for part in objective.parts(items)]
        wrong = [objective.loss_sum(part) for part in objective.place.parts(items, objective.lengths)]
    own, other = ([float(sum(each[0] for each in way)), *_sums(way).values()] for way in (right, wrong))
    assert max(abs(a - b) for a, b in zip(own, other, strict=True)) > 1e-2


def test_a_part_of_kto_holds_as_many_answers_as_a_pass_may(make):
    """Mutation: an answer counted with the one to another prompt, which goes forward alone: nine parts instead of five."""
    _, objective, _, sizes = make(BOUND, **TASKS["kto"])
    items = np.argsort(-objective.lengths, kind="stable")
    assert sorted(objective.lengths, reverse=True) == [56, 17, 17, 17, 14, 14, 14, 11, 11, 8, 8, 8]
    sizes.clear()
    parts = objective.parts(items)
    for part in parts:
        part()
    assert [len(part.args[0]) for part in parts] == [1, 2, 2, 3, 4]
    assert len(sizes) == 2 * len(parts) and sorted(sizes)[-2] <= BOUND
    assert objective.shape(items[:4]).records == 4


def test_the_reference_is_computed_of_as_many_rows_as_a_pass_may_take(make):
    """Mutation: each row counted as a pair."""
    objective, _, sizes = make(BOUND, **TASKS["dpo"])[1:]
    lengths = objective.data.train.lengths
    assert len(sizes) == 2 * len(objective.place.batches(lengths, rows=1)) < 2 * len(objective.place.batches(lengths))
    assert sorted(sizes)[-3] <= BOUND  # the longest record alone has more, and is learned from and held out


def _sums(found) -> dict[str, float]:
    return {name: sum(figures[name] for _, figures in found) for name in found[0][1]}


@pytest.mark.parametrize("saves", [True, False])
def test_each_pass_of_a_run_that_saves_memory_gives_its_pages_back(make, monkeypatch, saves):
    passes, objective, _, _ = make(BOUND, task="chat", activation_checkpointing=saves)
    given = []
    monkeypatch.setattr("llmdemo.training.device.give_back", given.append)
    items = np.argsort(-objective.lengths, kind="stable")
    passes(items, 0, 1)
    parts = sum(len(objective.parts(share)) for share in (items[0::2], items[1::2]))
    assert len(given) == (parts if saves else 0)


def test_the_dearest_part_of_a_step_is_what_memory_is_estimated_for(make):
    passes, objective, _, _ = make(BOUND, **TASKS["chat"])
    items = np.argsort(-objective.lengths, kind="stable")
    found = passes.largest(items, 1)
    parts = [part for share in (items[0::2], items[1::2]) for part in objective.place.parts(share, objective.lengths)]
    assert (found.records, found.length) == (1, 56)
    assert found.trained == max(objective.data.train.trained(part) for part in parts) == 38
    whole = make(None, **TASKS["chat"])[0].largest(items, 1)
    assert (whole.records, whole.length) == (6, 56)


@pytest.mark.parametrize(("bound", "batch", "expected"), [(48, 8, 4), (48, 2, 2), (20, 8, 1), (None, 8, 8)])
def test_the_estimate_takes_a_part_of_the_batch(monkeypatch, bound, batch, expected):
    monkeypatch.setattr(TrainConfig, "pass_tokens", bound)
    config = TrainConfig("x", batch_size=batch)
    part = Batch(batch, 12, 10 * batch).at_once(config)
    assert (part.records, part.trained) == (expected, 10 * expected)
    assert part.is_one_of_several(config) == (expected < batch)
    pairs = Batch(2 * batch, 12, 10).at_once(TrainConfig("x", task="preference", batch_size=batch))
    assert pairs.records == {8: {48: 4, 20: 2, None: 16}[bound], 2: 4}[batch]
    assert Batch(batch, 12, 10).at_once(TrainConfig("x", task="kto", batch_size=batch)).records == expected


@pytest.mark.parametrize("batch", [2, 6])
def test_a_subspace_is_that_of_the_whole_steps_gradient(llama64, monkeypatch, batch):
    """Where a step is one pass, a subspace is refreshed inside of it; in parts, the first part must not be taken for all."""

    def bases(bound):
        monkeypatch.setattr(TrainConfig, "pass_tokens", bound)
        config = TrainConfig("x", rank=4, batch_size=batch, stagger=False, refresh="svd", max_steps=2).resolved()
        model, data = llama64(), RunData(rows_of(config), TokenRows.from_lists([]), [], {})
        tokenizer = SimpleNamespace(pad_token_id=0, eos_token_id=2)
        loop = Loop(model, tokenizer, build_optimizer(model, config), data, config, "fp32", lambda *_, **__: None)
        at_once = loop.optimizer.slots[0].when_full is not None
        loop._step()
        return at_once, [slot.subspace.left if slot.subspace.left is not None else slot.subspace.right.T
                         for slot in loop.optimizer.slots]  # fmt: skip

    whole, in_parts = bases(None), bases(BOUND)
    assert whole[0] and not in_parts[0]
    for one, own in zip(whole[1], in_parts[1], strict=True):
        torch.testing.assert_close(own @ own.T, one @ one.T, rtol=1e-4, atol=1e-6)


def test_a_step_that_is_one_pass_in_any_case_refreshes_inside_of_it(make):
    passes, objective, _, _ = make(1000, task="chat")
    assert not passes.is_one  # two micro-batches
    one = TrainConfig("x", batch_size=6)
    passes._config = one
    assert passes.is_one and 6 * objective.lengths.max() <= 1000


def test_memory_is_what_bounds_a_pass_where_matrices_are_in_8_bits_and_nowhere_else():
    for changes, expected in (({"weight_bits": 8}, 2048), ({}, None), ({"weight_bits": 8, "task": "grpo"}, None)):
        assert TrainConfig("x", **changes).pass_tokens == expected
