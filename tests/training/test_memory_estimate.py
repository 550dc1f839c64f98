"""The memory estimate's figures against the bytes of real tensors, and what is told to fit."""

from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.load import load_causal
from llmdemo.training import TrainConfig, build_optimizer, memory_estimate
from llmdemo.training import device as devices
from llmdemo.training.adapters import add_adapters
from llmdemo.training.best import trained
from llmdemo.training.checks import check_gpus
from llmdemo.training.measured import optimizer_bytes
from llmdemo.training.quantised import quantise
from tests.conftest import make_llama

BATCH = memory_estimate.Batch(records=2, length=12, trained=20)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_tokenizer):
    """A tiny Llama with some matrices large enough for 8-bit moments."""
    made = tmp_path_factory.mktemp("ledger")
    make_llama(len(tiny_tokenizer), hidden_size=64, intermediate_size=160).save_pretrained(made)
    tiny_tokenizer.save_pretrained(made)
    return made


@pytest.fixture
def entry(folder):
    return ModelEntry("m", "M", "folder", folder, task="chat")


@pytest.mark.parametrize("precision", ["fp32", "bf16_pure"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"proj_type": "full"},
        {"rank": 48, "optim_bits": 8},
        {"basis_bits": 8, "proj_type": "reverse_std"},
        {"basis_bits": 4, "proj_type": "full"},
        {"target_modules": ("q_proj", "up_proj")},
        {"weight_bits": 8},
        {"weight_bits": 8, "target_modules": ("q_proj", "up_proj"), "basis_bits": 8},
        {"galore_optimizer": "adafactor"},
        {"galore_optimizer": "adafactor", "beta1": 0.0},
        {"method": "adamw"},
        {"method": "adamw", "optim_bits": 8},
        {"method": "lora"},
    ],
    ids=lambda changes: " ".join(f"{key}={value}" for key, value in changes.items()) or "galore",
)
@pytest.mark.slow
def test_weights_moments_bases_and_gradients_are_predicted_to_the_byte(folder, entry, tools, changes, precision):
    config = tools.make_config(**{"update_proj_gap": 1000, "rank": 8, "precision": precision, **changes})
    model, _ = load_causal(folder, dtype=devices.weight_dtype(precision), device=CPU)
    if config.method == "lora":
        model = add_adapters(model, config)
    if config.quantises:
        model = quantise(model, config.target_modules, CPU)
    optimizer = build_optimizer(model, config)
    # The first steps give each matrix its subspace; then no full gradient is left.
    for ids in tools.token_batches(8):
        tools.backward(model, ids)
        optimizer.step()
    tools.backward(model, tools.token_batches(1)[0])
    found, held = memory_estimate.predict(entry, config, BATCH, CPU), optimizer_bytes(optimizer)
    held_weights = trained(model) if config.quantises else dict(model.named_parameters())
    assert found.weights == sum(t.numel() * t.element_size() for t in held_weights.values())
    assert found.moments == held["moments"]
    assert found.subspace == held["subspace"]
    assert found.gradients == sum(g.numel() * g.element_size() for g in optimizer.gradients())


@pytest.mark.parametrize("changes", [{}, {"method": "adamw"}, {"method": "lora"}, {"gradient_accumulation_steps": 4}])
@pytest.mark.parametrize("batch", [memory_estimate.Batch(1, 8, 4), memory_estimate.Batch(16, 128, 900)])
def test_the_parts_with_what_comes_and_goes_are_the_prediction(entry, changes, batch):
    config = TrainConfig(dataset_id="x", rank=4, **changes)
    told = memory_estimate.predict(entry, config, batch, torch.device("cpu")).to_dict()
    assert sum(told[part] for part in memory_estimate.PARTS) + told["other"] - told["apart"] == told["total"]
    assert min(told["other"], told["apart"]) == 0


@pytest.mark.parametrize(("records", "heaped"), [(2, True), (64, False)], ids=["small blocks", "large blocks"])
def test_a_pass_whose_pages_are_given_back_leaves_gaps_beside_its_own_small_blocks(entry, records, heaped):
    """On a CPU. Mutations: gaps of several passes, gaps beside large blocks too, a tied head's gradient counted beside the sums
    that it is added to."""
    config = TrainConfig("x", rank=4, optim_bits=8, gradient_accumulation_steps=4, batch_size=records, precision="fp32")
    batch = memory_estimate.Batch(records, 512, 511 * records)
    told = memory_estimate.predict(entry, config, batch, CPU)
    model, _ = load_causal(entry.path, dtype=torch.float32, device=CPU)
    low = told.gradients - sum(4 * p.numel() for p in build_optimizer(model, config).others)
    assert 0 < low < told.gradients
    assert told.other == low + (told.activations if heaped else 0)


def test_the_step_of_a_run_that_gives_pages_back_finds_no_gaps(entry):
    """Mutation: the gaps that passes leave, added to it."""
    config = TrainConfig("x", rank=4, optim_bits=8)
    told = memory_estimate.predict(entry, config, memory_estimate.Batch(1, 4, 2), CPU)
    embedding = load_causal(entry.path, dtype=torch.float32, device=CPU)[0].get_input_embeddings().weight
    held = told.runtime + told.weights + told.subspace + told.moments + told.gradients
    assert told.total == held + 5 * 4 * embedding.numel()  # bitsandbytes' copies of the largest weight


@pytest.mark.parametrize("method", ["adamw", "lora"])
def test_sums_that_a_method_does_not_have_take_nothing_off_a_gpu(entry, method):
    config = TrainConfig("x", rank=4, method=method, precision="fp32")
    gpu = torch.device("cuda")
    told = memory_estimate.predict(entry, config, BATCH, gpu)
    assert memory_estimate.predict(entry, replace(config, offload_gradients=True), BATCH, gpu) == told


def test_processes_that_share_a_machine_must_fit_together(entry, monkeypatch):
    one = memory_estimate.report(entry, TrainConfig("x", rank=4), BATCH, CPU)
    room = int(1.5 * one["predicted"]["total"])
    monkeypatch.setattr(devices, "available_bytes", lambda device: room)
    assert memory_estimate.report(entry, TrainConfig("x", rank=4), BATCH, CPU)["fits"]
    two = memory_estimate.report(entry, TrainConfig("x", rank=4, num_processes=2), BATCH, CPU)
    assert two["needed"] == 2 * two["predicted"]["total"] and not two["fits"]
    assert memory_estimate.report(entry, TrainConfig("x", rank=4, num_processes=2), BATCH, CPU, taken=room)["fits"]
    two_machines = memory_estimate.report(entry, TrainConfig("x", rank=4, num_processes=2), BATCH, CPU, here=1)
    assert two_machines["needed"] == two_machines["predicted"]["total"] and two_machines["fits"]
    # On GPUs each has memory of its own.
    gpu = memory_estimate.report(
        entry, TrainConfig("x", rank=4, num_processes=2, precision="fp32"), BATCH, torch.device("cuda")
    )
    assert gpu["needed"] == gpu["predicted"]["total"]


def test_more_processes_than_gpus_are_refused_with_what_to_set():
    with pytest.raises(UserError, match="num_processes is 4, and there are 2 GPUs.*to 2 or less"):
        check_gpus(TrainConfig("x", num_processes=4), 2)
    check_gpus(TrainConfig("x", num_processes=2), 2)
    check_gpus(TrainConfig("x", num_processes=4), 0)
    check_gpus(TrainConfig("x", num_processes=4), 2, here=2)  # the other two are on another machine


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1000", "memory.current": "900", "memory.stat": "file 700\ninactive_file 600"}, 700),
        ({"memory.max": "1000", "memory.current": "900"}, 100),
        ({"memory.max": "max", "memory.current": "900", "memory.stat": "inactive_file 600"}, 10_000),
        ({"memory.max": "1000", "memory.current": "300", "memory.stat": "inactive_file 600"}, 1000),
        (
            {
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.usage_in_bytes": "950",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 450",
            },
            500,
        ),
        ({}, 10_000),
    ],
    ids=["v2", "no memory.stat", "no limit", "more cache than used", "v1", "no container"],
)
def test_a_containers_page_cache_counts_as_free(tmp_path, monkeypatch, files, expected):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    monkeypatch.setattr(devices, "CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    assert devices.available_bytes(CPU) == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["galore", "lora"])
@pytest.mark.slow
def test_a_few_layers_tell_what_all_save(precision, method, monkeypatch):
    from transformers import LlamaConfig, LlamaForCausalLM

    from llmdemo.training import activation_estimate
    from llmdemo.training.adapters import add_adapters

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=9, num_attention_heads=4,
            num_key_value_heads=2,
        ))  # fmt: skip
    if method == "lora":
        model = add_adapters(model, TrainConfig("x", method="lora", rank=4))
    activation_estimate.AttentionInterface.register(
        activation_estimate._ATTENTION, activation_estimate._fused_attention
    )
    few = activation_estimate.saved_bytes(model, 3, 40, precision, torch.device("cpu"))
    assert activation_estimate._alike_layers(model) is not None
    monkeypatch.setattr(activation_estimate, "_alike_layers", lambda model: None)
    assert few == activation_estimate.saved_bytes(model, 3, 40, precision, torch.device("cpu")) and not few[1]


def test_layers_of_several_kinds_are_all_laid_out():
    from transformers import LlamaConfig, LlamaForCausalLM

    from llmdemo.training import activation_estimate

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=5))
    assert activation_estimate._alike_layers(model) is not None
    model.model.layers[3].mlp.up_proj = torch.nn.Linear(32, 96, device="meta")
    assert activation_estimate._alike_layers(model) is None
