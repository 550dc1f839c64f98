"""The presets: each config makes as many weights as were published, and is told without a folder or a network."""

import re
import socket

import pytest
import torch
import transformers

from llmdemo.core.errors import UserError
from llmdemo.models import presets
from llmdemo.models.architecture import architecture, block_of
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.load import load_config, load_outline

PRESETS = {each.id: each for each in presets.list_presets()}
FUSED = {"microsoft/Phi-3-mini-4k-instruct": ("self_attn.qkv_proj", "mlp.gate_up_proj"),
         "EleutherAI/pythia-410m": ("attention.query_key_value", "mlp.dense_h_to_4h")}  # fmt: skip


@pytest.fixture(autouse=True)
def without_a_network(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("nothing is fetched"))


@pytest.mark.parametrize("model_id", PRESETS)
def test_a_presets_config_makes_as_many_weights_as_were_published(model_id):
    preset = PRESETS[model_id]
    model = load_outline(preset.entry(), torch.float32)
    assert sum(p.numel() for p in model.parameters()) == preset.parameters
    assert type(model).__name__ == preset.config["architectures"][0]


def test_a_config_that_is_off_by_a_layer_would_be_seen():
    preset = PRESETS["Qwen/Qwen3-0.6B"]
    wrong = {**preset.config, "num_hidden_layers": preset.config["num_hidden_layers"] - 1}
    config = transformers.AutoConfig.for_model(wrong.pop("model_type"), **wrong)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in model.parameters()) != preset.parameters


def test_every_preset_names_for_each_of_its_facts_the_text_that_says_so():
    families = {each.family for each in PRESETS.values()}
    assert {"SmolLM2", "Qwen3", "Llama 3.2", "Llama 3", "Gemma 3", "Phi-3", "Phi-3.5", "OLMo 2", "Pythia"} == families
    for preset in PRESETS.values():
        facts = preset.facts()
        assert facts["licence"] and facts["data"] and facts["tokens"] > 2.9e11
        assert set(facts["sources"]) == set(presets.FACTS)
        for address in (facts["source"], *facts["sources"].values()):
            assert re.fullmatch(r"https://[^\s{}]+", address)
        assert preset.gated is (preset.family.startswith(("Llama", "Gemma")))
        assert {"layers", "heads", "kv_heads", "width", "context", "vocabulary", "title"} <= facts.keys()


def test_the_context_is_what_the_authors_name_and_a_run_may_use_what_the_config_allows():
    preset = PRESETS["Qwen/Qwen3-0.6B"]
    assert preset.facts()["context"] == 32_768 and preset.entry().context == 40_960


def test_an_unknown_preset_is_a_sentence():
    with pytest.raises(UserError, match="no preset 'org/none'"):
        presets.preset("org/none")
    with pytest.raises(UserError, match="is not here yet"):
        load_config(ModelEntry("org/none", "none", "hub", None))


@pytest.mark.parametrize("model_id", PRESETS)
def test_the_parts_of_a_model_are_all_of_its_weights_each_once(model_id):
    found = architecture(PRESETS[model_id].entry())
    assert sum(part["parameters"] for part in found["parts"]) == found["parameters"] == PRESETS[model_id].parameters
    assert found["tied"] is bool(PRESETS[model_id].config["tie_word_embeddings"])
    assert {part["block"] for part in found["parts"]} == {"embedding", "attention", "mlp", "norm"} | (
        set() if found["tied"] else {"head"}
    )
    for part in found["parts"]:
        assert part["in_layers"] is (part["count"] == found["layers"])
    names = {part["name"] for part in found["parts"]}
    assert names.issuperset(FUSED.get(model_id, ()))


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("lm_head.weight", "head"),
        ("embed_out.weight", "head"),
        ("score.weight", "head"),
        ("transformer.wte.weight", "embedding"),
        ("model.norm.weight", "norm"),
        ("model.layers.*.self_attn.q_norm.weight", "norm"),
        ("transformer.h.*.ln_1.bias", "norm"),
        ("transformer.h.*.attn.c_attn.weight", "attention"),
        ("model.layers.*.block_sparse_moe.experts.w1", "mlp"),
        ("model.layers.*.mixer.in_proj.weight", "attention"),
        ("something", "other"),
    ],
)
def test_a_tensors_block_is_told_by_its_name(name, block):
    assert block_of(name) == block


def test_a_model_of_the_catalog_is_pictured_too(tiny_model_folder):
    found = architecture(ModelEntry("tiny", "tiny", "folder", tiny_model_folder))
    assert found["parts"][0]["name"] == "embed_tokens" and found["parameters"] > 0


def test_the_starter_and_presets_say_which_languages_they_were_made_for_and_unknown_models_do_not():
    assert presets.languages_of("starter") == presets.languages_of("HuggingFaceTB/SmolLM2-135M") == ("en",)
    assert "zh" in presets.languages_of("Qwen/Qwen3-0.6B@abc")
    assert presets.languages_of("run-20260101-000000-abcdef") == ()
    speakers = presets.speakers()
    assert speakers[0]["id"] == "Qwen/Qwen3-0.6B" and "meta-llama/Llama-3.2-1B" not in {each["id"] for each in speakers}
