"""GGUF files against transformers' own reader, and against the gguf package's: the same logits, tokens and template."""

import json
import shutil

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmdemo.core.errors import UserError
from llmdemo.serving import gguf_shapes
from llmdemo.serving.export_worker import round_weights
from llmdemo.serving.exports import QUANTISATIONS
from llmdemo.serving.gguf_tokenizer import split_name
from llmdemo.serving.gguf_write import write_gguf
from tests.serving.gguf_models import MODELS, make

IDS = torch.tensor([[5, 40, 7, 99, 120, 33, 8, 61, 200, 14]])


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits.float()


def distance(folder, target) -> float:
    """Of the logits that transformers computes from the GGUF, from those of the folder, relative to their size."""
    own = logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))
    read = AutoModelForCausalLM.from_pretrained(target.parent, gguf_file=target.name, dtype=torch.float32)
    return float((logits(read) - own).norm() / own.norm())


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("gemma", "llama 3")])
def test_transformers_reads_the_same_model_from_the_gguf(name, tiny_tokenizer, tmp_path):
    folder = make(name, tiny_tokenizer, tmp_path / "model")
    write_gguf(folder, tmp_path / "model.gguf", "f16", "tiny")
    assert distance(folder, tmp_path / "model.gguf") < 2e-3


def test_without_the_order_that_llama_cpp_wants_it_would_be_another_model(tiny_tokenizer, tmp_path, monkeypatch):
    """The well-known mistake: rows of queries and keys as transformers keeps them."""
    folder = make("llama", tiny_tokenizer, tmp_path / "model")
    monkeypatch.setitem(gguf_shapes.SHAPES, "llama", gguf_shapes.Shape(gguf_shapes.SHAPES["llama"].arch))
    write_gguf(folder, tmp_path / "model.gguf", "f16", "wrong")
    assert distance(folder, tmp_path / "model.gguf") > 0.1


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_the_numbers_in_the_file_are_those_whose_loss_is_told(quantisation, tiny_tokenizer, tmp_path):
    folder = make("llama", tiny_tokenizer, tmp_path / "model")
    write_gguf(folder, tmp_path / "model.gguf", quantisation, "tiny")
    rounded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    round_weights(rounded, folder, quantisation)
    read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    assert torch.allclose(logits(rounded), logits(read), atol=2e-3)
    types = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    assert types["blk.0.ffn_up.weight"] == quantisation.upper() and types["blk.0.attn_norm.weight"] == "F32"
    assert types["token_embd.weight"] == ("Q8_0" if quantisation == "q4_0" else quantisation.upper())


def text_of(reader, key) -> str:
    return bytes(reader.get_field(key).parts[-1]).decode()


def test_the_tokenizer_and_the_chat_template_are_in_the_file(tiny_tokenizer, tmp_path):
    folder = make("llama", tiny_tokenizer, tmp_path / "model")
    write_gguf(folder, tmp_path / "model.gguf", "q8_0", "tiny")
    reader = GGUFReader(tmp_path / "model.gguf")
    assert text_of(reader, "tokenizer.chat_template") == tiny_tokenizer.chat_template
    assert text_of(reader, "tokenizer.ggml.pre") == "gpt-2"
    assert int(reader.get_field("tokenizer.ggml.eos_token_id").parts[-1][0]) == tiny_tokenizer.eos_token_id
    read = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    text = "The capital of France is Paris, 42 times!"
    assert read(text)["input_ids"] == tiny_tokenizer(text)["input_ids"]


def test_rows_without_a_token_get_one_that_no_text_holds(tiny_tokenizer, tmp_path, monkeypatch):
    from tests.serving import gguf_models

    folder = make("llama", tiny_tokenizer, tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tiny_tokenizer) + 8)
    model.save_pretrained(folder)
    write_gguf(folder, tmp_path / "model.gguf", "f16", "padded")
    reader = GGUFReader(tmp_path / "model.gguf")
    assert len(reader.get_field("tokenizer.ggml.tokens").data) == len(tiny_tokenizer) + 8
    model.resize_token_embeddings(len(tiny_tokenizer) - 8)
    model.save_pretrained(folder)
    with pytest.raises(UserError, match="rows"):
        write_gguf(folder, tmp_path / "small.gguf", "f16", "small")
    assert not (tmp_path / "small.gguf").exists()
    assert gguf_models.MODELS


SPLITS = [
    ({"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}, "gpt-2"),
    (
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            ],
        },
        "smollm",
    ),
]


@pytest.mark.parametrize("pre, name", SPLITS)
def test_rules_of_splitting_have_llama_cpps_name(pre, name):
    assert split_name(pre) == name


def test_rules_of_splitting_that_are_not_known_are_refused(tiny_tokenizer, tmp_path):
    with pytest.raises(UserError, match="Whitespace"):
        split_name({"type": "Whitespace"})
    digits = {"type": "Digits", "individual_digits": False}
    with pytest.raises(UserError, match="split"):
        split_name({"type": "Sequence", "pretokenizers": [digits, SPLITS[0][0]]})


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "yarn"),
        ({"model_type": "mistral", "sliding_window": 32}, "window"),
    ],
)
def test_what_llama_cpp_would_read_wrongly_is_refused_with_a_sentence(changes, said, tiny_model_folder, tmp_path):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(UserError, match=said):
        write_gguf(folder, tmp_path / "model.gguf", "f16", "wrong")
    assert not (tmp_path / "model.gguf").exists()


def test_llama_3s_factors_are_those_of_transformers():
    from transformers.models.llama.configuration_llama import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig(**MODELS["llama 3"][1], hidden_size=512, num_attention_heads=4, max_position_embeddings=512)
    scaled = LlamaRotaryEmbedding(config).inv_freq.double().numpy()
    theta = config.rope_parameters["rope_theta"]
    plain = 1 / theta ** (np.arange(0, 128, 2) / 128)
    factors = gguf_shapes.rope_factors(config.to_dict())
    assert factors.shape == (64,) and np.allclose(plain / factors, scaled, rtol=1e-4)
    assert len(set(np.round(factors, 3))) > 3
