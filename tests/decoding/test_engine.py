import math
import threading

import pytest
import torch
from transformers import LlamaForSequenceClassification, T5Config, T5ForConditionalGeneration

from llmdemo.core.errors import UserError
from llmdemo.decoding import BeamStep, DecodeSettings, TokenStep, decode_lanes
from llmdemo.decoding.fused_llama import FusedLlamaWeights

PROMPT = [5, 6, 7, 8]


@pytest.mark.parametrize("seed", range(10))
def test_greedy_is_that_of_generate(tiny_llama, run, reference, seed):
    model = tiny_llama(seed, tie_word_embeddings=seed % 2 == 0)
    _, results = run(model, PROMPT, lanes=["greedy"], max_new_tokens=40)
    assert results["greedy"].token_ids == reference(model, PROMPT, max_new_tokens=40)[0][0]


def test_every_lane_of_another_family_is_that_of_generate(tiny_gpt2, tiny_qwen, run, reference):
    for model in (tiny_gpt2, tiny_qwen):
        _, results = run(model, PROMPT, num_beams=3, max_new_tokens=20)
        assert results["greedy"].token_ids == reference(model, PROMPT, max_new_tokens=20)[0][0]
        assert results["beam"].token_ids == reference(model, PROMPT, max_new_tokens=20, num_beams=3)[0][0]


def test_a_lanes_text_does_not_depend_on_the_other_lanes(tiny_llama, run):
    model = tiny_llama(1)
    extra = ["min_p", "sample", {"strategy": "top_p", "name": "narrow", "top_p": 0.4, "temperature": 1.7}]
    _, together = run(model, PROMPT, lanes=["greedy", "top_k", "top_p", "beam", *extra], max_new_tokens=30, seed=9)
    for lane in ("top_k", "top_p", "beam", *extra):
        _, alone = run(model, PROMPT, lanes=[lane], max_new_tokens=30, seed=9)
        name = lane if isinstance(lane, str) else lane["name"]
        assert alone[name].token_ids == together[name].token_ids


def test_the_same_seed_gives_the_same_texts_and_another_seed_others(tiny_llama, run):
    model = tiny_llama(1)
    state = torch.get_rng_state()
    texts = [
        run(model, PROMPT, seed=seed, max_new_tokens=30, temperature=2.0)[1]["top_p"].token_ids for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(state, torch.get_rng_state())  # nobody else's generator was touched


@pytest.mark.parametrize("family", ["llama", "qwen", "gpt2"])
def test_nothing_changes_while_another_model_is_being_loaded(
    tiny_llama, tiny_qwen, tiny_gpt2, run, family, monkeypatch
):
    monkeypatch.setattr("llmdemo.core.threads.FULL", 1)  # how many of two are free decides about a sum's last bit
    # Meanwhile torch's default type is that model's, in all threads.
    model = {"llama": tiny_llama(1), "qwen": tiny_qwen, "gpt2": tiny_gpt2}[family]
    asked = {"num_beams": 3, "max_new_tokens": 24, "lanes": ["greedy", "top_k", "top_p", "beam", "min_p"], "seed": 4}
    steps, _ = run(model, PROMPT, **asked)
    torch.set_default_dtype(torch.bfloat16)
    try:
        again, _ = run(model, PROMPT, **asked)
    finally:
        torch.set_default_dtype(torch.float32)
    assert [step.lanes for step in again] == [step.lanes for step in steps]


def test_two_runs_at_once_do_not_disturb_each_other(tiny_llama, run):
    model = tiny_llama(1)
    alone = [run(model, PROMPT, seed=seed, max_new_tokens=30)[1] for seed in (1, 2)]
    found = [None, None]

    def work(i):
        found[i] = run(model, PROMPT, seed=i + 1, max_new_tokens=30)[1]

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for want, got in zip(alone, found, strict=True):
        assert {name: lane.token_ids for name, lane in want.items()} == {
            name: lane.token_ids for name, lane in got.items()
        }


def test_log_probabilities_are_the_raw_models_at_temperature_one(tiny_llama, run):
    model = tiny_llama(4)
    _, results = run(model, PROMPT, max_new_tokens=15, temperature=3.0)
    for lane in results.values():
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*PROMPT, *lane.token_ids]])).logits[0].double()
        raw = logits.log_softmax(-1)
        for i, (token, logprob) in enumerate(zip(lane.token_ids, lane.logprobs, strict=True)):
            assert logprob == pytest.approx(raw[len(PROMPT) - 1 + i, token].item(), abs=1e-4)


def test_a_step_tells_what_the_filter_saw_and_kept(tiny_llama, run):
    model = tiny_llama(4)
    steps, _ = run(model, PROMPT, lanes=["top_p"], top_p=0.8, temperature=1.5, max_new_tokens=10)
    ids = list(PROMPT)
    for step in steps:
        lane = step.lanes["top_p"]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double()
        raw, seen = logits.softmax(-1), (logits / 1.5).softmax(-1)
        order = raw.argsort(descending=True)
        size = int((seen[order].cumsum(0) < 0.8).sum()) + 1
        kept = seen[order[:size]]
        assert (lane.kept_size, lane.kept_mass) == (size, pytest.approx(kept.sum().item(), abs=1e-5))
        assert lane.entropy == pytest.approx(-(raw * raw.log()).sum().item(), abs=1e-4)
        assert lane.rank == order.tolist().index(lane.token) < size
        assert lane.top.tokens == tuple(order[:10].tolist())
        want = [seen[t].item() / kept.sum().item() if i < size else 0.0 for i, t in enumerate(lane.top.tokens)]
        assert lane.top.filtered == pytest.approx(want, abs=1e-4)
        assert lane.top.kept == tuple(i < size for i in range(10))
        assert lane.filtered == pytest.approx(seen[lane.token].item() / kept.sum().item(), abs=1e-4)
        ids.append(lane.token)


def test_a_lane_that_ended_is_absent_from_later_steps(tiny_llama, run):
    model = tiny_llama(3)
    steps, results = run(model, PROMPT, max_new_tokens=25, temperature=4.0, seed=5, eos_token_ids=range(2, 14))
    assert len({len(result.token_ids) for result in results.values()}) > 1
    for name, result in results.items():
        live = [step.index for step in steps if name in step.lanes]
        assert live == list(range(len(live)))
        assert name in steps[live[-1]].results
        if name != "beam":
            assert len(live) == len(result.token_ids)
            assert result.finish_reason == ("eos" if result.token_ids[-1] < 14 else "length")
            last = steps[live[-1]].lanes[name]
            assert isinstance(last, TokenStep) and last.finish_reason == result.finish_reason
        assert result.tokens_per_second > 0
    assert [step.done for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[1].rows >= steps[-1].rows
    assert isinstance(steps[0].lanes["beam"], BeamStep)


def test_closing_the_iterator_ends_the_work_within_one_step(tiny_llama, monkeypatch):
    calls = []
    step = FusedLlamaWeights.batched_logits
    monkeypatch.setattr(FusedLlamaWeights, "batched_logits", lambda *args: calls.append(1) or step(*args))
    model = tiny_llama(1)
    list(decode_lanes(model, PROMPT, DecodeSettings(max_new_tokens=2)))  # the fused weights are made and checked
    calls.clear()
    steps = decode_lanes(model, PROMPT, DecodeSettings(max_new_tokens=50))
    next(steps)
    next(steps)
    steps.close()
    assert len(calls) == 2 and list(steps) == []  # of the prompt, and of one step


def test_the_consumers_own_time_is_not_counted(tiny_llama, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    steps = decode_lanes(tiny_llama(1), PROMPT, DecodeSettings(max_new_tokens=3))
    clock[0] += 50
    for step in steps:
        assert step.seconds == 0
        clock[0] += 100


def test_no_grad_mode_leaks_to_the_consumer_between_steps(tiny_llama):
    steps = decode_lanes(tiny_llama(1), PROMPT, DecodeSettings.from_dict({"max_new_tokens": 5}))
    next(steps)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    steps.close()


# --- bad input ---------------------------------------------------------------------------------------------------


def test_an_empty_prompt_is_refused(tiny_llama):
    with pytest.raises(UserError, match="empty"):
        decode_lanes(tiny_llama(), [], DecodeSettings())


@pytest.mark.parametrize("length", [128, 129, 5000])
def test_a_prompt_at_or_past_the_context_is_refused_with_the_limit(tiny_llama, length):
    with pytest.raises(UserError, match="at most 127 tokens"):
        decode_lanes(tiny_llama(), [5] * length, DecodeSettings())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_prompt_just_under_the_context_gets_the_tokens_that_fit(tiny_llama, tiny_gpt2, run, family):
    model, context = (tiny_llama(1), 128) if family == "llama" else (tiny_gpt2, 64)
    _, results = run(model, [5] * (context - 3), max_new_tokens=20, eos_token_ids=[])
    assert {(len(result.token_ids), result.finish_reason) for result in results.values()} == {(3, "length")}


def test_a_token_that_the_model_does_not_have_is_refused(tiny_llama):
    for bad in (61, -1):
        with pytest.raises(UserError, match="does not have"):
            decode_lanes(tiny_llama(), [5, bad], DecodeSettings())


def test_a_model_whose_logits_are_not_numbers_is_a_user_error_and_the_next_request_works(tiny_llama, run):
    for damage in (float("nan"), float("inf")):
        model = tiny_llama(1)
        with torch.no_grad():
            before = model.model.norm.weight[3].item()
            model.model.norm.weight[3] = damage
        with pytest.raises(UserError, match="not a number"):
            run(model, PROMPT)
        with torch.no_grad():
            model.model.norm.weight[3] = before
        assert len(run(model, PROMPT, max_new_tokens=5)[1]) == 4


def test_an_encoder_decoder_is_refused_plainly():
    sizes = dict(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=32)
    model = T5ForConditionalGeneration(T5Config(decoder_start_token_id=0, **sizes))
    with pytest.raises(UserError, match="encoder-decoder"):
        decode_lanes(model, [3, 4], DecodeSettings())


def test_a_classifier_is_refused_plainly(tiny_llama):
    config = tiny_llama().config
    with pytest.raises(UserError, match="predicts the next token"):
        decode_lanes(LlamaForSequenceClassification(config), PROMPT, DecodeSettings())


def test_a_model_left_in_training_mode_decodes_without_dropout(tiny_gpt2, run):
    want = run(tiny_gpt2, PROMPT, max_new_tokens=10)[1]
    got = run(tiny_gpt2.train(), PROMPT, max_new_tokens=10)[1]
    assert {name: lane.token_ids for name, lane in want.items()} == {name: lane.token_ids for name, lane in got.items()}


def test_impossible_tokens_do_not_stop_the_lanes(tiny_gpt2, run):
    """A model that masks most of its vocabulary with −inf."""

    def mask(module, args, out):
        return torch.where(torch.arange(61) < 40, -torch.inf, out)

    hook = tiny_gpt2.lm_head.register_forward_hook(mask)
    try:
        steps, results = run(
            tiny_gpt2, PROMPT, max_new_tokens=10, lanes=["greedy", "top_k", "top_p", "min_p", "sample", "beam"]
        )
    finally:
        hook.remove()
    assert all(min(result.token_ids) >= 40 for result in results.values())
    assert steps[0].lanes["sample"].kept_size <= 21 and math.isfinite(steps[0].lanes["sample"].entropy)


def test_lanes_that_share_their_draws_differ_by_their_settings_alone(tiny_llama, run):
    lanes = [{"strategy": "top_p", "name": name, "top_p": p, "draws": "sweep"} for name, p in (("a", 0.9), ("b", 0.9))]
    _, results = run(tiny_llama(1), PROMPT, lanes=lanes, max_new_tokens=30, temperature=2.0)
    assert results["a"].token_ids == results["b"].token_ids
    del lanes[1]["draws"]
    _, results = run(tiny_llama(1), PROMPT, lanes=lanes, max_new_tokens=30, temperature=2.0)
    assert results["a"].token_ids != results["b"].token_ids


@pytest.mark.parametrize("strategy", ["top_k", "top_p", "min_p", "sample"])
def test_at_temperature_zero_a_sampling_lane_is_greedy(tiny_llama, strategy):
    lanes = ["greedy", {"strategy": strategy, "name": "cold", "temperature": 0}]
    settings = DecodeSettings.from_dict({"max_new_tokens": 16, "lanes": lanes})
    results = {}
    for step in decode_lanes(tiny_llama(3), PROMPT, settings, eos_token_ids=[]):
        results.update({name: result.token_ids for name, result in step.results.items()})
    assert results["cold"] == results["greedy"]
