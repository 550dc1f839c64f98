"""Gradients of the matrices that hold a row a token, added in place: of the input embedding and of the output's.

autograd makes a zeroed tensor of the embedding's full size for each lookup, and another for each chunk of logits, and
adds them up: for a vocabulary of 49,152 on a CPU a tenth of a step's time, where a step takes several passes, and a
second copy at its peak where both are one matrix. Here the rows that were looked up are added to the one gradient.

On a CPU alone: a GPU adds rows in no fixed order, and has the bandwidth. Knows nothing of optimizers.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmdemo.training import products
from llmdemo.training.targets import output_embeddings


def attach_vocabulary(model: nn.Module) -> None:
    """Makes the plain embeddings and the output embedding that are trained add to their weights' gradients in place.

    gradients.detach undoes it. Embeddings with a norm, a scale or sparse gradients, and weights elsewhere than on a CPU
    stay as they are.
    """
    for module in model.modules():
        if type(module) is nn.Embedding and _plain(module) and _trained(module.weight):
            _replace_forward(module, partial(_embed, module))
    head = output_embeddings(model)
    if type(head) is nn.Linear and _trained(head.weight):
        _replace_forward(head, partial(_logits, head))


def _replace_forward(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
    module.forward = forward


def _plain(module: nn.Embedding) -> bool:
    return module.max_norm is None and not module.scale_grad_by_freq and not module.sparse


def _trained(weight: Tensor) -> bool:
    return weight.requires_grad and weight.device.type == "cpu"


def _embed(module: nn.Embedding, ids: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return functional.embedding(ids, module.weight)
    return _Embedding.apply(ids, module.weight, module.padding_idx)


def _logits(module: nn.Linear, hidden: Tensor) -> Tensor:
    weight, bias = module.weight, module.bias
    if not torch.is_grad_enabled():
        return products.linear(hidden, weight, bias)
    if not torch.is_autocast_enabled("cpu"):
        return _Logits.apply(hidden, weight, bias, weight.dtype)
    # A custom function sees its inputs before autocast does.
    dtype = torch.get_autocast_dtype("cpu")
    return _Logits.apply(hidden.to(dtype), weight, None if bias is None else bias.to(dtype), dtype)


def _gradient(weight: Tensor) -> Tensor:
    """The weight's gradient, zeros if it has none yet."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


class _Embedding(torch.autograd.Function):
    """Rows of `weight` [V, h] by number; the backward adds to them in `weight.grad`, but for `padding`'s row."""

    @staticmethod
    def forward(ctx, ids: Tensor, weight: Tensor, padding: int | None) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.weight, ctx.padding = weight, padding
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx, dy: Tensor):
        ids, rows = ctx.saved_tensors[0].reshape(-1), dy.reshape(-1, dy.shape[-1])
        if ctx.padding is not None:
            kept = ids != ctx.padding
            ids, rows = ids[kept], rows[kept]
        _gradient(ctx.weight).index_add_(0, ids, rows.to(ctx.weight.dtype))
        return None, None, None


class _Logits(torch.autograd.Function):
    """hidden [n, h] times weightᵀ [h, V] in `dtype`; the backward adds the weight's gradient to `weight.grad`."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(hidden)
        ctx.weight, ctx.dtype, ctx.has_bias = weight, dtype, bias is not None
        return products.linear(hidden, weight.to(dtype), bias)

    @staticmethod
    def backward(ctx, dy: Tensor):
        weight = ctx.weight
        flat = dy.reshape(-1, dy.shape[-1])
        inputs = ctx.saved_tensors[0].reshape(-1, weight.shape[1])
        total = _gradient(weight)
        if ctx.dtype == weight.dtype:
            total.addmm_(flat.T, inputs)
        else:
            total.add_(flat.T @ inputs)
        dx = products.times(dy, weight.to(ctx.dtype)) if ctx.needs_input_grad[0] else None
        return dx, None, flat.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None, None
