import pytest
import torch
from torch import nn

from llmdemo.training import on_host as module
from llmdemo.training.on_host import move_to_host, on_host

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def test_what_is_in_the_computers_memory_stays_where_it_is():
    tensor = torch.arange(6.0).view(2, 3).t()
    assert on_host(tensor) is tensor
    model = nn.Linear(3, 2)
    before = [p.data_ptr() for p in model.parameters()]
    move_to_host(model)
    assert [p.data_ptr() for p in model.parameters()] == before


@needs_cuda
@pytest.mark.parametrize("staged", [8, 2**26])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.int64, torch.bool])
def test_a_gpus_tensor_arrives_bit_for_bit(monkeypatch, staged, dtype):
    monkeypatch.setattr(module, "_STAGED", staged)
    whole = torch.randint(-99, 99, (5, 7), device="cuda").to(dtype)
    for tensor in (whole, whole.t(), whole[1:, 2:], whole[0, 0], whole[:0]):
        got = on_host(tensor)
        assert got.device.type == "cpu" and got.is_contiguous()
        assert torch.equal(got, tensor.cpu()) and got.dtype == dtype


@needs_cuda
def test_tied_weights_stay_tied_when_a_model_is_moved():
    model = nn.ModuleList([nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)]).cuda()
    model[1].weight = model[0].weight
    want = model[0].weight.detach().cpu()
    move_to_host(model)
    assert model[1].weight is model[0].weight
    assert torch.equal(model[0].weight, want) and not model[0].weight.is_cuda
