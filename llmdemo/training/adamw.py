"""galore_torch's GaLoreAdamW, stepping many matrices with few kernels.

The mathematics and the state are GaLoreAdamW's; its loop launches some fifteen small kernels a matrix, which on a GPU
takes longer than the arithmetic. Here the moments of many matrices are updated by torch's foreach operations, and a
matrix's update goes into its weight by one product, p ← p − s · back(m / (√v + ε)), without a full-size copy between.
tests/training/test_optimizer.py compares the two.
"""

import math
from collections.abc import Sequence

import torch
from galore_torch import GaLoreAdamW
from torch import Tensor

CHUNK_VALUES = 16 * 2**20
"""Values whose intermediate results exist at a time."""
SLICE_VALUES = 2**18
"""The same on a CPU, where a cache should hold them."""


class ForeachGaLoreAdamW(GaLoreAdamW):
    """A drop-in for GaLoreAdamW with dense gradients; a group with "rank" needs its projectors set beforehand."""

    @torch.no_grad()
    def step(self, closure=None):
        if closure is not None:
            raise ValueError("a closure is not supported")
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            on_cpu = bool(parameters) and parameters[0].device.type == "cpu"
            for chunk in _chunks(parameters, SLICE_VALUES if on_cpu else CHUNK_VALUES):
                self._step_chunk(group, chunk)

    def _step_chunk(self, group: dict, parameters: list[Tensor]) -> None:
        states = [self.state[p] for p in parameters]
        gradients = [self._gradient(group, p, state) for p, state in zip(parameters, states, strict=True)]
        for state, gradient in zip(states, gradients, strict=True):
            if "exp_avg" not in state:
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            state["step"] += 1
        first, second = [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]
        if "rank" not in group and parameters[0].device.type == "cpu":
            for p, state, *tensors in zip(parameters, states, first, second, gradients, strict=True):
                for weights, *parts in zip(_slices(p), *map(_slices, tensors), strict=True):
                    weights.add_(_updates(group, *([part] for part in parts))[0], alpha=-_size(group, state))
        else:
            updates = _updates(group, first, second, gradients)
            for p, state, update in zip(parameters, states, updates, strict=True):
                self._apply(group, p, state, update)
        if group["weight_decay"] > 0.0:
            torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])

    def _gradient(self, group: dict, p: Tensor, state: dict) -> Tensor:
        state.setdefault("step", 0)
        assert p.grad is not None, "only parameters with a gradient are stepped"
        return state["projector"].project(p.grad, state["step"]) if "rank" in group else p.grad

    def _apply(self, group: dict, p: Tensor, state: dict, update: Tensor) -> None:
        if "rank" in group:
            state["projector"].add_back(p, update, -_size(group, state))
        else:
            p.add_(update, alpha=-_size(group, state))


def _updates(group: dict, first: list[Tensor], second: list[Tensor], gradients: list[Tensor]) -> Sequence[Tensor]:
    """m / (√v + ε) of each tensor, after `gradients` have gone into the moments m and v."""
    beta1, beta2 = group["betas"]
    torch._foreach_mul_(first, beta1)
    torch._foreach_add_(first, gradients, alpha=1.0 - beta1)
    torch._foreach_mul_(second, beta2)
    torch._foreach_addcmul_(second, gradients, gradients, value=1.0 - beta2)
    scaled = torch._foreach_sqrt(second)
    torch._foreach_add_(scaled, group["eps"])
    torch._foreach_reciprocal_(scaled)
    torch._foreach_mul_(scaled, first)
    return scaled


def _size(group: dict, state: dict) -> float:
    """The learning rate, corrected for moments that began at 0."""
    beta1, beta2 = group["betas"]
    corrected = math.sqrt(1.0 - beta2 ** state["step"]) / (1.0 - beta1 ** state["step"])
    return group["lr"] * (corrected if group["correct_bias"] else 1.0)


def _slices(tensor: Tensor) -> tuple[Tensor, ...]:
    """Views of a tensor that a processor's cache holds through all operations of an update: half the time for embeddings."""
    return tensor.view(-1).split(SLICE_VALUES) if tensor.is_contiguous() else (tensor,)


def _chunks(parameters: list[Tensor], most: int):
    """Lists of parameters with at most `most` values in all, or one that is larger alone."""
    chunk: list[Tensor] = []
    size = 0
    for p in parameters:
        if chunk and size + p.numel() > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(p)
        size += p.numel()
    if chunk:
        yield chunk
