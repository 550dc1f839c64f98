"""Layers that keep their own gradients, multiplied by the faster library, learn what autograd's own would."""

import copy

import pytest
import torch
from torch import nn

from llmdemo.training import TrainConfig, build_optimizer, layers, products, worker
from llmdemo.training.adapters import add_adapters
from llmdemo.training.objectives import Objective
from llmdemo.training.objectives.chat import Chat
from tests.conftest import make_llama
from tests.training.test_worker import last_weights, stop_at


def attached(model):
    return [
        module for module in model.modules() if getattr(vars(module).get("forward"), "func", None) is layers._forward
    ]


@pytest.mark.parametrize("method", ["adamw", "lora"])
def test_a_step_is_that_of_torch_s_own_products(method, tools, by_onednn, monkeypatch):
    results = []
    for faster in (True, False):
        monkeypatch.setattr(products, "onednn_is_faster", lambda faster=faster: faster)
        model, config = make_llama(64).train(), TrainConfig("x", method=method, rank=8, learning_rate=1e-3)
        torch.manual_seed(1)
        model = add_adapters(model, config) if method == "lora" else model
        optimizer = build_optimizer(model, config)
        assert bool(attached(model)) is faster
        losses = []
        for ids in tools.token_batches(3):
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
        assert bool(by_onednn) is faster
        by_onednn.clear()
        results.append((losses, {name: p for name, p in model.named_parameters() if p.requires_grad}))
        optimizer.detach(model)
        assert not attached(model)
    (losses, found), (own_losses, own) = results
    assert losses == pytest.approx(own_losses, rel=1e-5) and losses[0] != losses[-1]
    for name, weight in own.items():
        torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("wants", [(True, True), (False, True), (True, False), (False, False)])
def test_gradients_are_autograd_s_and_a_frozen_layer_keeps_no_inputs(bias, wants, by_onednn):
    layer = nn.Linear(24, 40, bias=bias).requires_grad_(wants[0])
    own, x = copy.deepcopy(layer), torch.randn(2, 7, 24)
    layers.attach_layers(layer)
    assert attached(layer)
    inputs = [x.clone().requires_grad_(wants[1]) for _ in range(2)]
    outputs = layer(inputs[0]), own(inputs[1])
    torch.testing.assert_close(*outputs)
    if not any(wants):
        assert not outputs[0].requires_grad
        return
    assert (outputs[0].grad_fn.saved_tensors[0] is not None) is wants[0]
    for output in outputs:
        output.square().sum().backward()
    for one, other in zip([inputs[0], *layer.parameters()], [inputs[1], *own.parameters()], strict=True):
        assert (one.grad is None) is (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["galore", "adamw"])
def test_what_a_layer_gives_may_be_changed_in_place(method, by_onednn):
    """Falcon adds its attention's output to its MLP's so."""
    block = nn.ModuleDict({"up": nn.Linear(24, 40), "down": nn.Linear(40, 24)})
    own, x = copy.deepcopy(block), torch.randn(2, 7, 24)
    build_optimizer(block, TrainConfig("x", method=method, rank=4))
    for each in (block, own):
        y = each["up"](x)
        y += 1
        each["down"](y).square().sum().backward()
    torch.testing.assert_close(block["up"].bias.grad, own["up"].bias.grad, atol=1e-3, rtol=1e-4)


def test_small_products_and_autocast_are_the_layer_s_own_to_the_bit(by_onednn, monkeypatch):
    monkeypatch.setattr(products, "_by_onednn", None)
    layer, x = nn.Linear(24, 40), torch.randn(7, 24)
    own = copy.deepcopy(layer)
    layers.attach_layers(layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), own(x)) and layer(x).dtype == torch.bfloat16
    monkeypatch.setattr(products, "LEAST", 2**30)
    assert torch.equal(layer(x), own(x))


def test_layers_of_other_classes_and_those_with_a_forward_stay_as_they_are(by_onednn):
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    taken = nn.Linear(4, 4)
    taken.forward = lambda x: x
    model = nn.ModuleList([nn.Linear(4, 4), Scaled(4, 4), taken])
    layers.attach_layers(model)
    assert attached(model) == [model[0]]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adamw", "lora"])
def test_a_run_that_is_multiplied_so_resumes_bit_for_bit(method, make_run, by_onednn, monkeypatch):
    monkeypatch.setattr(Chat, "answers", Objective.answers)  # what is written there is the same
    whole, run_dir = make_run(method=method, eval_steps=0), make_run(method=method, eval_steps=0)
    assert worker.main(whole) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert worker.main(run_dir) == 0
    assert worker.main(run_dir) == 0
    expected, found = last_weights(whole), last_weights(run_dir)
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
