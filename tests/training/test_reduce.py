"""What processes sum: the same tensors in each, also in one that had nothing to compute."""

import pytest
import torch
import torch.distributed as dist

from llmdemo.training import build_optimizer
from llmdemo.training.reduce import reduce_gradients


def seen(optimizer):
    return [(tuple(gradient.shape), gradient.dtype) for gradient in optimizer.gradients()]


@pytest.mark.parametrize("changes", [{}, {"stagger": False}, {"method": "adamw"}], ids=str)
@pytest.mark.parametrize("steps", [0, 1, 9], ids=lambda steps: f"after {steps} steps")
def test_a_process_with_an_empty_share_sends_zeros_of_the_same_shapes(llama64, tools, monkeypatch, changes, steps):
    """Before the first step some matrices have no subspace; after it some are due and some are not."""
    config = tools.make_config(update_proj_gap=4, **changes)
    models = [llama64(), llama64()]
    busy, idle = (build_optimizer(model, config) for model in models)
    for ids in tools.token_batches(steps):
        for model, optimizer in zip(models, (busy, idle), strict=True):
            tools.backward(model, ids)
            optimizer.step()
    tools.backward(models[0], tools.token_batches(1)[0])
    expected = [gradient.clone() for gradient in busy.gradients()]
    assert not idle.gradients()
    sent = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda flat: sent.append(flat.clone()))
    count = reduce_gradients(idle)
    assert count == sum(flat.numel() * flat.element_size() for flat in sent) > 0
    assert all(not flat.any() for flat in sent)
    # The other process's buffers arrive, and both have the same gradients.
    monkeypatch.setattr(dist, "all_reduce", lambda flat: arriving.append(flat.clone()))
    arriving: list[torch.Tensor] = []
    reduce_gradients(busy)
    assert [flat.shape for flat in arriving] == [flat.shape for flat in sent]
    monkeypatch.setattr(dist, "all_reduce", lambda flat: flat.add_(arriving.pop(0)))
    reduce_gradients(idle)
    assert seen(idle) == seen(busy)
    assert all(torch.equal(a, b) for a, b in zip(idle.gradients(), expected, strict=True))
