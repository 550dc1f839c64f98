"""What a run says of settings that do nothing, and what it does with those at the edge."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.settings.training import METHODS, TASKS
from llmdemo.training import TrainConfig, build_optimizer, worker
from llmdemo.training.adapters import add_adapters
from llmdemo.training.checks import clamped, unused


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_defaults_are_never_told_of(method, task):
    if (task, method) == ("pretrain", "lora"):
        return  # refused
    config = TrainConfig.from_dict({"dataset_id": "d", "method": method, "task": task})
    assert unused(config, "cpu") == unused(config.resolved(), "cuda") == []


def test_the_clip_of_dapo_is_told_of_only_where_somebody_set_it():
    def told(**changes):
        return unused(
            TrainConfig.from_dict({"dataset_id": "d", "task": "grpo", "policy_loss": "dapo", **changes}), "cpu"
        )

    assert told() == told(rollout_steps=2, clip_high=0.4) == [] and len(told(clip_high=0.4)) == 1


@pytest.mark.parametrize(
    ("changes", "device", "words"),
    [
        (
            {"method": "adamw", "target_modules": ["q_proj"]},
            "cpu",
            "target_modules has no effect: it is for GaLore or LoRA, and the method is AdamW",
        ),
        ({"method": "adamw", "rank": 8}, "cpu", "rank has no effect: it is for GaLore or LoRA"),
        ({"method": "adamw", "scale": 3.0}, "cpu", "scale has no effect: it is for GaLore or LoRA"),
        (
            {"method": "lora", "basis_bits": 8},
            "cpu",
            "basis_bits has no effect: it is for GaLore, and the method is LoRA",
        ),
        ({"method": "lora", "offload_gradients": True}, "cuda", "offload_gradients has no effect: it is for GaLore"),
        ({"method": "adamw", "proj_type": "full"}, "cpu", "proj_type has no effect"),
        ({"method": "adamw", "refresh": "svd"}, "cpu", "refresh has no effect"),
        ({"method": "adamw", "galore_optimizer": "adafactor"}, "cpu", "galore_optimizer has no effect"),
        ({"method": "adamw", "stagger": False}, "cpu", "stagger has no effect"),
        ({"method": "adamw", "update_proj_gap": 5}, "cpu", "update_proj_gap has no effect"),
        ({"offload_gradients": True}, "cpu", "offload_gradients has no effect: without an NVIDIA GPU"),
        ({"method": "adamw", "weight_bits": 8}, "cuda", "weight_bits has no effect: it is for GaLore"),
        ({"task": "grpo", "weight_bits": 8}, "cuda", "weight_bits has no effect: it is for the task"),
        ({"weight_bits": 8, "optim_bits": 8}, "cuda", "optim_bits has no effect: with weight_bits 8"),
        ({"weight_bits": 8, "offload_gradients": True}, "cuda", "offload_gradients has no effect: with weight_bits 8"),
        ({"galore_optimizer": "adafactor", "beta2": 0.99}, "cpu", "beta2 has no effect: Adafactor"),
        ({"galore_optimizer": "adafactor", "eps": 1e-6}, "cpu", "eps has no effect: Adafactor"),
        (
            {"task": "classify", "packing": True},
            "cpu",
            "packing has no effect: it is for the task chat, text or pretrain",
        ),
        ({"task": "preference", "packing": True}, "cpu", "packing has no effect"),
        ({"class_weights": "balanced"}, "cpu", "class_weights has no effect: it is for the task classify"),
        (
            {"task": "text", "loss_on": "all"},
            "cpu",
            "loss_on has no effect: it is for the task chat, and this one is text",
        ),
        ({"beta": 0.5}, "cpu", "beta has no effect: it is for the task preference"),
        ({"task": "grpo", "clip_high": 0.5}, "cpu", "clip_high has no effect: with rollout_steps 1 the ratio"),
    ],
    ids=lambda value: next(reversed(value)) if isinstance(value, dict) else "",
)
def test_a_changed_setting_that_does_nothing_is_named_with_the_reason(changes, device, words):
    (told,) = unused(TrainConfig.from_dict({"dataset_id": "d", **changes}), device)
    assert words in told


@pytest.mark.parametrize(
    ("changes", "device"),
    [
        ({"offload_gradients": True}, "cuda"),
        ({"method": "lora", "target_modules": ["q_proj"], "rank": 8}, "cpu"),
        ({"galore_optimizer": "adafactor", "beta1": 0.8}, "cpu"),
        ({"packing": True}, "cpu"),
        ({"task": "text", "packing": False}, "cpu"),
    ],
)
def test_a_changed_setting_that_works_is_not_told_of(changes, device):
    assert unused(TrainConfig.from_dict({"dataset_id": "d", **changes}), device) == []


def test_a_rank_above_some_matrices_is_told_of(llama64, tools):
    slots = build_optimizer(llama64(), tools.make_config(rank=20)).slots
    (told,) = clamped([slot.subspace for slot in slots], 20)
    assert told.startswith("rank 20 exceeds what 4 of 14 matrices have") and "at least 16" in told
    assert clamped([slot.subspace for slot in slots], 16) == []


def test_a_run_says_what_does_nothing_in_it(make_run):
    run_dir = make_run(rank=24, offload_gradients=True, max_steps=1)
    assert worker.main(run_dir) == 0
    notes = [event["message"] for event in read_events(run_dir / "events.jsonl")[0] if event["type"] == "note"]
    assert any("rank 24 exceeds what" in note for note in notes)
    assert any("offload_gradients has no effect" in note for note in notes)


@pytest.mark.parametrize(("rank", "scale"), [(8, 0.05), (8, 1.0), (3, 0.5), (16, 4.0)])
def test_loras_scale_is_what_was_asked_for(llama64, tools, rank, scale):
    model = add_adapters(llama64(), tools.make_config(method="lora", rank=rank, scale=scale))
    scales = [module.scaling["default"] for module in model.modules() if hasattr(module, "lora_A")]
    assert scales and all(found == pytest.approx(scale) for found in scales)


def test_adapters_above_every_matrix_are_refused_as_subspaces_are(llama64, tools):
    with pytest.raises(UserError, match="rank 33 is larger than every matrix of this model .the largest allows 32"):
        add_adapters(llama64(), tools.make_config(method="lora", rank=33))
    add_adapters(llama64(), tools.make_config(method="lora", rank=32))
