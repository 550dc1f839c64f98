"""Captured passes: that fixed shapes give the model's own loss and gradients, and what a run does where they don't.

Without CUDA a replay computes anew; what is kept between replays, and who decides, is the same.
"""

import numpy as np
import pytest
import torch

from llmdemo.training import TrainConfig, build_optimizer, objectives, passes
from llmdemo.training.batches import NOT_TRAINED, RunData, TokenRows, collate_fixed
from llmdemo.training.objectives import Place
from llmdemo.training.passes import Passes
from llmdemo.training.reduce import Reduction


def token_rows(count=12, seed=5):
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        ids = random.integers(3, 64, 6 + 3 * (number % 7))
        rows.append((ids, np.where(np.arange(len(ids)) < len(ids) // 3, NOT_TRAINED, ids)))
    return TokenRows.from_lists(rows)


@pytest.fixture
def make_passes(llama64, tools):
    """(passes, optimizer, what was reported) of a float64 Llama; captured unless told otherwise."""

    def make(captures=True, model=None, several=False, **changes):
        model = model or llama64()
        config = tools.make_config(**changes)
        optimizer = build_optimizer(model, config)
        tokenizer = type("Tokenizer", (), {"pad_token_id": 0, "eos_token_id": 2})()
        place = Place(model, tokenizer, config, "fp32", torch.device("cpu"))
        objective = objectives.of("chat")(place, RunData(token_rows(), token_rows(2), [], {}))
        told = []
        report = lambda kind, **fields: told.append(fields)  # noqa: E731
        reduction = Reduction(optimizer, torch.device("cpu")) if several else None
        made = Passes(model, objective, optimizer, config, "fp32", report, reduction)
        made.captures = captures
        return made, optimizer, told

    return make


def steps(made, optimizer, count=8, size=4):
    losses = []
    for step in range(count):
        loss, _ = made(np.arange(step * size, (step + 1) * size) % 12, 0, 1)
        if made._reduction:
            made._reduction.wait()
        optimizer.refresh()
        optimizer.clip(1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_fixed_batch_holds_every_token_and_label_once():
    rows = token_rows()
    batch = collate_fixed(rows, range(5), 0, unit=16)
    labels = [label for index in range(5) for label in rows.row(index)[1][1:] if label != NOT_TRAINED]
    assert batch.ids.shape == (5, 32) and len(batch.places) == len(batch.targets)
    kept = batch.targets != NOT_TRAINED
    assert batch.targets[kept].tolist() == labels
    assert torch.equal(batch.ids.flatten()[batch.places[kept] + 1], batch.targets[kept])
    assert collate_fixed(rows, range(5), 0, unit=16, most=20).ids.shape == (5, 20)


@pytest.mark.parametrize("changes", [{}, {"method": "adamw"}, {"gradient_accumulation_steps": 2}])
def test_captured_steps_are_launched_ones(make_passes, changes):
    found = {}
    for captures in (False, True):
        made, optimizer, told = make_passes(captures, stagger=False, update_proj_gap=3, **changes)
        model = made._model
        found[captures] = steps(made, optimizer), [p.detach().clone() for p in model.parameters()]
        assert not told and made.captures == captures
    assert made._captured is not None and len(made._captured) > 0
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-6)  # logits become fp32
    assert max((a - b).abs().max() for a, b in zip(found[True][1], found[False][1], strict=True)) < 1e-5


@pytest.mark.parametrize("changes", [{}, {"method": "adamw"}, {"gradient_accumulation_steps": 2}])
@pytest.mark.parametrize("captures", [False, True])
@pytest.mark.slow
def test_steps_with_sums_over_processes_are_those_without(make_passes, monkeypatch, captures, changes):
    """The others send zeros: what each gradient is, and where it lies, is as for one process, step after step."""
    work = type("Work", (), {"wait": lambda self: None})()
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flat, async_op=False: work)
    found = {}
    for several in (False, True):
        made, optimizer, told = make_passes(captures, several=several, stagger=False, update_proj_gap=3, **changes)
        found[several] = steps(made, optimizer), [p.detach().clone() for p in made._model.parameters()]
        assert not told and made.captures == captures
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-9)
    assert max((a - b).abs().max() for a, b in zip(found[True][1], found[False][1], strict=True)) < 1e-9


@pytest.mark.parametrize("method", ["galore", "adamw"])
def test_of_a_step_in_parts_gradients_are_sent_once_the_last_part_is_in_them(make_passes, monkeypatch, method):
    """What arrives is what was in a bucket when it was sent; the others send zeros."""

    def all_reduce(flat, async_op=False):
        sent = flat.clone()
        return type("Work", (), {"wait": lambda self: flat.copy_(sent)})()

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(TrainConfig, "pass_tokens", 30)
    found = {}
    for several in (False, True):
        made, optimizer, _ = make_passes(False, several=several, method=method, gradient_accumulation_steps=2)
        assert len(made._objective.parts(np.arange(6))) > 2
        found[several] = steps(made, optimizer, 4, 12), [p.detach().clone() for p in made._model.parameters()]
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-9)
    assert max((a - b).abs().max() for a, b in zip(found[True][1], found[False][1], strict=True)) < 1e-9


def test_captured_sums_that_are_sent_too_early_are_told_and_not_used(make_passes, monkeypatch):
    """Mutation: buckets sent before the replay has filled them, as with an event that nobody waits for."""
    made, _, told = make_passes(method="adamw", several=True)

    def all_reduce(flat, async_op=False):
        def wait(work):
            if made._captured is not None and len(made._captured):
                flat.zero_()  # what was there before the replay

        return type("Work", (), {"wait": wait})()

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    made(np.arange(4), 0, 1)
    assert not made.captures and "norm" in told[0]["message"]


def test_a_replay_forgets_the_step_before(make_passes):
    """Mutation: sums that go on, as if every micro-batch were of one step."""
    made, optimizer, _ = make_passes(method="adamw")
    rows = np.arange(4)
    made(rows, 0, 1)
    first = optimizer.norm()
    optimizer.zero_grad()
    made(rows, 0, 1)
    assert optimizer.norm() == pytest.approx(first)


def test_a_step_that_refreshes_is_launched(make_passes):
    made, optimizer, _ = make_passes(stagger=False, update_proj_gap=4)
    made(np.arange(4), 0, 1)
    assert made._captured is None and not optimizer.no_refresh_due and optimizer.refresh()


def test_a_captured_pass_that_differs_is_told_and_not_used(make_passes, monkeypatch):
    made, optimizer, told = make_passes(method="adamw")
    plain = made._fixed_loss
    made._fixed_loss = lambda batch: plain(batch) * 1.01
    steps(made, optimizer, 2)
    (note,) = told
    assert not made.captures and "takes longer" in note["message"] and "loss" in note["message"]


def test_an_attention_of_another_kind_is_told_and_not_used(make_passes, llama64):
    model = llama64()
    model.model.layers[0].self_attn.is_causal = False
    made, optimizer, told = make_passes(method="adamw", model=model)
    steps(made, optimizer, 2)
    assert not made.captures and "not plain and causal" in told[0]["message"]


def test_where_there_is_no_room_nothing_is_captured(make_passes, monkeypatch):
    made, optimizer, told = make_passes(method="adamw")
    monkeypatch.setattr(passes.devices, "available_bytes", lambda device: 1000)
    made._working_bytes = 10**6
    steps(made, optimizer, 2)
    assert not made.captures and "no room" in told[0]["message"]


def test_adapters_are_merged_for_a_while_and_nothing_is_rounded(llama64, tools):
    from llmdemo.decoding.backend import fused_weights
    from llmdemo.training.adapters import add_adapters, merged

    model = add_adapters(llama64().float(), tools.make_config(method="lora"))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data.normal_(0.0, 0.1)
    before = {name: p.clone() for name, p in model.named_parameters()}
    (ids,) = tools.token_batches(1)
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        with merged(model) as whole:
            torch.testing.assert_close(whole(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
            assert fused_weights(whole) is not None
        assert torch.equal(model(input_ids=ids).logits, expected)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    with merged(llama64()) as plain:
        assert isinstance(plain, torch.nn.Module)
