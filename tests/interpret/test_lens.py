"""The lens: its last row is the model's own answer in every family, a planted token shows up, and strange ends are refused."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, decode_lanes
from llmdemo.interpret.lens import lens, likeliest
from llmdemo.interpret.readout import Readout
from tests.conftest import make_llama

PROMPT = [5, 9, 13, 7, 22, 31]
SIZES = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0}  # fmt: skip
FAMILIES = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {},
    "phi": {},
    "phi3": {},
    "gpt_neox": {},
    "gpt2": {"n_layer": 3, "n_embd": 32, "n_head": 4},
    "falcon": {"ffn_hidden_size": 48, "new_decoder_architecture": False, "multi_query": True},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 16},
    "bloom": {"n_layer": 3, "n_head": 4},
    "gemma": {},
    "gemma2": {"final_logit_softcapping": 5.0},
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 4.0},
    "stablelm": {},
    "olmo2": {},
    "mamba": {"state_size": 8},
}


def made(family: str):
    torch.manual_seed(3)
    sizes = {key: value for key, value in SIZES.items() if family != "falcon" or key != "head_dim"}
    config = AutoConfig.for_model(family, **{**sizes, **FAMILIES[family]})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.2)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_row_is_the_models_own_answer_in_every_family(family):
    model = made(family)
    found = lens(model, PROMPT, window=2, top=61)
    own = model(input_ids=torch.tensor([PROMPT])).logits[0].double().softmax(-1)
    assert len(found.layers) == 3 and len(found.layers[0]) == 2
    for place in (-1, -2):
        assert all(abs(own[place, token] - p) < 1e-5 for token, p in found.layers[-1][place])
    # the layer before differs, as it would not if the hidden states were read one layer too late
    assert max(abs(own[-1, token] - p) for token, p in found.layers[-2][-1]) > 1e-4


def test_the_last_row_is_what_the_trace_says():
    model = make_llama(61, num_hidden_layers=3)
    lanes = [{"strategy": "greedy"}]
    steps = list(decode_lanes(model, PROMPT, DecodeSettings.from_dict({"lanes": lanes, "max_new_tokens": 3})))
    said = next(iter(steps[-1].results.values()))
    for at, (token, log) in enumerate(zip(said.token_ids, said.logprobs, strict=True)):
        followed = lens(model, [*PROMPT, *said.token_ids[:at]], token=token).followed
        assert abs(followed[-1][0] - torch.tensor(log).exp()) < 1e-5 and followed[-1][1] == 0


def test_a_layers_row_is_the_norm_and_the_head_over_its_hidden_state():
    model = make_llama(61, num_hidden_layers=3)
    hidden = model(input_ids=torch.tensor([PROMPT]), output_hidden_states=True).hidden_states
    wanted = model.lm_head(model.model.norm(hidden[2][0, -1])).softmax(-1)
    unnormed = model.lm_head(hidden[2][0, -1]).softmax(-1)  # the well-known mistake
    found = dict(lens(model, PROMPT, top=61).layers[1][-1])
    assert max(abs(wanted[token] - p) for token, p in found.items()) < 1e-5
    assert max(abs(unnormed[token] - p) for token, p in found.items()) > 1e-3


def test_a_planted_token_shows_up_in_its_layer_and_from_there_on():
    model = make_llama(61, num_hidden_layers=4, tie_word_embeddings=False)
    planted = 42
    direction = model.lm_head.weight[planted].detach() * 50
    for layer in model.model.layers:
        nn.init.zeros_(layer.mlp.down_proj.weight)
    model.model.layers[2].mlp.register_forward_hook(lambda _m, _i, out: out + direction)
    found = lens(model, PROMPT, token=planted)
    assert found.answer == planted and found.decided == 3
    assert [rank == 0 for _, rank in found.followed] == [False, False, True, True]


def test_a_model_that_adds_something_after_its_head_is_refused_with_a_sentence():
    model = make_llama(61)
    model.lm_head.register_forward_hook(lambda _m, _i, out: out)
    plain = model.forward
    model.forward = lambda **given: _shifted(plain(**given))
    with pytest.raises(UserError, match="LlamaForCausalLM"):
        Readout(model, PROMPT)


def _shifted(out):
    out.logits = out.logits + torch.arange(out.logits.shape[-1])
    return out


def test_no_hook_stays_in_the_model():
    model = make_llama(61)
    lens(model, PROMPT)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("size", [63, 1000, 4096])
def test_the_likeliest_are_topks_also_in_a_vocabulary_that_no_chunks_fill(size):
    torch.manual_seed(size)
    logits = torch.randn(3, 2, size)
    logits[0, 0, -1] = 9.0  # the last token, beyond the last whole chunk
    logits[1, 1, 5:9] = 8.0 + torch.arange(4)  # several of one chunk
    values, ids = likeliest(logits, 5)
    wanted = logits.topk(5, dim=-1)
    assert torch.equal(values, wanted.values) and torch.equal(ids, wanted.indices)
