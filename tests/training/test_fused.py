"""Architectures that join projections (qkv, gate and up) or norm queries and keys: GaLore takes each matrix as it is,
and steps as galore_torch does."""

import copy

import pytest
import torch
import transformers

from llmdemo.models.presets import list_presets
from llmdemo.training import build_optimizer
from llmdemo.training.targets import find_targets

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 96,
        "max_position_embeddings": 64, "pad_token_id": 0}  # fmt: skip
GROUPED = {**TINY, "num_key_value_heads": 2, "head_dim": 8}
PHI3 = {key: value for key, value in GROUPED.items() if key != "head_dim"}
APART = {"q_proj": (32, 32), "k_proj": (16, 32), "v_proj": (16, 32), "o_proj": (32, 32)}
MLP = {"gate_proj": (48, 32), "up_proj": (48, 32), "down_proj": (32, 48)}
FAMILIES = {
    "phi3": (PHI3, {"qkv_proj": (64, 32), "o_proj": (32, 32), "gate_up_proj": (96, 32), "down_proj": (32, 48)}),
    "gemma3_text": ({**GROUPED, "sliding_window": 4}, {**APART, **MLP}),
    "qwen3": (GROUPED, {**APART, **MLP}),
    "olmo2": (GROUPED, {**APART, **MLP}),
    "gpt_neox": (TINY, {"query_key_value": (96, 32), "dense": (32, 32), "dense_h_to_4h": (48, 32), "dense_4h_to_h": (32, 48)}),
    "llama": (GROUPED, {**APART, **MLP}),
}  # fmt: skip


def random_model(name):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, **FAMILIES[name][0])
    return transformers.AutoModelForCausalLM.from_config(config).double().train()


def test_every_presets_architecture_is_one_that_is_proven_here():
    assert {each.config["model_type"] for each in list_presets()} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_matrix_of_attention_and_mlp_is_a_target_as_it_is(name):
    found = find_targets(random_model(name))
    expected = FAMILIES[name][1]
    assert len(found) == 2 * len(expected)
    assert {each.name.rpartition(".")[2]: tuple(each.weight.shape) for each in found} == expected


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.slow
def test_its_steps_are_those_of_galore_torch(name, tools):
    config = tools.make_config(refresh="svd", stagger=False, rank=4, update_proj_gap=3)
    model = random_model(name)
    theirs, start = copy.deepcopy(model), copy.deepcopy(model)
    batches = tools.token_batches(16)
    tools.train(model, config, batches, 2)
    optimizer = tools.galore_torch_optimizer(theirs, config)
    for first in range(0, len(batches), 2):
        for ids in batches[first : first + 2]:
            tools.backward(theirs, ids, 1 / 2)
        optimizer.step()
        optimizer.zero_grad()
    assert tools.distance(model, theirs) <= 1e-5
    assert tools.distance(model, start) > 0.02
    apart = random_model(name)
    slots = build_optimizer(apart, config).slots
    assert {tuple(slot.weight.shape) for slot in slots} == set(FAMILIES[name][1].values())
