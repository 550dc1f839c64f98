"""Linear layers that keep their own gradients, multiplied on a CPU by the library that is faster (products.py).

Those of AdamW and LoRA, frozen ones as well, and what GaLore does not project. The weight's own gradient is torch's
product: oneDNN gains nothing there (tests/benchmarks/products_cpu.py). Knows nothing of optimizers.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmdemo.training import products


def attach_layers(model: nn.Module) -> None:
    """Makes the plain linear layers of `model` that lie on a CPU and have their class's own forward multiply so.

    gradients.detach undoes it. Nothing is attached where torch's own products are the faster ones.
    """
    if not products.onednn_is_faster():
        return
    for module in model.modules():
        if _is_plain(module):
            module.forward = partial(_forward, cast(nn.Linear, module))


def _is_plain(module: nn.Module) -> bool:
    return type(module) is nn.Linear and "forward" not in vars(module) and module.weight.device.type == "cpu"


def _forward(module: nn.Linear, x: Tensor) -> Tensor:
    weight, bias = module.weight, module.bias
    if not products.takes_onednn(x, weight):
        return functional.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return products.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)


class _Linear(torch.autograd.Function):
    """y = x Wᵀ + bias of x [..., in], W [out, in]."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # A frozen layer's inputs are not kept.
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        return products.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, weight = ctx.saved_tensors
        flat, (wants_x, wants_weight, wants_bias) = dy.reshape(-1, dy.shape[-1]), ctx.needs_input_grad
        return (
            products.times(dy, weight) if wants_x else None,
            flat.T @ x.reshape(-1, x.shape[-1]) if wants_weight else None,
            flat.sum(0) if wants_bias else None,
        )
