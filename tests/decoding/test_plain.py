"""Lanes without a trace say what they say with it, alone and beside others."""

from dataclasses import replace

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, PlainStep, TokenStep, decode_lanes, prepare, shares_steps
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.plain import chosen, is_plain
from llmdemo.decoding.together import decode_together
from llmdemo.settings.lane import Resolved

PROMPTS = [[5, 6, 7], [9], list(range(3, 40)), [50, 3, 3, 60, 12], [5, 6, 7]]
PLAIN = [
    ["greedy"],
    [{"strategy": "greedy", "min_new_tokens": 8}],
    ["sample"],
    [{"strategy": "top_p", "top_p": 0.8, "temperature": 0.7, "min_new_tokens": 5}],
    ["top_k", {"strategy": "top_k", "name": "again"}, "greedy"],
    [{"strategy": "min_p", "filter_order": "filters_first"}],
]
TRACED = [["xtc"], ["mirostat"], [{"strategy": "greedy", "frequency_penalty": 0.5}], ["beam"], ["greedy", "dola"]]


def settings(lanes, seed: int, trace: bool) -> DecodeSettings:
    made = DecodeSettings.from_dict({"lanes": lanes, "seed": seed, "max_new_tokens": 14, "num_beams": 2})
    return replace(made, resolved=Resolved(trace=trace))


def results(steps) -> dict:
    found: dict = {}
    for key, step in steps:
        for name, result in step.results.items():
            found.setdefault(key, {})[name] = (result.token_ids, result.finish_reason)
    return found


def test_what_is_said_is_the_same_with_and_without_a_trace_alone_and_together(tiny_llama):
    model = tiny_llama(4, eos_token_id=[2, 3, 11])
    asked = {trace: [(n, PROMPTS[n % 5], settings(lanes, n % 3, trace)) for n, lanes in enumerate([*PLAIN, *PLAIN])]
             for trace in (True, False)}  # fmt: skip
    want = results((key, step) for key, prompt, each in asked[True] for step in decode_lanes(model, prompt, each))
    alone = results((key, step) for key, prompt, each in asked[False] for step in decode_lanes(model, prompt, each))
    assert alone == want
    assert results(decode_together(model, asked[False])) == want
    assert {reason for lanes in want.values() for _, reason in lanes.values()} == {"eos", "length"}


@pytest.mark.parametrize("lanes", TRACED)
def test_lanes_that_need_more_than_their_row_keep_their_trace(tiny_llama, lanes):
    model = tiny_llama(4)
    with_trace, without = (list(decode_lanes(model, PROMPTS[0], settings(lanes, 1, trace))) for trace in (True, False))
    assert [step.lanes for step in without] == [step.lanes for step in with_trace]


def test_a_plain_step_tells_the_token_and_no_more(tiny_llama):
    *_, last = steps = list(decode_lanes(tiny_llama(4), PROMPTS[0], settings(["greedy"], 0, False), eos_token_ids=[]))
    assert all(isinstance(part, PlainStep) for step in steps for part in step.lanes.values())
    assert last.results["greedy"].logprobs == () and len(last.results["greedy"].token_ids) == 14
    traced = next(decode_lanes(tiny_llama(4), PROMPTS[0], settings(["greedy"], 0, True)))
    assert isinstance(traced.lanes["greedy"], TokenStep)


def test_a_model_without_the_fused_forward_answers_with_its_trace(tiny_gpt2):
    asked = [list(decode_lanes(tiny_gpt2, [5, 6], settings(["greedy"], 0, trace))) for trace in (True, False)]
    assert [step.lanes for step in asked[0]] == [step.lanes for step in asked[1]]


def test_logits_that_are_no_numbers_are_said(tiny_llama):
    model = tiny_llama(4)
    weights = fused_weights(model)
    right = weights.batched_logits
    weights.batched_logits = lambda requests: [logits * torch.nan for logits in right(requests)]
    for lanes in (["greedy"], ["sample"]):
        with pytest.raises(UserError, match="not a number"):
            list(decode_lanes(model, PROMPTS[0], settings(lanes, 0, False)))


def test_rows_that_draw_unlike_are_each_drawn_by_their_own(tiny_llama, monkeypatch):
    """The mutant: all rows drawn by the first one's settings."""
    model = tiny_llama(4, eos_token_id=None)
    asked = [
        (n, PROMPTS[0], settings([{"strategy": "sample", "temperature": t}], 1, False)) for n, t in ((0, 0.2), (1, 3.0))
    ]
    want = results(decode_together(model, asked))
    monkeypatch.setattr("llmdemo.decoding.plain._alike", lambda lanes: [list(range(len(lanes)))])
    assert results(decode_together(model, asked)) != want


def test_a_gpu_shares_the_steps_of_plain_requests_only(tiny_llama, monkeypatch):
    model = tiny_llama(4)
    prepare(model)
    monkeypatch.setattr(fused_weights(model), "device", torch.device("cuda"))
    assert shares_steps(model, plain=True) and not shares_steps(model)


def test_what_a_gpu_is_asked_without_a_trace_goes_through_the_forward_that_joins(tiny_llama, monkeypatch):
    from llmdemo.decoding import backend
    from llmdemo.decoding.engine import run_of
    from llmdemo.decoding.graphs import GraphRun, StaticForward

    model = tiny_llama(4)
    prepare(model)
    static = lambda model, precision, waits: (  # noqa: E731
        backend.FusedLlamaForward(fused_weights(model)) if waits else StaticForward(fused_weights(model))
    )
    monkeypatch.setattr("llmdemo.decoding.engine.forward_for", static)
    assert isinstance(run_of(model, [5], settings(["greedy"], 0, True)), GraphRun)
    assert isinstance(run_of(model, [5], settings(["beam"], 0, False)), GraphRun), "its steps are captured as before"
    run = run_of(model, [5], settings(["greedy"], 0, False))
    assert not isinstance(run, GraphRun) and run.plain and run.forward.joins


def test_plain_is_what_needs_its_row_of_logits_only():
    others = [*TRACED, ["self_consistency"], [{"strategy": "greedy", "guidance_scale": 2.0}], [{"regex": "a+"}]]
    for lanes in PLAIN:
        assert is_plain(settings(lanes, 0, False), trace=False) and not is_plain(settings(lanes, 0, False), trace=True)
    for lanes in others:
        made = settings(
            [{"strategy": "greedy", **lane} if isinstance(lane, dict) else lane for lane in lanes], 0, False
        )
        assert not is_plain(made, trace=False)
    assert not is_plain(DecodeSettings.from_dict({"lanes": ["greedy"], "logit_bias": {"3": 1}}), trace=False)


def test_a_lane_that_may_not_end_yet_and_can_say_nothing_else_ends(tiny_llama):
    from llmdemo.decoding.engine import run_of

    lanes = [{"strategy": "greedy", "min_new_tokens": 4}]
    run = run_of(tiny_llama(4), [5], settings(lanes, 0, False), eos_token_ids=[0, 1])
    ((token, _),) = chosen([(run.lanes[0], 0)], torch.tensor([[1.0, 2.0]]))
    assert token == 1
    ((token, _),) = chosen([(run.lanes[0], 0)], torch.tensor([[1.0, 2.0, -5.0]]))
    assert token == 2
