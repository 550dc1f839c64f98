"""Settings that somebody changed and that do nothing in a run: each is a sentence, with the reason. Imports no torch."""

from llmdemo.settings.schema import fields_of
from llmdemo.settings.training import TrainConfig, defaults_of, reasons_without_effect


def unused(config: TrainConfig, device: str) -> list[str]:
    """A sentence for each setting that is not its default and has no effect; `device`: torch's type, such as "cpu"."""
    reasons = reasons_without_effect(config.task, config.method)
    if config.method == "galore" and device != "cuda":
        reasons["offload_gradients"] = "without an NVIDIA GPU, gradients are in the computer's memory anyway"
    if config.method == "galore" and config.galore_optimizer == "adafactor":
        reasons["beta2"] = "Adafactor's second moment decays by a rule of its own"
        reasons["eps"] = "Adafactor has bounds of its own"
    if config.task == "preference" and config.preference_loss != "simpo":
        reasons["simpo_gamma"] = f"it is SimPO's, and the loss is {config.preference_loss}"
    usual, given = defaults_of(config.task, config.method), config.resolved()
    changed = [name for name in fields_of(TrainConfig) if getattr(given, name) != getattr(usual, name)]
    return [f"{name} has no effect: {reasons[name]}." for name in changed if name in reasons]


def clamped(spaces: list, rank: int) -> list[str]:
    """A sentence where some of GaLore's subspaces (subspace.Subspace) have a lower rank than was asked for."""
    smaller = [space.rank for space in spaces if space.rank < rank]
    if not smaller:
        return []
    return [
        f"rank {rank} is more than {len(smaller):,} of {len(spaces):,} matrices have: they are projected at the rank of "
        f"their shorter side, {min(smaller):,} at least, which saves nothing there."
    ]
