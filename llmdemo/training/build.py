"""Builds a run's optimizer: which matrices are projected, which groups of weights there are, and what steps them.

Knows nothing of steps.
"""

from typing import Any

import torch
from torch import nn

from llmdemo.core.errors import UserError
from llmdemo.settings.training import TrainConfig
from llmdemo.training.adamw import ForeachGaLoreAdamW
from llmdemo.training.gradients import GradientAccumulator, attach
from llmdemo.training.layers import attach_layers
from llmdemo.training.offload import HostSums
from llmdemo.training.one_moment import OneMomentAdamW
from llmdemo.training.optimizer import Optimizer
from llmdemo.training.projector import Projector
from llmdemo.training.subspace import Subspace
from llmdemo.training.targets import check_rank, find_targets
from llmdemo.training.vocabulary import attach_vocabulary


def _host_sums(slots: list[GradientAccumulator], config: TrainConfig) -> HostSums | None:
    """Set up where the config asks for it and there is a GPU; without one, the sums are in the computer's memory anyway."""
    if not (config.offloads and slots and slots[0].weight.is_cuda):
        return None
    host = HostSums(slots[0].weight.device)
    for slot in slots:
        slot.host = host
    return host


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimizer for `model` (for LoRA: already with its adapters; for weight_bits 8: already quantised) as `config` asks.

    Raises UserError for what cannot work: a rank above every matrix, unknown target modules, nothing to train.
    """
    config = config.resolved()
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise UserError("err_all_frozen")
    assert config.scale is not None, "a resolved config has one"
    slots = _make_slots(model, config) if config.method == "galore" else []
    attach_vocabulary(model)
    attach_layers(model)
    projected = {slot.weight for slot in slots}
    rest = [p for p in trainable if p not in projected]
    # Norms and biases are not decayed, as is usual.
    groups = [
        {"params": [p for p in rest if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if slots:
        galore = {
            "rank": config.rank,
            "update_proj_gap": config.update_proj_gap,
            "scale": config.scale,
            "proj_type": config.proj_type,
            "weight_decay": config.weight_decay,
        }
        groups.append({"params": [slot.weight for slot in slots], **galore})
    inner = _inner(config, [group for group in groups if group["params"]])
    for slot in slots:
        inner.state[slot.weight]["projector"] = Projector(slot, config.scale)
    return Optimizer(model, slots, inner, config, _host_sums(slots, config))


def _make_slots(model: nn.Module, config: TrainConfig) -> list[GradientAccumulator]:
    targets = find_targets(model, config.target_modules)
    check_rank(targets, config.rank)
    slots: dict[nn.Parameter, GradientAccumulator] = {}
    for target in targets:
        weight = target.weight
        if weight not in slots:
            assert config.basis_bits is not None, "a resolved config has them"
            space = Subspace((weight.shape[0], weight.shape[1]), config.rank, config.proj_type, config.basis_bits)
            slots[weight] = GradientAccumulator(target.name, weight, space, weight.dtype)
        attach(target.module, slots[weight], target.transposed)
    return list(slots.values())


def _inner(config: TrainConfig, groups: list[dict]) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"lr": config.learning_rate, "betas": (config.beta1, config.beta2), "eps": config.eps}
    if config.quantises:
        return OneMomentAdamW(groups, **options, seed=config.seed)
    if config.method != "galore":
        if config.optim_bits == 8:
            from bitsandbytes.optim import AdamW8bit

            return AdamW8bit(groups, **options)
        # Fused where the weights are on a GPU: the other way round makes full-size copies in between.
        return torch.optim.AdamW(groups, **options, fused=groups[0]["params"][0].is_cuda or None)
    if config.optim_bits != 8 and config.galore_optimizer == "adamw":
        return ForeachGaLoreAdamW(groups, **options)
    import galore_torch

    if config.optim_bits == 8:
        inner = galore_torch.GaLoreAdamW8bit(groups, **options)
        # galore_torch 1.0 passes two options by position that bitsandbytes has since dropped, so that they land in
        # max_unorm = 100 and skip_zeros = True. The first then scales the step of every matrix below 4096 values by
        # the norm of galore_torch's zeroed copy: it would never move.
        inner.args.max_unorm, inner.args.skip_zeros = 0.0, False
        return inner
    return galore_torch.GaLoreAdafactor(
        groups, lr=config.learning_rate, relative_step=False, scale_parameter=False, beta1=config.beta1 or None
    )
