"""Samples of a chat run: prompts longer than a model's positions."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from llmdemo.training import TrainConfig
from llmdemo.training.objectives import chat, writing
from llmdemo.training.objectives.base import SAMPLE_TOKENS, Place


@pytest.mark.parametrize(("positions", "length"), [(128, 1024), (128, 128 - SAMPLE_TOKENS + 1), (128, 5), (32, 100)])
def test_a_prompt_and_its_answer_stay_within_the_models_positions(tiny_tokenizer, positions, length, monkeypatch):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tiny_tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=positions,
                        bos_token_id=1, eos_token_id=2)  # fmt: skip
    model, asked = GPT2LMHeadModel(config).eval(), {}
    plain = writing.greedy

    def greedy(model, prompts, new, *rest, **more):
        asked.update(prompt=prompts[0], new=new)
        (answer,) = plain(model, prompts, new, *rest, **more | {"end_ids": []})
        assert len(answer.token_ids) == new
        return [answer]

    monkeypatch.setattr(writing, "greedy", greedy)
    place = Place(model, tiny_tokenizer, TrainConfig("x"), "fp32", torch.device("cpu"))
    prompt = [3 + n % 50 for n in range(length)]
    assert isinstance(chat.write(place, [prompt])[0], str)
    kept = asked["prompt"]
    assert kept == prompt[-len(kept) :] and len(kept) + asked["new"] <= positions
    assert len(kept) == length or len(kept) + asked["new"] == positions, "no more is cut than must be"
    assert asked["new"] == min(SAMPLE_TOKENS, positions // 2)


@pytest.mark.parametrize("tied", [True, False])
def test_samples_are_written_together_as_generate_writes_each(tiny_model_folder, tiny_tokenizer, tied):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    if not tied:  # a model that the fused forward does not know goes through its own
        model.model.layers[0].mlp.act_fn = torch.nn.SiLU()
        model.config.hidden_act = "gelu"
    place = Place(model, tiny_tokenizer, TrainConfig("x"), "fp32", torch.device("cpu"))
    prompts = [[5, 6, 7], [9] * 17]
    for prompt, text in zip(prompts, chat.write(place, prompts), strict=True):
        ids = torch.tensor([prompt])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=SAMPLE_TOKENS,
                             eos_token_id=tiny_tokenizer.eos_token_id, pad_token_id=place.pad)  # fmt: skip
        assert text == tiny_tokenizer.decode(out[0, len(prompt) :], skip_special_tokens=True)
