"""few_rows.c against a float64 computation and the model's own forward, as this machine compiles it and as one without AVX-512 does."""

import pytest
import torch

from llmdemo.core import compiled
from llmdemo.decoding import few_rows
from llmdemo.decoding.backend import forward_for, fused_weights
from llmdemo.decoding.few_rows import HALVES, PAIRS, WHOLE, CompiledLayers, CompiledLinear, form_for
from llmdemo.decoding.fused_llama import FusedLlamaForward, FusedLlamaWeights
from llmdemo.decoding.fused_text import FusedText
from llmdemo.decoding.linears import Fp16Linear, can_fp16
from llmdemo.decoding.past import ModelForward
from llmdemo.decoding.prompts import greedy

SOURCE = few_rows._SOURCES / "few_rows.c"
FLAGS = {"own": (), "avx2": ("-mno-avx512f", "-mavx2", "-mfma")}
PROMPT = list(range(3, 40))
pytestmark = pytest.mark.skipif(few_rows.library() is None, reason="needs gcc")


@pytest.fixture(params=FLAGS)
def machine(request, monkeypatch):
    """The library as it is compiled on a machine of this kind; its name."""
    built = compiled.library(SOURCE, FLAGS[request.param])
    monkeypatch.setattr(few_rows.compiled, "library", lambda source: built)
    return request.param


@pytest.fixture(scope="module")
def llama(tiny_llama):
    """make(seed, **config) of sizes that few_rows.c takes."""

    def make(seed=0, **changes):
        sizes = dict(hidden_size=128, intermediate_size=160, initializer_range=0.2)
        return tiny_llama(seed, **{**sizes, **changes})

    return make


def logits(forward, rows=5, steps=6):
    """Of a prompt and of steps whose rows branch, die and leave at random."""
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        found = [forward.prefill(PROMPT, rows, steps)]
        for i in range(steps):
            live = rows - i // 3
            parents = torch.randint(0, rows if i == 0 else rows - (i - 1) // 3, (live,), generator=generator)
            found.append(forward.step(torch.randint(3, 61, (live,), generator=generator), parents))
    return torch.cat(found)


@pytest.mark.parametrize("form", [PAIRS, HALVES, WHOLE])
@pytest.mark.parametrize("outputs", [96, 50])
def test_products_are_those_of_float64_for_any_number_of_rows_and_outputs(machine, form, outputs):
    if form == PAIRS and not few_rows.library().few_rows_has_pairs():
        pytest.skip("this processor multiplies no bf16")
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(outputs, 64, generator=generator), torch.randn(outputs, generator=generator)
    weight = weight if form == WHOLE else weight.bfloat16().float()
    for own in (None, bias):
        linear = CompiledLinear(weight, own, form, None)
        for rows in (*range(10), 17, 40):
            for dtype in (torch.float32, torch.bfloat16):
                x = torch.randn(rows, 64, generator=generator).to(dtype)
                seen = x.bfloat16() if form == PAIRS else x
                want = seen.double() @ weight.double().T + (0 if own is None else own.double())
                got, near = linear(x), dict(atol=1e-5, rtol=1e-5 if dtype == torch.float32 else 2**-8)
                assert got.shape == want.shape and got.dtype == dtype
                assert torch.allclose(got.double(), want, **near)
                more = linear.plus(x.new_ones(rows, outputs), x)
                assert torch.allclose(more.double(), got.double() + 1, **near)


@pytest.mark.parametrize("changes", [
    {}, {"num_key_value_heads": 4}, {"num_key_value_heads": 1}, {"intermediate_size": 96, "num_hidden_layers": 3},
    {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}, {"head_dim": 64},
    {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
])  # fmt: skip
@pytest.mark.parametrize("saved", [torch.float32, torch.bfloat16])
def test_all_layers_give_the_models_own_logits(machine, llama, changes, saved):
    model = llama(2, **changes).to(saved).float()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    weights = fused_weights(model)
    assert weights.layers[0][1].form == (WHOLE if saved == torch.float32 else HALVES)
    got, want = logits(FusedLlamaForward(weights)), logits(ModelForward(model))
    assert torch.allclose(got, want, atol=2e-5 * want.abs().max().item())


def test_in_bf16_they_are_nearer_to_the_exact_ones_than_the_models_own(machine, llama):
    model = llama(2, num_hidden_layers=4).bfloat16()
    weights = fused_weights(model)
    assert weights.dtype == torch.bfloat16 and isinstance(weights.head, CompiledLinear)
    exact = logits(ModelForward(llama(2, num_hidden_layers=4).bfloat16().double())).double()
    errors = [(logits(each).double() - exact).norm() for each in (FusedLlamaForward(weights), ModelForward(model))]
    assert errors[0] < errors[1] < 0.1 * exact.norm()


def test_the_layers_are_computed_in_one_piece(machine, llama, monkeypatch):
    calls = []
    real = CompiledLayers.__call__
    monkeypatch.setattr(
        CompiledLayers, "__call__", lambda self, hidden, parts: calls.append(len(hidden)) or real(self, hidden, parts)
    )
    logits(forward_for(llama(4)), rows=3, steps=2)
    assert calls[-3:] == [len(PROMPT), 3, 3]


def test_a_row_is_the_same_bit_for_bit_whatever_runs_beside_it_and_on_any_number_of_threads(machine, llama):
    weights = FusedLlamaWeights(llama(5), torch.float32)
    generator = torch.Generator().manual_seed(2)
    prompts = [torch.randint(3, 61, (length,), generator=generator).tolist() for length in (4, 30, 11)]

    def steps(chosen):
        forwards = [FusedLlamaForward(weights) for _ in chosen]
        with torch.inference_mode():
            for forward, number in zip(forwards, chosen, strict=True):
                forward.prefill(prompts[number], 3, 4)
            found = []
            for step in range(4):
                tokens, parents = torch.tensor([5, 9, 9 + step]), torch.tensor([0, 0, 2])
                found.append(weights.batched_logits([[forward.request(tokens, parents)] for forward in forwards]))
        return [torch.cat(own) for own in zip(*found, strict=True)]

    together, before = steps([0, 1, 2]), torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            for number in range(3):
                assert torch.equal(steps([number])[0], together[number])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("settings, arguments", [({}, {}), ({"lanes": ["beam"]}, {"num_beams": 4})])
def test_the_arena_says_what_generate_says(llama, run, reference, settings, arguments):
    model = llama(7, num_hidden_layers=3)
    _, results = run(model, PROMPT, max_new_tokens=60, **settings)
    lane = "beam" if arguments else "greedy"
    assert results[lane].token_ids == reference(model, PROMPT, max_new_tokens=60, **arguments)[0][0]


def test_a_prompt_that_is_read_in_several_parts_gives_the_models_own_logits(machine, llama):
    model = llama(7, max_position_embeddings=2048)
    prompt = torch.randint(3, 61, (700,), generator=torch.Generator().manual_seed(3)).tolist()
    with torch.inference_mode():
        weights = FusedLlamaWeights(model, torch.float32)
        got, want = (each.prefill(prompt, 2, 2) for each in (FusedLlamaForward(weights), ModelForward(model)))
    assert torch.allclose(got, want, atol=2e-5 * want.abs().max().item())


def test_prompts_are_answered_together_in_one_piece_as_generate_does_one_by_one(machine, llama, reference, monkeypatch):
    model, calls = llama(7), []
    prompts, real = [PROMPT, PROMPT[:5], [9, 8, 7, 11, 30, 31]], CompiledLayers.__call__
    monkeypatch.setattr(
        CompiledLayers, "__call__", lambda self, hidden, parts: calls.append(len(parts)) or real(self, hidden, parts)
    )
    answers = greedy(model, prompts, 24, 2, weights=fused_weights(model))
    assert calls[-1] <= 3 and 3 in calls
    for prompt, answer in zip(prompts, answers, strict=True):
        want = reference(model, prompt, max_new_tokens=24)[0][0]
        assert tuple(answer.token_ids) == (want[:-1] if want[-1] == 2 else want)


def test_a_text_that_goes_on_by_several_tokens_is_computed_in_one_piece(machine, llama, monkeypatch):
    model, calls, real = llama(7), [], CompiledLayers.__call__
    fused_weights(model)
    monkeypatch.setattr(
        CompiledLayers, "__call__", lambda self, hidden, parts: calls.append(len(hidden)) or real(self, hidden, parts)
    )
    with torch.inference_mode():
        text, ids = FusedText(fused_weights(model), 20, 4), [*PROMPT, 7, 8]
        text.after(PROMPT)
        got, _ = text.after(ids, [9, 10])
        want = model(torch.tensor([[*ids, 9, 10]])).logits[0, -3:]
    assert calls == [len(PROMPT), 4]
    assert torch.allclose(got, want, atol=2e-5 * want.abs().max().item())


def test_nan_in_a_weight_is_nan_in_the_logits_and_not_a_number_made_of_it(machine, llama):
    model = llama(8)
    model.model.layers[0].mlp.down_proj.weight.data[3] = torch.nan
    with torch.inference_mode():
        assert bool(FusedLlamaForward(FusedLlamaWeights(model, torch.float32)).prefill(PROMPT, 2, 2).isnan().all())


def test_many_rows_go_through_the_models_own_weights_where_those_are_faster(machine, llama, monkeypatch):
    monkeypatch.setattr("llmdemo.decoding.fused_llama.has_amx", lambda: True)
    model = llama(2, attention_bias=True).bfloat16()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    weights = FusedLlamaWeights(model, torch.bfloat16)
    few, many = weights.layers[0][1], torch.randn(70, 128).bfloat16()
    want = torch.cat([few(rows) for rows in many.split(8)])
    assert torch.allclose(few(many).float(), want.float(), atol=0.05)
    assert weights.compiled is not None and not weights.compiled.takes([type("Part", (), {"rows": 33})])


def test_weights_are_kept_in_the_fewest_bytes_that_hold_them(machine):
    whole = torch.randn(8, 64)
    half = whole.bfloat16().float()
    pairs = PAIRS if few_rows.library().few_rows_has_pairs() else HALVES
    assert form_for(torch.float32, [half, whole]) == WHOLE and form_for(torch.float32, [half, half]) == HALVES
    assert form_for(torch.bfloat16, [half.bfloat16()]) == pairs
    assert form_for(torch.float16, [whole.half()]) is None and form_for(torch.float32, [torch.randn(8, 48)]) is None


def test_a_model_that_fp16_holds_and_bf16_does_not_is_read_in_fp16(llama):
    if not can_fp16(torch.device("cpu")):
        pytest.skip("this torch cannot multiply with fp16 weights")
    weights = fused_weights(llama(3).half().float())
    assert isinstance(weights.head, Fp16Linear) and weights.compiled is None


def test_without_a_compiler_the_libraries_products_give_the_same(llama, monkeypatch):
    model = llama(9)
    want = logits(forward_for(model))
    monkeypatch.setattr(few_rows.compiled, "library", lambda source: None)
    weights = FusedLlamaWeights(model, torch.float32)
    assert not isinstance(weights.head, CompiledLinear)
    assert torch.allclose(logits(FusedLlamaForward(weights)), want, atol=2e-5 * want.abs().max().item())
