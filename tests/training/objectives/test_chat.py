"""Samples of a chat run: prompts longer than a model's positions."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from llmdemo.training import TrainConfig
from llmdemo.training.objectives.base import SAMPLE_TOKENS, Place
from llmdemo.training.objectives.chat import write


@pytest.mark.parametrize(("positions", "length"), [(128, 1024), (128, 128 - SAMPLE_TOKENS + 1), (128, 5), (32, 100)])
def test_a_prompt_and_its_answer_stay_within_the_models_positions(tiny_tokenizer, positions, length, monkeypatch):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tiny_tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=positions,
                        bos_token_id=1, eos_token_id=2)  # fmt: skip
    model, asked = GPT2LMHeadModel(config).eval(), {}
    plain = model.generate

    def generate(**given):
        asked.update(given)
        return plain(**given | {"eos_token_id": None, "min_new_tokens": given["max_new_tokens"]})

    monkeypatch.setattr(model, "generate", generate)
    place = Place(model, tiny_tokenizer, TrainConfig("x"), "fp32", torch.device("cpu"))
    prompt = [3 + n % 50 for n in range(length)]
    assert isinstance(write(place, prompt), str)
    kept = asked["input_ids"][0].tolist()
    assert kept == prompt[-len(kept) :] and len(kept) + asked["max_new_tokens"] <= positions
    assert len(kept) == length or len(kept) + asked["max_new_tokens"] == positions, "no more is cut than must be"
    assert asked["max_new_tokens"] == min(SAMPLE_TOKENS, positions // 2)
