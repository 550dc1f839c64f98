"""Gradients at rank r: each target matrix's gradient is projected as it is made, and its full size never stored.

A linear layer's weight gradient is a product aᵀb of what went in and what came back. The autograd function here
projects a or b first and accumulates the small product, so neither the full gradient nor its memory ever exists;
only where a matrix is due for a refresh is the full one summed, for that step. A quantised matrix is dequantised for each
product anew. The projection is linear, hence
the sum over micro-batches (and processes) of projected gradients is the projection of the sum.

Knows nothing of optimizers: `GradientAccumulator.low` is the gradient that one sees.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from llmdemo.training import products
from llmdemo.training.offload import HostSums
from llmdemo.training.quantised import QuantisedLinear, QuantisedMatrix
from llmdemo.training.subspace import Subspace


class GradientAccumulator:
    """One target matrix [m, n], its subspace and the gradient accumulated since the last step."""

    def __init__(self, name: str, weight: nn.Parameter, subspace: Subspace, dtype: torch.dtype):
        self.name = name
        self.weight = weight
        self.subspace = subspace
        self.dtype = dtype
        """Type of the accumulators."""
        self.due = False
        """Whether the coming step refreshes the subspace: then `full` is summed instead of `low`."""
        self.low: Tensor | None = None
        """The sum, unless `host` keeps it."""
        self.full: Tensor | None = None
        self.host: HostSums | None = None
        self.matrix: QuantisedMatrix | None = None
        """The matrix, where it is quantised: `weight` has no values then."""
        self.generator: torch.Generator | None = None
        """What the coming step rounds a quantised matrix with."""
        self._parts = 0
        self.parts = 1
        """Times that a backward pass comes by this layer."""
        self.when_full: Callable[[GradientAccumulator], None] | None = None
        """Called as soon as `full` holds the whole gradient, where one backward pass makes a step: it is then freed
        before the next layer's is made."""
        self.place: Tensor | None = None
        """Where `low` is to lie, if anyone asks for that: a view of a buffer that processes sum (reduce.py)."""
        self.when_whole: Callable[[GradientAccumulator], None] | None = None
        """Called when the backward pass has come by this matrix as often as the forward passes did."""
        self.passes_left = 0
        """Forward passes whose backward pass is to come."""

    @property
    def active(self) -> bool:
        """Whether this matrix has a subspace or gets one in this step; until then its gradient is not even computed."""
        return self.due or self.subspace.ready

    def add_outer(self, a: Tensor, b: Tensor) -> None:
        """Adds the gradient aᵀb, a [t, m], b [t, n]."""
        if self.due:
            self._add_full(a.T @ b)
            self._parts += 1
            if self.when_full and self._parts == self.parts:
                self.when_full(self)
        elif self.subspace.ready and self.place is not None and self.low is None:
            self.low = self._project_outer(a, b, self.place)
        elif self.subspace.ready:
            self.add_low(self._project_outer(a, b))

    def _add_full(self, part: Tensor) -> None:
        """To the sum on the device, or with several micro-batches to that of `host`: each is as large as the matrix."""
        if self.host is not None and self.when_full is None:
            self.host.add((self, "full"), part.to(self.dtype))
        else:
            self.full = _added(self.full, part, self.dtype)

    @property
    def has_full(self) -> bool:
        return self.full is not None or self.host is not None and (self, "full") in self.host

    def take_full(self) -> Tensor:
        """The accumulated whole gradient, on the weight's device; this step asks for none any more."""
        full = self.full
        if full is None:
            assert self.host is not None, "asked where has_full says so"
            full = self.host.pop((self, "full"))
        self.full, self.due = None, False
        return full

    def add_low(self, part: Tensor) -> None:
        """Adds a projected gradient."""
        if self.host is not None:
            self.host.add(self, part.to(self.dtype))
        elif self.place is not None and self.low is None:
            self.low = self.place.copy_(part)
        else:
            self.low = _added(self.low, part, self.dtype)

    def passed(self) -> None:
        """A backward pass has come by this matrix."""
        self.passes_left -= 1
        if self.when_whole and self.passes_left == 0:
            self.when_whole(self)

    @property
    def has_low(self) -> bool:
        return self.low is not None or self.host is not None and self in self.host

    def take_low(self) -> Tensor:
        """The accumulated projected gradient, on the weight's device."""
        low = self.low if self.host is None else self.host.take(self)
        assert low is not None, "asked where has_low says so"
        return low

    def _project_outer(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        space = self.subspace
        if space.dtype == a.dtype:
            return space.project_outer(a, b, out)
        return space.project_outer(a.to(self.dtype), b.to(self.dtype), out)

    def clear(self) -> None:
        """Forgets what was accumulated here; what `host` keeps, it forgets itself."""
        self.low = self.full = None
        self._parts = 0


def _added(total: Tensor | None, part: Tensor, dtype: torch.dtype) -> Tensor:
    return part.to(dtype) if total is None else total.add_(part)


class _ProjectedLinear(torch.autograd.Function):
    """y = x Wᵀ + bias (or x W + bias for a Conv1D), whose backward hands the weight's gradient to a slot."""

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor, bias: Tensor | None, slot: GradientAccumulator, transposed: bool
    ) -> Tensor:
        ctx.slot, ctx.transposed, ctx.has_bias = slot, transposed, bias is not None
        # A dequantised matrix is not kept: the backward pass makes it again.
        ctx.save_for_backward(x if slot.active else None, None if slot.matrix else weight)
        ctx.x_dtype = x.dtype
        return _linear(x, weight, bias, slot, transposed)

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, weight = ctx.saved_tensors
        flat = dy.reshape(-1, dy.shape[-1])
        if x is not None:
            inputs = x.reshape(-1, x.shape[-1]).to(flat.dtype)
            ctx.slot.add_outer(*((inputs, flat) if ctx.transposed else (flat, inputs)))
        ctx.slot.passed()
        dx = None
        if ctx.needs_input_grad[0]:
            weight = ctx.slot.matrix.tensor(dy.dtype) if ctx.slot.matrix else weight.to(dy.dtype)
            dx = products.times(dy, weight.T if ctx.transposed else weight).to(ctx.x_dtype)
        return dx, None, flat.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None, None, None


def attach(module: nn.Module, slot: GradientAccumulator, transposed: bool) -> None:
    """Makes the linear layer `module` hand its weight's gradient to `slot`; `detach` undoes it."""
    slot.matrix = module.matrix if isinstance(module, QuantisedLinear) else None
    module.forward = partial(_forward, module, slot, transposed)


def detach(module: nn.Module) -> None:
    module.__dict__.pop("forward", None)


def _forward(module: nn.Module, slot: GradientAccumulator, transposed: bool, x: Tensor) -> Tensor:
    weight, bias = cast(Tensor, module.weight), cast(Tensor | None, module.bias)
    if torch.is_autocast_enabled(x.device.type):
        # A custom function sees its inputs before autocast does: cast here what a linear layer would have had cast.
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight if slot.matrix else weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    if not torch.is_grad_enabled():
        return _linear(x, weight, bias, slot, transposed)
    if torch._C._current_graph_task_id() < 0:  # not where a backward pass computes its activations again
        slot.passes_left += 1
    return _ProjectedLinear.apply(x, weight, bias, slot, transposed)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, slot: GradientAccumulator, transposed: bool) -> Tensor:
    if slot.matrix:
        weight = slot.matrix.tensor(x.dtype)
    return products.linear(x, weight.T if transposed else weight, bias)
