import time
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from llmdemo.decoding import DecodeSettings, filters, fused_llama, graphs
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.engine import _resolved
from llmdemo.decoding.graphs import GraphRun, StaticForward
from llmdemo.settings.lane import Resolved

PROMPT = [5, 6, 7, 8]
PENALISED = dict(
    repetition_penalty=1.2, no_repeat_ngram_size=2, frequency_penalty=0.5, presence_penalty=0.5, min_new_tokens=3
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def graph_run(model, capture=False, eos=(), max_new=40, prompt=PROMPT, **settings):
    settings = DecodeSettings.from_dict({"max_new_tokens": max_new, **settings})
    forward = StaticForward(fused_weights(model))
    settings = replace(settings, resolved=_resolved(model, settings))
    run = GraphRun(forward, prompt, settings, max_new, list(eos), time.perf_counter(), capture=capture)
    steps = list(run.steps())
    return steps, {name: result for step in steps for name, result in step.results.items()}


def ids(results):
    return {name: result.token_ids for name, result in results.items()}


@pytest.mark.parametrize("first_steps", [2, 128])
@pytest.mark.parametrize("eos", [(), tuple(range(2, 9))])
def test_a_step_of_fixed_shapes_gives_the_same_lanes(tiny_llama, run, monkeypatch, first_steps, eos):
    monkeypatch.setattr(fused_llama, "_FIRST_STEPS", first_steps)  # 2: room is made, and memory grown, many times
    model = tiny_llama(4)
    lanes = ["greedy", "top_k", "top_p", "min_p", "sample", "beam"]
    values = dict(lanes=lanes, temperature=1.5, seed=3, num_beams=4)
    steps, got = graph_run(model, eos=eos, **values)
    want_steps, want = run(model, PROMPT, eos_token_ids=list(eos), max_new_tokens=40, **values)
    assert ids(got) == ids(want)
    assert [list(step.lanes) for step in steps] == [list(step.lanes) for step in want_steps]
    assert got["beam"].score == pytest.approx(want["beam"].score, abs=1e-4)


def test_one_new_token_needs_no_second_step(tiny_llama):
    assert len(graph_run(tiny_llama(4), max_new=1)[0]) == 1


def test_a_capture_that_fails_leaves_the_run_uncaptured(tiny_llama, monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise RuntimeError("no capture here")

    model = tiny_llama(4)
    for name in ("graph", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
        monkeypatch.setattr(torch.cuda, name, refuse)
        caplog.clear()
        assert ids(graph_run(model, capture=True)[1]) == ids(graph_run(model)[1])
        assert caplog.text.count("no capture here") == 1


def test_where_a_step_was_captured_before_the_first_one_is_tried_and_then_the_second(tiny_llama, monkeypatch, caplog):
    tried = []

    def refuse():
        tried.append(len(caplog.records))
        raise RuntimeError("no capture here")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    model = tiny_llama(4)
    graph_run(model, capture=True, max_new=5)
    assert len(tried) == 1
    monkeypatch.setattr(graphs, "_captured", {fused_weights(model)})
    caplog.clear()
    tried.clear()
    assert ids(graph_run(model, capture=True, max_new=5)[1]) == ids(graph_run(model, max_new=5)[1])
    assert tried == [0, 0] and caplog.text.count("no capture here") == 1


class WaitsForTheDevice(TorchDispatchMode):
    """Records operators that a CUDA graph cannot hold: those that bring a value to the host, or a constant from it."""

    FORBIDDEN = (
        "item",
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "_unique2",
        "lift_fresh",
        "equal",
        "is_nonzero",
        "repeat_interleave",
    )

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in self.FORBIDDEN:
            self.names.append(name)
        return function(*args, **(kwargs or {}))


def test_a_step_of_fixed_shapes_waits_for_nothing(tiny_llama, monkeypatch):
    monkeypatch.setattr(filters, "_is_by_rows", lambda logits: False)  # the way of CPUs only
    lanes = [
        "greedy",
        "top_k",
        "top_p",
        "min_p",
        "sample",
        "beam",
        {"strategy": "top_p", "name": "all", "top_k": 9, "min_p": 0.1},
        *("typical_p", "epsilon", "eta", "top_n_sigma", "xtc", "mirostat"),
        {"strategy": "sample", "name": "penalised", **PENALISED},
        {"strategy": "beam", "name": "penalised beams", **PENALISED},
    ]
    settings = DecodeSettings.from_dict({"max_new_tokens": 9, "lanes": lanes, "early_stopping": True})
    settings = replace(settings, resolved=Resolved((((5, 6), 1.0), ((7,), -2.0))))
    run = GraphRun(StaticForward(fused_weights(tiny_llama(4))), PROMPT, settings, 9, [2, 3], 0.0, capture=False)
    steps = run.steps()
    next(steps)
    with torch.inference_mode(), WaitsForTheDevice() as watch:
        before = [tensor.data_ptr() for tensor in (run.tokens, run.parents, run.t, run.forward.mask, run.forward.nodes)]
        run._body()
        assert [
            tensor.data_ptr() for tensor in (run.tokens, run.parents, run.t, run.forward.mask, run.forward.nodes)
        ] == before
        assert watch.names == []
        torch.ones(1).item()
        assert watch.names  # the watch works


@needs_cuda
def test_replayed_steps_are_those_of_the_uncaptured_loop(tiny_llama):
    model = tiny_llama(4).to("cuda")
    captured = graph_run(model, capture=True, num_beams=4)[1]
    assert ids(captured) == ids(graph_run(model, capture=False, num_beams=4)[1])
