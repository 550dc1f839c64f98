import weakref
from contextlib import nullcontext

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.decoding import backend, fused_llama
from llmdemo.decoding.backend import difference, forward_for, fused_weights, plain_llama, prepare
from llmdemo.decoding.fused_llama import FusedLlamaForward, FusedLlamaWeights
from llmdemo.decoding.linears import (
    Fp16Linear,
    Int8Linear,
    Linear,
    PackedLinear,
    can_fp16,
    can_int8,
    can_pack,
    fp16_scale,
)
from llmdemo.decoding.past import ModelForward

PROMPT = [5, 6, 7, 8]


def branching(forward, rows=5, steps=6, seed=0):
    """Logits of a prefill and `steps` steps whose rows branch, die and leave at random."""
    generator = torch.Generator().manual_seed(seed)
    found = [forward.prefill(list(range(3, 40)), rows, steps)]
    with torch.inference_mode():
        for i in range(steps):
            live = rows - i // 3
            parents = torch.randint(0, rows if i == 0 else rows - (i - 1) // 3, (live,), generator=generator)
            tokens = torch.randint(3, 61, (live,), generator=generator)
            found.append(forward.step(tokens, parents))
    return torch.cat(found)


@pytest.mark.parametrize("changes", [
    {},
    {"num_key_value_heads": 4},
    {"num_key_value_heads": 1, "head_dim": 16},
    {"tie_word_embeddings": True, "attention_bias": True},
    {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
    {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 32, "rope_theta": 10000.0}},
])  # fmt: skip
def test_the_fused_forward_gives_the_models_own_logits(tiny_llama, changes):
    model = tiny_llama(2, **changes)
    with torch.inference_mode():
        got, want = branching(forward_for(model)), branching(ModelForward(model))
    assert isinstance(forward_for(model), FusedLlamaForward)
    assert torch.allclose(got, want, atol=2e-4 * want.abs().max().item())


def test_qwen_with_its_biases_gets_the_fused_forward_too(tiny_qwen):
    with torch.inference_mode():
        got, want = branching(forward_for(tiny_qwen)), branching(ModelForward(tiny_qwen))
    assert torch.allclose(got, want, atol=2e-4 * want.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_small_states_are_normed_with_the_models_epsilon_inside_the_root(tiny_llama, monkeypatch, dtype):
    monkeypatch.setattr(fused_llama, "cpu_has_bf16", lambda: True)
    model = tiny_llama(1)
    weight = model.model.norm.weight.data.uniform_(0.5, 2)
    weights = FusedLlamaWeights(model, dtype)
    for size in (1.0, 3e-3, 0.0):  # as large as √ε
        x = (size * torch.randn(5, len(weight))).to(dtype)
        want = torch.nn.functional.rms_norm(
            x.float(), weight.shape, weight.to(dtype).float(), model.config.rms_norm_eps
        )
        got = weights._normed(x, weights.norm)
        assert got.dtype == dtype and torch.allclose(got.float(), want, rtol=1e-5 if dtype == torch.float32 else 8e-3)


@pytest.mark.parametrize("seed", range(4))
def test_nodes_without_a_live_descendant_are_cleared_without_a_trace(tiny_llama, monkeypatch, seed):
    monkeypatch.setattr(fused_llama, "_FIRST_STEPS", 2)
    model = tiny_llama(seed)
    with torch.inference_mode():
        forward = forward_for(model)
        got, want = branching(forward, 6, 12, seed), branching(ModelForward(model), 6, 12, seed)
    assert forward.used < 37 + 6 * 12 - 10  # some were cleared
    assert torch.allclose(got, want, atol=2e-4 * want.abs().max().item())


def test_a_prompt_longer_than_a_chunk_is_the_same_as_in_one_piece(tiny_llama, monkeypatch):
    model = tiny_llama(2)
    with torch.inference_mode():
        whole = branching(forward_for(model))
        monkeypatch.setattr(fused_llama, "_PREFILL_CHUNK", 7)
        assert torch.allclose(branching(forward_for(model)), whole, atol=1e-3)


def test_a_long_run_with_many_beams_is_that_of_the_models_own_forward(tiny_llama, run, monkeypatch):
    monkeypatch.setattr(fused_llama, "_FIRST_STEPS", 4)
    model = tiny_llama(7, max_position_embeddings=256)
    values = dict(max_new_tokens=100, num_beams=8, temperature=2.0, eos_token_ids=[])
    got = run(model, PROMPT, **values)[1]
    monkeypatch.setattr(backend, "plain_llama", lambda model: False)
    backend._kept.clear()
    want = run(model, PROMPT, **values)[1]
    assert {name: lane.token_ids for name, lane in got.items()} == {name: lane.token_ids for name, lane in want.items()}


def test_fused_weights_are_made_once_and_again_when_the_model_has_changed(tiny_llama):
    model = tiny_llama(3)
    first = fused_weights(model)
    assert fused_weights(model) is first
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.5)
    second = fused_weights(model)
    assert second is not first
    with torch.inference_mode():
        assert difference(model, second) < 1e-3 < difference(model, first)


def test_weights_that_must_come_from_memory_and_last_are_in_huge_pages(tiny_llama, monkeypatch):
    asked = []
    monkeypatch.setattr(backend, "in_huge_pages", lambda: asked.append(1) or nullcontext())
    assert fused_weights(tiny_llama(3)) and not asked
    monkeypatch.setattr(backend, "_IN_CACHES", 0)
    outlined = tiny_llama(4)
    outlined.outline = weakref.ref(tiny_llama(1))
    assert fused_weights(outlined) and not asked
    assert fused_weights(tiny_llama(5)) and asked


def test_a_model_that_only_looks_plain_is_found_out(tiny_llama, caplog):
    model = tiny_llama(4)
    model.model.layers[1].mlp.act_fn = torch.nn.GELU()
    assert isinstance(forward_for(model), ModelForward)
    assert "differs from the model's own" in caplog.text


def test_of_models_with_one_outline_the_first_is_checked_in_whole_and_each_by_its_prompt(tiny_llama, monkeypatch):
    outline, asked = tiny_llama(1), []
    steps = FusedLlamaForward.step
    monkeypatch.setattr(FusedLlamaForward, "step", lambda self, *given: asked.append(1) or steps(self, *given))
    models = [tiny_llama(seed) for seed in (1, 2, 3)]
    for model in models:
        model.outline = weakref.ref(outline)
    assert fused_weights(models[0]) and len(asked) == 2
    assert fused_weights(models[1]).error < 1e-5 and len(asked) == 2
    monkeypatch.setattr(FusedLlamaWeights, "_paired", lambda self, tensor: tensor)
    assert fused_weights(models[2]) is None and len(asked) == 2


def test_what_is_not_plain_is_left_to_the_model_itself(tiny_llama, tiny_gpt2):
    wrapped = tiny_llama(5)
    wrapped.model.layers[0].mlp.up_proj = torch.nn.Sequential(wrapped.model.layers[0].mlp.up_proj)
    assert not plain_llama(wrapped) and not plain_llama(tiny_gpt2)
    assert not plain_llama(tiny_llama(5, hidden_act="gelu"))
    assert isinstance(forward_for(wrapped), ModelForward)


def test_a_precision_that_needs_the_fused_forward_is_refused_without_it(tiny_gpt2):
    assert isinstance(forward_for(tiny_gpt2, "fp32"), ModelForward)
    for precision in ("bf16", "int8"):
        with pytest.raises(UserError, match="float32"):
            forward_for(tiny_gpt2, precision)


def test_bf16_weights_stay_close_to_fp32(tiny_llama):
    model = tiny_llama(2)
    with torch.inference_mode():
        want = branching(forward_for(model, "fp32"))
        got = branching(forward_for(model.to(torch.bfloat16), "auto"))
    assert (got - want).norm() / want.norm() < 0.05


def test_arithmetic_in_bf16_is_as_good_as_the_models_own(tiny_llama, monkeypatch):
    """As on a CPU that has it; elsewhere emulated, which is slow but works."""
    monkeypatch.setattr(fused_llama, "cpu_has_bf16", lambda: True)
    model = tiny_llama(2)
    with torch.inference_mode():
        want = branching(forward_for(model, "fp32"))
        forward = forward_for(tiny_llama(2), "bf16")
        assert forward.w.dtype == torch.bfloat16
        own = branching(ModelForward(model.to(torch.bfloat16)))
        assert (branching(forward).float() - want).norm() < 1.5 * (own.float() - want).norm()


@pytest.mark.skipif(not can_int8(torch.device("cpu")), reason="this torch has no int8 products")
def test_int8_is_an_approximation_with_a_small_error(tiny_llama, run):
    model = tiny_llama(2, hidden_size=64, initializer_range=0.1)
    weights = fused_weights(model, "int8")
    assert weights is not None and isinstance(weights.head, Int8Linear)
    with torch.inference_mode():
        assert 0 < difference(model, weights) < 0.2
    assert len(run(model, PROMPT, precision="int8", max_new_tokens=5)[1]) == 4


@pytest.mark.parametrize("kind", [Linear, PackedLinear, Fp16Linear])
@pytest.mark.parametrize("bias", [None, torch.linspace(-1, 1, 24)])
def test_every_linear_multiplies_for_any_number_of_rows(kind, bias):
    if kind is PackedLinear and not can_pack(torch.device("cpu"), torch.float32):
        pytest.skip("this torch cannot pack weights")
    if kind is Fp16Linear and not can_fp16(torch.device("cpu")):
        pytest.skip("this torch cannot multiply with fp16 weights")
    weight = torch.randn(24, 16, generator=torch.Generator().manual_seed(0)).bfloat16().float()
    linear = kind(weight, bias, 7) if kind is PackedLinear else kind(weight, bias)
    for rows in (1, 7, 40):
        x = torch.randn(rows, 16)
        want = torch.nn.functional.linear(x, weight, bias)
        assert torch.allclose(linear(x), want, atol=1e-5)
        assert torch.allclose(linear.plus(torch.ones(rows, 24), x), want + 1, atol=1e-5)


def test_weights_that_16_bits_hold_are_scaled_without_rounding_any():
    weight = torch.tensor([[300.0, -3e-4], [1e-6, 0.0]]).bfloat16().float()
    assert torch.equal((weight * fp16_scale(weight)).half().double() / fp16_scale(weight), weight.double())
    assert fp16_scale(torch.tensor([[1.0, 0.1]])) is None  # 0.1 of fp32 has more digits
    assert fp16_scale(torch.tensor([[1e5, 1e-12]]).bfloat16().float()) is None  # too far apart for fp16
    assert fp16_scale(torch.zeros(2, 2)) is None
    assert fp16_scale(torch.tensor([[float("nan"), 1.0]])) is None
    with pytest.raises(ValueError, match="16 bits"):
        Fp16Linear(torch.tensor([[1.0, 0.1]]), None)


def test_a_model_that_was_saved_in_bf16_is_read_in_half_the_bytes_and_stays_exact(tiny_llama, run, reference):
    if not can_fp16(torch.device("cpu")):
        pytest.skip("this torch cannot multiply with fp16 weights")
    model = tiny_llama(3, tie_word_embeddings=True).bfloat16().float()
    weights = fused_weights(model)
    assert isinstance(weights.head, Fp16Linear) and isinstance(weights.layers[0][1], Fp16Linear)
    assert torch.allclose(branching(FusedLlamaForward(weights)), branching(ModelForward(model)), atol=2e-5)
    _, results = run(model, PROMPT, max_new_tokens=40)
    assert results["greedy"].token_ids == reference(model, PROMPT, max_new_tokens=40)[0][0]
    assert results["beam"].token_ids == reference(model, PROMPT, max_new_tokens=40, num_beams=4)[0][0]


def test_a_model_that_is_not_kept_by_anyone_is_freed(tiny_llama):
    import gc
    import weakref

    model = tiny_llama(9)
    fused_weights(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_weights_without_room_for_a_copy_are_not_copied(tiny_llama, monkeypatch):
    monkeypatch.setattr(backend, "_fits", lambda model, dtype: False)
    assert isinstance(forward_for(tiny_llama(11)), ModelForward)
    assert isinstance(FusedLlamaWeights(tiny_llama(11), torch.float32), FusedLlamaWeights)


def test_prepare_says_what_will_run_and_makes_it_ready(tiny_llama, tiny_gpt2):
    model = tiny_llama(12)
    assert prepare(model).startswith("fused forward, float32")
    assert backend._kept[model][1] is fused_weights(model)
    assert prepare(tiny_gpt2) == "GPT2LMHeadModel's own forward, float32"
