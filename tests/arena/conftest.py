"""An Arena over a home folder whose two models are tiny Llamas."""

import shutil

import pytest


@pytest.fixture
def arena(home, settings, tiny_model_folder):
    """An Arena that knows the tiny model as "starter" and, with other weights, as a finished run."""
    from llmdemo.arena import Arena

    shutil.copytree(tiny_model_folder, home.models / "starter")
    return Arena(home, settings)


@pytest.fixture
def second_model(home, tiny_model_folder, make_tiny_llama) -> str:
    """The id of a model with the same tokenizer and other weights."""
    folder = home.runs / "run-20260101-000000-abcdef" / "model"
    shutil.copytree(tiny_model_folder, folder)
    make_tiny_llama(seed=1).save_pretrained(folder)
    return "run-20260101-000000-abcdef"


@pytest.fixture
def make_tiny_llama(tiny_tokenizer):
    """make_tiny_llama(seed) → a Llama for the tiny tokenizer, as the shared fixture's but with another seed."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    def make(seed: int):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tiny_tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
            tie_word_embeddings=True,
            initializer_range=0.15,
        )
        return AutoModelForCausalLM.from_config(config).eval()

    return make


@pytest.fixture
def kept_steps(home, second_model) -> str:
    """The id of a run whose kept step 0 has the starter's weights and step 4 the finished model's."""
    from safetensors.torch import load_file, save_file

    from llmdemo.core import store
    from llmdemo.models import steps

    folder = home.runs / second_model / steps.FOLDER
    folder.mkdir()
    for file, model in ((steps.START, home.models / "starter"), (steps.file_of(4), home.runs / second_model / "model")):
        save_file(load_file(model / "model.safetensors"), folder / file)
    store.write_json(folder / steps.INDEX, {"steps": [0, 4], "every": 4, "asked": 4})
    return second_model
