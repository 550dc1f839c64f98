"""Settings that somebody changed and that do nothing in a run: each is a sentence, with the reason. Imports no torch."""

from dataclasses import fields

from llmdemo.training.config import TASK_DEFAULTS, TrainConfig

_METHODS = {"galore": "GaLore", "adamw": "AdamW", "lora": "LoRA"}
_OF_GALORE = (
    "update_proj_gap", "proj_type", "refresh", "stagger", "galore_optimizer", "basis_bits", "offload_gradients",
)  # fmt: skip
_OF_TASKS = {
    "packing": ("chat", "text"),
    "loss_on": ("chat", "text"),
    "replay_dataset_id": ("text",),
    "replay_share": ("text",),
    "forgetting_dataset_id": ("text",),
    "class_weights": ("classify",),
    "least_loss": ("classify",),
    "preference_loss": ("preference",),
    "beta": ("preference",),
    "label_smoothing": ("preference",),
}


def unused(config: TrainConfig, device: str) -> list[str]:
    """A sentence for each setting that is not its default and has no effect; `device`: torch's type, such as "cpu"."""
    changed = _changed(config)
    reasons = _by_method(config) | _by_task(config)
    if config.method == "galore" and device != "cuda":
        reasons["offload_gradients"] = "without an NVIDIA GPU, gradients are in the computer's memory anyway"
    return [f"{name} has no effect: {reason}." for name, reason in reasons.items() if name in changed]


def _by_method(config: TrainConfig) -> dict[str, str]:
    if config.method != "galore":
        reasons = dict.fromkeys(_OF_GALORE, f"it is GaLore's, and the method is {_METHODS[config.method]}")
        if config.method == "adamw":
            reasons |= dict.fromkeys(("rank", "scale", "target_modules"), "AdamW trains all weights, as they are")
        return reasons
    if config.galore_optimizer == "adafactor":
        own = {
            "beta2": "Adafactor's second moment decays by a rule of its own",
            "eps": "Adafactor has bounds of its own",
        }
        return own
    return {}


def _by_task(config: TrainConfig) -> dict[str, str]:
    return {
        name: f"it is for the task {' or '.join(tasks)}, and this one is {config.task}"
        for name, tasks in _OF_TASKS.items()
        if config.task not in tasks
    }


def _changed(config: TrainConfig) -> set[str]:
    """Names of the settings that differ from what the task and method start from."""
    usual = TrainConfig("none", method=config.method, task=config.task, **TASK_DEFAULTS.get(config.task, {})).resolved()
    return {
        field.name for field in fields(config) if getattr(config.resolved(), field.name) != getattr(usual, field.name)
    }


def clamped(spaces: list, rank: int) -> list[str]:
    """A sentence where some of GaLore's subspaces (subspace.Subspace) have a lower rank than was asked for."""
    smaller = [space.rank for space in spaces if space.rank < rank]
    if not smaller:
        return []
    return [
        f"rank {rank} is more than {len(smaller):,} of {len(spaces):,} matrices have: they are projected at the rank of "
        f"their shorter side, {min(smaller):,} at least, which saves nothing there."
    ]
