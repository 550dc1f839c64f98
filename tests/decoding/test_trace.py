import json
from dataclasses import replace

import pytest
import torch

from llmdemo.decoding import (
    BeamStep,
    Branch,
    Candidates,
    DecodeSettings,
    Finished,
    LaneResult,
    Sequence,
    Step,
    TokenStep,
    decode_lanes,
)
from llmdemo.decoding.trace import Trace, model_hash
from llmdemo.errors import UserError

PROMPT = (5, 6, 7)
ALL = ["greedy", "top_k", "top_p", "min_p", "sample", "beam"]


@pytest.fixture(scope="module")
def made(tiny_llama):
    """A trace of every kind of lane, some of which end early."""
    model = tiny_llama(3, eos_token_id=[2, 3, 4, 5])
    settings = DecodeSettings.from_dict({"max_new_tokens": 25, "temperature": 1.4, "lanes": ALL, "seed": 4})
    trace = Trace(PROMPT, settings, model={"id": "tiny", "hash": model_hash(model)}, extra={"texts": {"5": "<b>…"}})
    list(map(trace.add, decode_lanes(model, PROMPT, settings)))
    return trace


def rounded(value):
    """The value with every float of it, however deep, at four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, (list, tuple, set)):
        return tuple(rounded(item) for item in value)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if hasattr(value, "__slots__") and hasattr(value, "__dataclass_fields__"):
        return tuple(
            rounded(getattr(value, name)) for name in value.__dataclass_fields__ if name != "tokens_per_second"
        )
    return value


def close(a, b):
    if isinstance(a, float):
        return a == pytest.approx(b, rel=1e-3, abs=1e-4)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(close, a, b))
    return a == b


def test_an_imported_trace_has_the_same_steps(made):
    again = Trace.from_json(made.to_json())
    assert again.settings == made.settings and again.prompt_ids == PROMPT
    assert (again.model, again.versions, again.created, again.extra) == (
        made.model,
        made.versions,
        made.created,
        made.extra,
    )
    assert len(again.steps) == len(made.steps) > 3
    for want, got in zip(made.steps, again.steps, strict=True):
        assert close(rounded(want), rounded(got)), f"step {want.index}"
    assert again.to_json() == made.to_json()


def test_a_trace_names_seed_settings_model_and_versions(made):
    data = json.loads(made.to_json())
    assert data["settings"]["seed"] == 4 and data["settings"]["lanes"][2]["top_p"] == 0.9
    assert len(data["model"]["hash"]) == 16
    assert set(data["versions"]) == {"llmdemo", "torch", "transformers", "python"}


def test_a_trace_of_a_run_that_was_cancelled_can_be_kept_too(made):
    part = replace(made, steps=made.steps[:2])
    again = Trace.from_json(part.to_json())
    assert len(again.steps) == 2 and not again.steps[-1].done
    assert Trace.from_json(replace(made, steps=[]).to_json()).steps == []


def test_used_tokens_are_all_that_a_page_can_show(made):
    used = made.used_tokens()
    assert set(PROMPT) <= used
    for result in made.results().values():
        assert set(result.token_ids) <= used


def test_a_run_of_512_tokens_in_all_lanes_is_under_five_megabytes():
    lanes = [
        {"strategy": name, "name": f"{name}{i}"}
        for name in ("greedy", "top_k", "top_p", "min_p", "sample")
        for i in (1, 2)
    ]
    settings = DecodeSettings.from_dict({"max_new_tokens": 512, "num_beams": 6, "lanes": [*lanes, "beam"]})
    generator = torch.Generator().manual_seed(0)

    def numbers(count):
        return tuple((-20 * torch.rand(count, generator=generator)).tolist())

    def tokens(count):
        return tuple(torch.randint(40_000, 49_152, (count,), generator=generator).tolist())

    trace = Trace(tokens(300), settings)
    for t in range(512):
        found = {}
        for lane in settings.lanes[:-1]:
            top = Candidates(tokens(10), numbers(10), tuple(-x for x in numbers(10)))
            found[lane.name] = TokenStep(lane.name, top.tokens[0], *numbers(2), 40_000, 49_152, *numbers(2), top, None)
        branches = [Branch(5, token, *numbers(2)) for token in tokens(12)]
        ended = tuple(Finished(5, token, *numbers(3)) for token in tokens(2))
        tops = tuple(Candidates(tokens(10), numbers(10), (0.0,) * 10) for _ in range(6))
        found["beam"] = BeamStep(
            "beam", tuple(branches[:6]), ended, tuple(branches[6:]), tops, numbers(6), (), False, None
        )
        trace.add(Step(t, found, 1.0, 16, False))
    sequences = tuple(Sequence(tokens(512), numbers(512), -1.5, "length") for _ in range(6))
    result = LaneResult("beam", sequences[0].token_ids, sequences[0].logprobs, "length", 1.0, 512.0, -1.5, sequences)
    trace.steps[-1].results["beam"] = result
    assert len(trace.to_json().encode()) < 5e6


@pytest.mark.parametrize("text", [
    "", "{", "[]", "{}", "null", "[" * 200_000, '{"format":"llmdemo-trace-1"}', '{"format":"other"}', '{"a":NaN}',
])  # fmt: skip
def test_what_is_no_trace_is_a_user_error(text):
    with pytest.raises(UserError) as caught:
        Trace.from_json(text)
    assert caught.value.hint


@pytest.mark.parametrize(("path", "value"), [
    (("lanes", "greedy", "token", 0), "<script>"), (("lanes", "greedy", "logprob"), None), (("lanes", "beam", "live", 1, 0, 0), 99),
    (("lanes", "top_p", "top", 0), []), (("lanes", "greedy", "finish_reason"), "<b>"), (("steps", "rows"), [1]),
    (("lanes", "beam", "kind"), "token"), (("settings", "temperature"), "hot"), (("model",), []), (("prompt_ids",), 3),
    (("lanes",), {}), (("lanes", "greedy", "entropy", 0), 10**400),
])  # fmt: skip
def test_a_damaged_trace_is_a_user_error(made, path, value):
    data = json.loads(made.to_json())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(UserError):
        Trace.from_json(json.dumps(data))


def test_the_hash_tells_models_apart(tiny_llama):
    assert model_hash(tiny_llama(1)) == model_hash(tiny_llama(1)) != model_hash(tiny_llama(2))
