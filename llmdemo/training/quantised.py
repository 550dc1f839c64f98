"""Matrices of linear layers in 8 bits, updated with stochastic rounding. After Q-GaLore, arXiv 2407.08296.

A matrix [m, n] is a matrix of whole numbers of 16 bits times a unit for each block of a row. The upper 8 bits are on the
device: what forward and backward multiply with, dequantised a layer at a time. The lower 8 bits are used by the
optimizer's update alone and wait in the computer's memory. Rounded to 8 bits at each step, weights would do a random walk
of the width of their own steps; with 16 they are never further from what was learned than half of an 8-bit step.

An update is mostly less than a step of the 16 bits when the rate is low, so it is rounded up or down by chance, right in
the mean. Knows nothing of subspaces and optimizers.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmdemo.core.errors import UserError
from llmdemo.training.narrow import rounded
from llmdemo.training.targets import find_targets, put_layer

if TYPE_CHECKING:
    from llmdemo.training.subspace import Subspace

BLOCK = 256
"""Values that share a unit, where the rows are a multiple of it."""
_LEAST_BLOCK = 16
_STEP = 256
"""Of the lower byte's units, one of the upper's."""
LEVELS = 127 * _STEP
"""The largest value of a block in its units, when they are chosen."""
SLICE_GPU, _SLICE_CPU = 2**22, 2**17
"""Values that are updated at a time, on a GPU and on a CPU: in fp32, with their random numbers."""


def block_of(columns: int, most: int = BLOCK) -> int:
    """How many of a row's `columns` values share a scale: the largest power of two in them up to `most`, or all of them."""
    block = min(most, columns & -columns)
    return block if block >= _LEAST_BLOCK else columns


def slices(tensor: Tensor) -> Iterator[slice]:
    """Rows of a matrix that are worked on at a time, so that intermediate results in fp32 take little memory."""
    rows, columns = tensor.shape
    size = max(1, (SLICE_GPU if tensor.is_cuda else _SLICE_CPU) // max(1, columns))
    for start in range(0, rows, size):
        yield slice(start, start + size)


def bytes_of(shape: tuple[int, ...], device: torch.device) -> int:
    """What a quantised matrix takes on `device`; beside a GPU, as many bytes as it has values are in the computer's memory."""
    rows, columns = shape
    return (1 if device.type == "cuda" else 2) * rows * columns + 4 * rows * (columns // block_of(columns))


class QuantisedMatrix:
    """One matrix [m, n]. `high` and `low` int8 [m, n], `unit` fp32 [m, blocks]: a value is (256 high + low) · unit."""

    def __init__(self, high: Tensor, low: Tensor, unit: Tensor):
        self.high, self.low, self.unit = high, low, unit

    @classmethod
    @torch.no_grad()
    def of(cls, weight: Tensor, device: torch.device) -> "QuantisedMatrix":
        """`weight` rounded to 16 bits a value, used on `device`; for a GPU, `low` stays here in pinned memory."""
        rows, columns = weight.shape
        block = block_of(columns)
        on_gpu = device.type == "cuda"
        high = torch.empty((rows, columns), dtype=torch.int8, device=device)
        low = torch.empty((rows, columns), dtype=torch.int8, pin_memory=on_gpu)
        unit = torch.empty((rows, columns // block), dtype=torch.float32, device=device)
        made = cls(high, low, unit)
        for part in slices(weight):
            values = weight[part].float().unflatten(1, (-1, block))
            # A block of zeros gets a unit too, which its first update widens.
            own = (values.abs().amax(-1) / LEVELS).clamp_min(1e-30)
            made._write(part, (values / own[..., None]).round_(), own)
        return made

    @property
    def block(self) -> int:
        return self.high.shape[1] // self.unit.shape[1]

    def tensor(self, dtype: torch.dtype) -> Tensor:
        """[m, n] as forward and backward take it: the upper 8 bits."""
        step = self.unit[..., None] * _STEP
        if not self.high.is_cuda:  # there the product below converts its factors first, which takes three times as long
            return self.high.float().unflatten(1, (-1, self.block)).mul_(step).flatten(1).to(dtype)
        result = torch.empty(self.high.shape, dtype=dtype, device=self.high.device)
        blocks = result.unflatten(1, (-1, self.block))
        torch.mul(self.high.unflatten(1, (-1, self.block)), step, out=blocks)
        return result

    @torch.no_grad()
    def whole(self) -> Tensor:
        """[m, n] with all 16 bits, in fp32 on the CPU: what was learned."""
        self.synchronize()
        return (self._numbers(self.high.cpu(), self.low) * self.unit.cpu()[..., None]).flatten(1)

    @torch.no_grad()
    def add_back(
        self, space: "Subspace", low: Tensor, factor: float, generator: torch.Generator | None, keep: float = 1.0
    ) -> None:
        """The matrix becomes keep · (matrix + factor · space.back(low)), rounded by chance."""
        self.add_(space.back(low).mul_(factor * keep), generator, keep)

    @torch.no_grad()
    def add_(self, update: Tensor, generator: torch.Generator | None, keep: float = 1.0) -> None:
        """The matrix becomes keep · matrix + update [m, n]; each value is rounded up or down by chance, right in the mean."""
        for part in slices(self.high):
            unit = self.unit[part]
            below = self.low[part].to(self.high.device, non_blocking=True)
            numbers = self._numbers(self.high[part], below)
            moved = update[part].float().unflatten(1, (-1, self.block)) / unit[..., None]
            if keep != 1.0:
                moved.add_(numbers, alpha=keep - 1.0)
            # A block that outgrows its units gets wider ones, and all of its values are rounded anew.
            over = ((numbers + moved).abs_().amax(-1, keepdim=True) / LEVELS).clamp_min_(1.0)
            moved = torch.where(over > 1.0, (numbers + moved) / over - numbers, moved)
            # Rounded apart from the number it moves: beside a large one, fp32 would lose the small update.
            down = moved.floor()
            draws = torch.rand(moved.shape, generator=generator, device=moved.device)
            down.add_(draws < moved - down)
            self._write(part, numbers.add_(down), unit * over[..., 0])

    def _numbers(self, high: Tensor, low: Tensor) -> Tensor:
        """Whole numbers [rows, blocks, block] in fp32."""
        return high.float().mul_(_STEP).add_(low).unflatten(1, (-1, self.block))

    def _write(self, part: slice, numbers: Tensor, unit: Tensor) -> None:
        numbers = numbers.clamp_(-LEVELS - _STEP // 2 + 1, LEVELS + _STEP // 2 - 1).flatten(1)
        above = ((numbers + _STEP // 2) / _STEP).floor_()
        self.unit[part].copy_(unit)
        self.high[part].copy_(above)
        # On a GPU the copy out is only begun, behind what is computed; `synchronize` waits for it.
        self.low[part].copy_((numbers - above * _STEP).to(torch.int8), non_blocking=self.high.is_cuda)

    def release(self) -> None:
        """Gives its memory back; it is of no use after that."""
        self.synchronize()
        self.high, self.low, self.unit = (tensor.new_empty((0, 0)) for tensor in (self.high, self.low, self.unit))

    def synchronize(self) -> None:
        """Waits until `low` holds what was written last."""
        if self.high.is_cuda:
            torch.cuda.current_stream(self.high.device).synchronize()

    def state(self) -> dict[str, Tensor]:
        """Its tensors, no copies; written into, they are its new values."""
        self.synchronize()
        return {"high": self.high, "low": self.low, "unit": self.unit}


class QuantisedLinear(nn.Linear):
    """A linear layer whose matrix is quantised. `weight` has its shape and type, and no values: NaN, in no memory."""

    def __init__(self, layer: nn.Linear, matrix: QuantisedMatrix, weight: nn.Parameter):
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.matrix, self.weight, self.bias = matrix, weight, layer.bias
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]; learns nothing unless gradients.py replaces it."""
        return functional.linear(x, self.matrix.tensor(x.dtype), self.bias)

    @torch.no_grad()
    def plain(self, dtype: torch.dtype, generator: torch.Generator) -> nn.Linear:
        """The plain layer of all that was learned, on the CPU in `dtype`: in bfloat16 rounded by chance."""
        layer = nn.Linear(1, 1, bias=self.bias is not None, device="meta")
        layer.in_features, layer.out_features = self.in_features, self.out_features
        rounding = "stochastic" if dtype == torch.bfloat16 else "nearest"
        layer.weight = nn.Parameter(rounded(self.matrix.whole(), dtype, rounding, generator))
        if self.bias is not None:
            layer.bias = nn.Parameter(self.bias.detach().to("cpu", dtype))
        return layer.train(self.training)


@torch.no_grad()
def quantise(model: nn.Module, wanted: tuple[str, ...], device: torch.device) -> nn.Module:
    """`model`, on `device`, with the linear layers of attention and MLP that `wanted` names (empty: all) quantised.

    Layer by layer, so that a GPU never holds the whole model in more bits. Raises UserError where there is no such layer.
    """
    shared: dict[int, tuple[QuantisedMatrix, nn.Parameter]] = {}  # by the id of a weight, which is not kept alive
    targets = [target for target in find_targets(model, wanted) if type(target.module) is nn.Linear]
    if not targets:
        raise UserError("err_no_quantised", kind=type(model).__name__)
    for target in targets:
        weight, layer = target.weight, target.module
        assert isinstance(layer, nn.Linear)
        if id(weight) not in shared:
            nothing = torch.full((), torch.nan, dtype=weight.dtype, device=device).expand(weight.shape)
            shared[id(weight)] = QuantisedMatrix.of(weight, device), nn.Parameter(nothing)
        put_layer(model, target.name, QuantisedLinear(layer, *shared[id(weight)]))
        layer.weight = None  # type: ignore[assignment]  # its memory goes before the next one's is taken
    return model.to(device)


def quantised_layers(model: nn.Module) -> dict[str, QuantisedLinear]:
    """By name; {} of a model that is not quantised."""
    return {name: module for name, module in model.named_modules() if isinstance(module, QuantisedLinear)}


def plain(model: nn.Module, dtype: torch.dtype, seed: int) -> nn.Module:
    """`model` with plain layers in place of its quantised ones, for good: on the CPU in `dtype`, if it has any."""
    layers = quantised_layers(model)
    generator = torch.Generator().manual_seed(seed)
    for name, layer in layers.items():
        put_layer(model, name, layer.plain(dtype, generator))
    return model.to("cpu", dtype) if layers else model
