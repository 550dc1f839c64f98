"""Tiny seeded models and the reference that the decoding tests compare with."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from llmdemo.decoding import DecodeSettings, decode_lanes


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny products: threads cost more than they give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_llama():
    """make(seed, **config) -> a random Llama of two layers whose logits are peaked enough to be interesting."""

    def make(seed: int = 0, **changes):
        torch.manual_seed(seed)
        values = dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=61,
            max_position_embeddings=128,
            eos_token_id=2,
            bos_token_id=1,
            pad_token_id=0,
            initializer_range=0.5,
        )
        return LlamaForCausalLM(LlamaConfig(**{**values, **changes})).eval()

    return make


@pytest.fixture(scope="session")
def tiny_qwen():
    """A random Qwen2, whose q, k, v have biases."""
    torch.manual_seed(5)
    config = Qwen2Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=61,
        max_position_embeddings=128,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.5,
    )
    model = Qwen2ForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture(scope="session")
def tiny_gpt2():
    """A random GPT-2: no Llama, so the engine must use the model's own forward."""
    torch.manual_seed(6)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=61, n_positions=64, eos_token_id=2, bos_token_id=1)
    config.initializer_range = 0.5
    model = GPT2LMHeadModel(config).eval()
    model.generation_config.pad_token_id = 0
    return model


@pytest.fixture(scope="session")
def run():
    """run(model, prompt, **settings) -> (list of steps, {lane: LaneResult})."""

    def decode(model, prompt, eos_token_ids=None, **settings):
        steps = list(decode_lanes(model, prompt, DecodeSettings.from_dict(settings), eos_token_ids))
        return steps, {name: result for step in steps for name, result in step.results.items()}

    return decode


@pytest.fixture(scope="session")
def reference():
    """reference(model, prompt, **generate arguments) -> [(token ids up to the first EOS, sequence score or None)]."""

    def generate(model, prompt, **arguments):
        ids = torch.tensor([list(prompt)])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
            **arguments,
        )
        eos = model.generation_config.eos_token_id
        eos = [eos] if isinstance(eos, int) else eos or []
        rows = [row[len(prompt) :] for row in out.sequences.tolist()]
        ends = [next((i + 1 for i, token in enumerate(row) if token in eos), len(row)) for row in rows]
        scores = getattr(out, "sequences_scores", None)
        scores = [None] * len(rows) if scores is None else scores.tolist()
        return [(tuple(row[:end]), score) for row, end, score in zip(rows, ends, scores, strict=True)]

    return generate
