"""What processes sum: the same tensors in each, also in one that had nothing to compute, while the backward pass goes on."""

import pytest
import torch
import torch.distributed as dist

from llmdemo.training import build_optimizer
from llmdemo.training.reduce import Reduction


class Wire:
    """Stands for the other processes: remembers what is sent, and adds what arrives once it is waited for."""

    def __init__(self, monkeypatch):
        self.sent: list[torch.Tensor] = []
        self.arriving: list[torch.Tensor] = []
        monkeypatch.setattr(dist, "all_reduce", self.all_reduce)

    def all_reduce(self, flat, async_op):
        self.sent.append(flat.clone())
        return type("Work", (), {"wait": lambda work: self.arriving and flat.add_(self.arriving.pop(0))})()


@pytest.fixture
def wire(monkeypatch):
    monkeypatch.setattr("llmdemo.training.reduce.BUCKET_BYTES", 4096)
    return Wire(monkeypatch)


def reduction_of(optimizer):
    return Reduction(optimizer, torch.device("cpu"))


def reduced_step(model, optimizer, reduction, batches, tools):
    """Gradients of these micro-batches, summed."""
    reduction.begin()
    for number, ids in enumerate(batches, 1):
        if number == len(batches):
            reduction.watch()
        tools.backward(model, ids)
    reduction.finish()
    reduction.wait()


def seen(optimizer):
    return [(tuple(gradient.shape), gradient.dtype) for gradient in optimizer.gradients()]


@pytest.mark.parametrize("changes", [{}, {"stagger": False}, {"method": "adamw"}, {"proj_type": "full"}], ids=str)
@pytest.mark.parametrize("steps", [0, 1, 9], ids=lambda steps: f"after {steps} steps")
@pytest.mark.slow
def test_a_process_with_an_empty_share_sends_zeros_of_the_same_shapes(llama64, tools, wire, changes, steps):
    """Before the first step some matrices have no subspace; after it some are due and some are not."""
    config = tools.make_config(update_proj_gap=4, **changes)
    models = [llama64(), llama64(), llama64()]
    busy, idle, alone = (build_optimizer(model, config) for model in models)
    for ids in tools.token_batches(steps):
        for model, optimizer in zip(models, (busy, idle, alone), strict=True):
            tools.backward(model, ids)
            optimizer.step()
    batch = tools.token_batches(1)[0]
    tools.backward(models[2], batch)
    expected = alone.gradients()
    reductions = [reduction_of(busy), reduction_of(idle)]
    reduced_step(models[1], idle, reductions[1], [], tools)
    zeros = wire.sent
    assert reductions[1].bytes == sum(flat.numel() * flat.element_size() for flat in zeros) > 0
    assert len(zeros) > 2 and all(not flat.any() for flat in zeros)
    idle.zero_grad()
    wire.sent = []
    reduced_step(models[0], busy, reductions[0], [batch], tools)
    assert [flat.shape for flat in wire.sent] == [flat.shape for flat in zeros]
    # What the busy one sent arrives at the idle one, and both have the gradients of one process.
    wire.arriving = list(wire.sent)
    reduced_step(models[1], idle, reductions[1], [], tools)
    assert seen(idle) == seen(busy) == seen(alone)
    for optimizer in (busy, idle):
        for gradient, wanted in zip(optimizer.gradients(), expected, strict=True):
            assert torch.allclose(gradient, wanted, rtol=1e-12, atol=1e-15)


def test_buckets_are_sent_in_the_backward_pass_once_they_are_whole(llama64, tools, wire):
    """Of a step's micro-batches, the last one's; what is sent then is what a wait at the end would have sent."""
    model = llama64()
    optimizer = build_optimizer(model, tools.make_config(update_proj_gap=4))
    batches = tools.token_batches(9)
    for ids in batches[:7]:
        tools.backward(model, ids)
        optimizer.step()
    reduction = reduction_of(optimizer)
    sent = []
    embedding = model.model.layers[0].input_layernorm.register_full_backward_hook(
        lambda *_: sent.append(len(wire.sent))
    )
    reduced_step(model, optimizer, reduction, batches[7:], tools)
    embedding.remove()
    assert sent[0] == 0 < sent[1] < len(wire.sent)
    wire.arriving = [torch.zeros_like(flat) for flat in wire.sent]
    early, wire.sent = wire.sent, []
    optimizer.zero_grad()
    reduction.begin()
    for ids in batches[7:]:
        tools.backward(model, ids)
    assert not wire.sent
    reduction.finish()
    assert all(torch.equal(a, b) for a, b in zip(early, wire.sent, strict=True))


def test_gradients_stay_in_the_buffers_that_were_sent_from(llama64, tools, wire):
    model = llama64()
    optimizer = build_optimizer(model, tools.make_config(stagger=False, update_proj_gap=2))
    reduction, homes = reduction_of(optimizer), []
    for ids in tools.token_batches(4):
        reduced_step(model, optimizer, reduction, [ids], tools)
        optimizer.refresh()
        homes.append([gradient.data_ptr() for gradient in optimizer.gradients()])
        assert set(homes[-1]) == {place.data_ptr() for place in reduction.places.values()}
        optimizer.step()
    assert homes[0] == homes[1] == homes[2] == homes[3]


def test_a_layer_that_is_passed_twice_is_sent_after_the_second_time(llama64, tools, wire):
    """Mutation: a bucket counted whole at the first of two backward passes by its matrix."""
    model, batch = llama64(), tools.token_batches(1)[0]
    optimizer = build_optimizer(model, tools.make_config())
    for _ in range(4):
        tools.backward(model, batch)
        optimizer.step()
    model.model.layers[1].mlp.forward = twice(model.model.layers[1].mlp)
    tools.backward(model, batch)
    expected = [gradient.clone() for gradient in optimizer.gradients()]
    optimizer.zero_grad()
    reduced_step(model, optimizer, reduction_of(optimizer), [batch], tools)
    for gradient, wanted in zip(optimizer.gradients(), expected, strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-12, atol=1e-15)
    sent = sum(flat.square().sum() for flat in wire.sent).sqrt()
    assert sent.item() == pytest.approx(optimizer.norm(), rel=1e-9)


def twice(module):
    forward = type(module).forward
    return lambda x: forward(module, forward(module, x))
