import pytest
import torch

from llmdemo.decoding import DecodeSettings, decode_lanes
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.fused_llama import FusedLlamaForward
from llmdemo.decoding.prefixes import Prefix, Prefixes
from llmdemo.settings.lane import Resolved

PROMPT = [5, 6, 7, 8, 9, 11, 13, 17]


def prefix(ids, tells=False) -> Prefix:
    keys = torch.tensor(ids, dtype=torch.float32).view(1, 1, -1, 1).expand(2, 3, -1, 4)
    return Prefix(ids, keys, keys + 0.5, torch.arange(len(ids) - 1.0), tells)


def test_the_longest_common_beginning_is_found_and_never_the_whole_prompt():
    known = Prefixes()
    for ids in ([1, 2, 3], [1, 2, 3, 4, 5], [9, 9]):
        known.add(prefix(ids))
    found, same = known.longest([1, 2, 3, 4, 6], False)
    assert (found.ids, same) == ([1, 2, 3, 4, 5], 4)
    assert known.longest([1, 2, 3, 4, 5], False)[1] == 4, "the last token is read again: its logits are asked for"
    assert known.longest([7, 1], False) is None and known.longest([1], False) is None
    assert known.longest([1, 2, 3], True) is None, "none of these knows its surprise"
    known.add(prefix([1, 2, 7], tells=True))
    assert known.longest([1, 2, 3], True)[1] == 2


def test_what_is_kept_is_a_copy_within_its_bounds(monkeypatch):
    monkeypatch.setattr("llmdemo.decoding.prefixes._MOST_BYTES", 8 * 3 * 2 * 96)
    known, given = Prefixes(), prefix([1, 2, 3, 4, 5])
    known.add(given)
    (kept,) = known._latest
    assert kept.ids == [1, 2, 3] and kept.keys.shape[2] == 3 and len(kept.surprise) == 2
    assert kept.keys.untyped_storage().data_ptr() != given.keys.untyped_storage().data_ptr()
    for number in range(20):
        known.add(prefix([number, 1, 2]))
    assert len(known._latest) == 8


def told_and_true(model, prompt: list[int], surprise_of: int) -> tuple[float, float]:
    """The surprise that the first step tells, and the model's own over the prompt's last tokens."""
    settings = DecodeSettings(max_new_tokens=2, lanes=DecodeSettings.from_dict({"lanes": ["greedy"]}).lanes)
    object.__setattr__(settings, "resolved", Resolved(trace=False, surprise_of=surprise_of))
    first, second = decode_lanes(model, prompt, settings, eos_token_ids=[])
    assert second.surprise is None
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt])).logits[0, :-1].double()
    each = torch.nn.functional.cross_entropy(logits, torch.tensor(prompt[1:]), reduction="none")
    return first.surprise, float(each[-surprise_of:].mean())


@pytest.mark.parametrize("surprise_of", [4, 256])
def test_a_prompts_surprise_is_the_models_own_with_and_without_a_known_beginning(tiny_llama, surprise_of):
    model = tiny_llama(3)
    for prompt in (PROMPT, [*PROMPT[:5], 3, 4, 9], PROMPT, [*PROMPT, 2, 2]):
        told, true = told_and_true(model, prompt, surprise_of)
        assert told == pytest.approx(true, abs=1e-5)


def test_a_surprise_counts_all_its_tokens_where_of_a_known_beginning_only_the_end_was_asked_for(
    tiny_llama, monkeypatch
):
    monkeypatch.setattr("llmdemo.decoding.fused_llama._PREFILL_CHUNK", 4)
    model, long = tiny_llama(3), [3 + 7 * number % 50 for number in range(24)]
    for prompt, surprise_of in ((long, 4), ([*long[:18], 5, 9], 12), ([*long[:6], 2, 2], 4)):
        told, true = told_and_true(model, prompt, surprise_of)
        assert told == pytest.approx(true, abs=1e-5)


def test_a_prompt_that_begins_as_another_says_what_it_says_alone(tiny_llama):
    settings = DecodeSettings.from_dict({"max_new_tokens": 12, "seed": 3})
    prompts = [PROMPT, [*PROMPT[:6], 30], [*PROMPT, 31], PROMPT]

    def said(model, prompt):
        *_, last = decode_lanes(model, prompt, settings, eos_token_ids=[])
        return {name: result.token_ids for name, result in last.results.items()}

    model, read = tiny_llama(3), []
    alone = []
    for prompt in prompts:
        fresh = tiny_llama(3)
        alone.append(said(fresh, prompt))
    weights = fused_weights(model)
    batched = weights.batched_logits
    weights.batched_logits = lambda requests: (
        read.append(sum(len(t) for r in requests for t, _ in r)),
        batched(requests),
    )[1]
    for prompt, want in zip(prompts, alone, strict=True):
        read.clear()
        assert said(model, prompt) == want
    assert read[0] == 1, "all but the last token of the fourth prompt was known"


def test_a_beginning_whose_keys_were_rotated_for_short_texts_serves_no_long_one(tiny_llama):
    """With longrope, positions turn by other angles as soon as a text is longer than those of the pretraining."""
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 32}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    model = tiny_llama(3, rope_parameters=rope)
    weights = fused_weights(model)
    for prompt in (PROMPT, [*PROMPT, *range(10, 50)]):
        with torch.inference_mode():
            got, want = FusedLlamaForward(weights).prefill(prompt, 1, 2)[0], model(torch.tensor([prompt])).logits[0, -1]
        assert torch.allclose(got, want, atol=1e-4)
