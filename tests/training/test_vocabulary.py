"""Gradients of embeddings that are added in place equal autograd's own."""

import copy

import pytest
import torch
from torch import nn

from llmdemo.training.gradients import detach
from llmdemo.training.vocabulary import attach_vocabulary
from tests.conftest import make_llama


@pytest.fixture(params=[True, False], ids=["tied", "apart"])
def model(request):
    return make_llama(64, tie_word_embeddings=request.param).train()


def gradients(model, batches, **autocast):
    for ids in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(autocast)):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("autocast", [{}, {"on": True}], ids=["fp32", "autocast"])
def test_several_passes_give_autograd_s_gradients(model, tools, autocast):
    batches = tools.token_batches(3)
    wanted = gradients(copy.deepcopy(model), batches, **autocast)
    attach_vocabulary(model)
    found = gradients(model, batches, **autocast)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=2e-2 if autocast else 1e-5)


def test_they_are_one_tensor_throughout_and_the_model_gets_its_own_layers_back(model, tools):
    attach_vocabulary(model)
    places = []
    for ids in tools.token_batches(3):
        model(input_ids=ids, labels=ids).loss.backward()
        places.append(model.get_input_embeddings().weight.grad.data_ptr())
    assert len(set(places)) == 1
    for module in model.modules():
        detach(module)
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_the_row_of_padding_gets_none_and_frozen_or_scaled_embeddings_stay_as_they_are():
    class Scaled(nn.Embedding):
        def forward(self, ids):
            return 3 * super().forward(ids)

    model = nn.ModuleList(
        [nn.Embedding(8, 4, padding_idx=2), nn.Embedding(8, 4), nn.Embedding(8, 4, max_norm=1.0), Scaled(8, 4)]
    )
    model[1].weight.requires_grad_(False)
    attach_vocabulary(model)
    assert ["forward" in module.__dict__ for module in model] == [True, False, False, False]
    model[0](torch.tensor([[1, 2, 1]])).sum().backward()
    assert model[0].weight.grad.sum(1).tolist() == [0, 8, 0, 0, 0, 0, 0, 0]


def test_nothing_is_kept_where_no_gradient_is_wanted(model, tools):
    attach_vocabulary(model)
    with torch.no_grad():
        assert not model(input_ids=tools.token_batches(1)[0]).logits.requires_grad
