"""The real starter model: what tiny random models cannot show."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmdemo.decoding import DecodeSettings, decode_lanes
from llmdemo.decoding.backend import forward_for
from llmdemo.decoding.fused_llama import FusedLlamaForward

pytestmark = pytest.mark.slow
QUESTION = "Name three primary colours and say in one sentence what each makes people feel."


@pytest.fixture(scope="module")
def starter(starter_model):
    tokenizer = AutoTokenizer.from_pretrained(starter_model)
    model = AutoModelForCausalLM.from_pretrained(starter_model, dtype=torch.float32, use_safetensors=True).eval()
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], tokenize=False, add_generation_prompt=True
    )
    return model, tokenizer(text, add_special_tokens=False)["input_ids"]


def test_the_starter_model_gets_the_fused_forward(starter):
    assert isinstance(forward_for(starter[0]), FusedLlamaForward)


@pytest.mark.parametrize("stopping", [False, True])
def test_greedy_and_beams_of_the_starter_model_are_those_of_generate(starter, reference, stopping):
    model, prompt = starter
    values = dict(max_new_tokens=32, num_beams=4, early_stopping=stopping)
    lanes = ["beam"] if stopping else ["greedy", "top_p", "beam"]
    steps = decode_lanes(model, prompt, DecodeSettings.from_dict({**values, "lanes": lanes}))
    results = {name: result for step in steps for name, result in step.results.items()}
    if not stopping:
        assert results["greedy"].token_ids == reference(model, prompt, max_new_tokens=32)[0][0]
    tokens, score = reference(model, prompt, **values)[0]
    assert results["beam"].token_ids == tokens
    assert results["beam"].score == pytest.approx(score, abs=1e-4)


def test_the_starter_model_says_the_same_in_a_crowd_and_alone(starter):
    model, prompt = starter
    extra = [{"strategy": "top_p", "name": f"p{i}", "top_p": 0.5 + i / 20} for i in range(6)]
    texts = []
    for lanes in (["top_p"], ["greedy", "top_k", "top_p", "beam", *extra]):
        settings = DecodeSettings.from_dict({"max_new_tokens": 24, "seed": 2, "lanes": lanes})
        texts.append(
            [r.token_ids for s in decode_lanes(model, prompt, settings) for n, r in s.results.items() if n == "top_p"]
        )
    assert texts[0] == texts[1]
