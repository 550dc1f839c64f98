"""A step's layers by Triton against torch's own. The kernels themselves need a GPU, or TRITON_INTERPRET=1 where Triton is."""

import os
import sys
import weakref
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch

from llmdemo.decoding import fused_llama, graphs
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.graphs import Kernels, StaticForward, kernels_for
from llmdemo.decoding.lanes import Rows

interprets = os.environ.get("TRITON_INTERPRET") == "1"
needs_kernels = pytest.mark.skipif(
    not (torch.cuda.is_available() or interprets), reason="needs a CUDA GPU, or Triton's interpreter"
)
ORDERS = [[0] * 7, [0, 1, 2, 4, 3, 3, 6], [6, 5, 4, 3, 2, 1, 0], list(range(7))]


@pytest.fixture
def weights(tiny_llama, monkeypatch):
    """make(**config) -> (model, its fused weights): on a GPU in bf16, interpreted in fp32 on the CPU."""
    for name in ("can_pack", "can_fp16"):
        monkeypatch.setattr(fused_llama, name, lambda *_: False)
    monkeypatch.setattr(fused_llama, "form_for", lambda *_: None)
    monkeypatch.setattr(graphs, "_kernels", weakref.WeakKeyDictionary())

    def make(**config):
        values = dict(hidden_size=128, intermediate_size=192, num_attention_heads=4, num_key_value_heads=2) | config
        model = tiny_llama(4, **values)
        model = model.to("cuda", torch.bfloat16) if torch.cuda.is_available() else model
        return model, fused_weights(model)

    return make


@pytest.fixture
def kernels():
    from llmdemo.decoding import gpu_lanes, gpu_layers, gpu_rows

    return Kernels(gpu_layers.layers, gpu_layers.MOST_ROWS, gpu_rows.rows_of, gpu_lanes.choose)


@pytest.fixture
def offered(monkeypatch):
    """make(layers, choose=…): as if Triton's kernels were these functions."""

    def make(layers, choose=lambda lane, rows, t: lane.choose(rows, t)):
        parts = {
            "gpu_layers": SimpleNamespace(MOST_ROWS=16, fits=lambda w: True, layers=layers),
            "gpu_rows": SimpleNamespace(rows_of=Rows.of),
            "gpu_lanes": SimpleNamespace(choose=choose),
        }
        for name, part in parts.items():
            monkeypatch.setitem(sys.modules, f"llmdemo.decoding.{name}", part)
            monkeypatch.setattr(sys.modules["llmdemo.decoding"], name, part, raising=False)

    return make


def logits(weights, kernels, prompt=90):
    """Of four steps, whose rows change places in the tree: [4, 7, V]."""
    forward = StaticForward(weights, kernels)
    found = []
    with torch.inference_mode():
        forward.prefill([(5 + 3 * i) % weights.vocabulary for i in range(prompt)], 7, 40)
        tokens = torch.tensor([5, 6, 7, 5, 9, 11, 12], device=forward.device)
        for order in ORDERS:
            found.append(forward.step(tokens, torch.tensor(order, device=forward.device)).double())
            forward.count()
            tokens = (tokens + 13) % weights.vocabulary
    return torch.stack(found)


def apart(a, b) -> float:
    return float((a - b).norm() / a.norm())


@needs_kernels
@pytest.mark.parametrize(
    "config", [{}, {"num_key_value_heads": 4}, {"num_attention_heads": 2, "num_key_value_heads": 1}]
)
def test_a_step_by_kernels_gives_torchs_logits(weights, kernels, config):
    model, own = weights(**config)
    got, torchs = logits(own, kernels), logits(own, None)
    if got.is_cuda:  # both round to 16 bits, and neither is the truth
        truth = logits(fused_weights(deepcopy(model).float()), None)
        assert apart(truth, got) < 1.3 * apart(truth, torchs) < 0.2
    else:
        assert apart(torchs, got) < 1e-5


@needs_kernels
def test_parts_of_several_tiles_of_nodes_as_of_a_long_text_give_the_same(weights, kernels, monkeypatch):
    _, own = weights()
    short = logits(own, kernels)
    monkeypatch.setattr(sys.modules["llmdemo.decoding.gpu_attention"], "_MOST_PARTS", 2)
    assert apart(short, logits(own, kernels)) < (2e-2 if short.is_cuda else 1e-5)


@needs_kernels
def test_a_step_whose_rows_see_one_another_is_told_apart(weights, kernels):
    def unmasked(w, tokens, parents, keys, values, mask, *rest):
        return kernels.layers(w, tokens, parents, keys, values, torch.zeros_like(mask), *rest)

    _, own = weights()
    assert apart(logits(own, None), logits(own, kernels._replace(layers=unmasked))) > 5e-2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_takes_the_kernels(weights, kernels):
    assert kernels_for(weights()[1]) == kernels


def refuses(*_):
    raise RuntimeError("no compiler here")


def wrong(w, tokens, *_):
    return torch.nn.functional.embedding(tokens, w.embedding)


def torchs_own(w, tokens, parents, keys, values, mask, nodes, rotation, place):
    forward = StaticForward(w)
    forward.keys, forward.values = keys, values
    mask.copy_(mask[parents]).scatter_(1, nodes[:, None], 0.0)
    hidden = forward._layers(tokens, rotation.index_select(0, place), mask, nodes)
    place += 1
    nodes += len(tokens)
    return w._normed(hidden, w.norm)


def chooses_the_next(lane, rows, t):
    token, parent, numbers = lane.choose(rows, t)
    return token + 1, parent, numbers


@pytest.mark.parametrize(("layers", "said"), [(refuses, "no compiler here"), (wrong, "differ by")])
def test_kernels_that_fail_or_differ_are_not_taken(weights, offered, caplog, layers, said):
    offered(layers)
    _, own = weights()
    assert kernels_for(own) is None
    assert said in caplog.text
    assert kernels_for(own) is None and caplog.text.count(said) == 1


def test_kernels_that_choose_other_tokens_are_not_taken(weights, offered, caplog):
    offered(torchs_own, chooses_the_next)
    assert kernels_for(weights()[1]) is None
    assert "choose other tokens" in caplog.text


def test_kernels_that_compute_as_torch_does_are_taken(weights, offered):
    offered(torchs_own)
    assert kernels_for(weights()[1]).layers is torchs_own


def test_where_no_kernels_can_be_had_there_are_none(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "llmdemo.decoding.gpu_layers", None)
    monkeypatch.delattr(sys.modules["llmdemo.decoding"], "gpu_layers", raising=False)
    assert kernels_for(weights()[1]) is None
