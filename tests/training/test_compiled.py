"""Compiled parts give what the plain ones give. Compiling takes some seconds: one test does all of it."""

import shutil

import pytest
import torch

from llmdemo.errors import UserError
from llmdemo.training.compiled import compile_parts


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="there is no C++ compiler here")
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
