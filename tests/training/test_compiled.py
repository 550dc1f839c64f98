"""Compiled parts give what the plain ones give. Compiling takes some seconds: one test does all of it."""

import shutil

import pytest
import torch
from torch import nn

from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.training import compiled, worker
from llmdemo.training.compiled import compile_parts


class Gated(nn.Module):
    """A gated MLP; `kind` names what else it does."""

    def __init__(self, kind=""):
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 8)
        self.act_fn, self.norm, self.kind = nn.SiLU(), nn.LayerNorm(12), kind

    def forward(self, x):
        y = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        if self.kind == "multiplier":
            y = 0.9 * y
        elif self.kind == "norm":
            y = self.norm(y)
        elif self.kind == "dropout":
            y = nn.functional.dropout(y, 0.1, self.training)
        elif self.kind == "tuple":
            return self.down_proj(y), None
        return self.down_proj(y)


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="there is no C++ compiler here")
@pytest.mark.parametrize("kind", ["", "multiplier", "norm", "dropout", "tuple"])
def test_only_an_mlp_that_is_a_gated_product_and_nothing_else_is_replaced(kind):
    torch.manual_seed(0)
    mlp = nn.Sequential(Gated(kind)).eval()
    state = torch.get_rng_state()
    assert compile_parts(mlp) == (1 if kind else 2), "the norm inside is one"
    assert ("forward" in mlp[0].__dict__) is (not kind)
    assert torch.equal(torch.get_rng_state(), state) and not mlp[0].training


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="there is no C++ compiler here")
@pytest.mark.slow
def test_a_step_with_compiled_parts_is_the_plain_one(llama64, tools):
    plain, fused = llama64(), llama64()
    assert compile_parts(fused) == 2 * 3 + 1
    batches = tools.token_batches(3)
    tools.train(plain, tools.make_config(), batches)
    tools.train(fused, tools.make_config(), batches)
    assert tools.distance(plain, fused) < 1e-5
    assert tools.distance(plain, llama64()) > 1e-3


def test_without_a_compiler_the_sentence_says_so(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        compile_parts(torch.nn.Linear(2, 2))


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="there is no C++ compiler here")
def test_a_run_that_has_nothing_to_compile_says_so(make_run, monkeypatch):
    monkeypatch.setattr(compiled, "_compiled_forward", lambda module: None)
    run_dir = make_run(compile=True, max_steps=1)
    assert worker.main(run_dir) == 0
    notes = [event["message"] for event in read_events(run_dir / "events.jsonl")[0] if event["type"] == "note"]
    assert compiled.NOTHING in notes
