"""Linear maps for a few rows, as fast as this machine's libraries make them (few_rows.py's are faster, but need gcc). Knows no
model and no layer names.

On a CPU a plain `F.linear` over 7 rows reads its weights in an order that suits hundreds of rows; weights packed
once by oneDNN for few rows take about two thirds of the time; weights that 16 bits hold exactly (every model that was
saved in bf16 or fp16) take about 0.4 of it, as half the bytes are read. Where packing is impossible `F.linear` is used.
"""

import math
import warnings

import torch
import torch.nn.functional as F

_FEW_ROWS = 4
_FP16_EXPONENT = 14
"""Scaled weights stay under 2**14: fp16 ends at 2**16."""


class Linear:
    """x (M, in) → (M, out), through F.linear."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None):
        self.weight, self.bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight, self.bias)

    def plus(self, base: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """base + self(x), (M, out)."""
        return torch.addmm(base, x, self.weight.t()) if self.bias is None else base + self(x)


class PackedLinear(Linear):
    """The same through weights that oneDNN has laid out for `rows` rows; any other number of rows works too."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, rows: int):
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight, rows), bias)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def plus(self, base: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(x, base, self.weight, self.bias, "add")


class Fp16Linear(Linear):
    """The same for weights that 16 bits hold exactly, as those of a model that was saved in bf16: half the bytes to read.

    They are kept as fp16, multiplied by a power of two that brings all of them into its range, and widened on the way
    into the processor; every product and sum is fp32's, so nothing is rounded that an fp32 weight would not round.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        scale = fp16_scale(weight)
        if scale is None:
            raise ValueError("These weights do not fit into 16 bits.")
        super().__init__(torch.ops.quantized.linear_prepack_fp16((weight * scale).contiguous(), None), bias)
        self.unscale = 1 / scale

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        # x is the smaller side, and a power of two changes no digit of it
        y = torch.ops.quantized.linear_dynamic_fp16(x * self.unscale, self.weight)
        return y if self.bias is None else y + self.bias

    def plus(self, base: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if self.bias is not None:
            return base + self(x)
        return torch.add(base, torch.ops.quantized.linear_dynamic_fp16(x, self.weight), alpha=self.unscale)


def fp16_scale(weight: torch.Tensor) -> float | None:
    """The power of two by which fp32 `weight` becomes exactly a tensor of fp16, or None where none does."""
    some = weight[:_FEW_ROWS]
    if _fp16_scale(some) is None and bool(some.any()):  # as of most weights that 16 bits don't hold
        return None
    return _fp16_scale(weight)


def _fp16_scale(weight: torch.Tensor) -> float | None:
    most = float(weight.abs().amax())
    if not 0 < most < float("inf"):
        return None
    scale = 2.0 ** (_FP16_EXPONENT - math.frexp(most)[1])
    scaled = weight * scale
    return scale if torch.equal(scaled.half().float(), scaled) else None


class Int8Linear(Linear):
    """The same with weights rounded to int8 (one scale an output) and x to 7 or 8 bits on the way (one scale a row).

    A quarter of the bytes to read, so two to three times as fast; approximate.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        scales = weight.abs().amax(1).clamp_min(1e-12).double() / 127  # (out,)
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():  # torch announces that this function will move; can_int8 finds out when it has
            warnings.simplefilter("ignore")
            packed = torch.quantize_per_channel(weight.float(), scales, zeros, 0, torch.qint8)
        super().__init__(torch.ops.quantized.linear_prepack(packed, None), bias)
        self.reduced = not cpu_has_vnni()  # older CPUs add pairs of products in 16 bits: 7-bit inputs never overflow

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        # the kernel has one scale for all of x: without this, one row of large numbers (a text's first token has
        # them in most models) leaves the other rows no bits
        size = x.abs().amax(-1, keepdim=True).clamp_min_(1e-12)  # (M, 1)
        y = torch.ops.quantized.linear_dynamic(x / size, self.weight, reduce_range=self.reduced).mul_(size)
        return y if self.bias is None else y + self.bias

    def plus(self, base: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return base + self(x)


def can_int8(device: torch.device) -> bool:
    """True where Int8Linear works on this machine, found out by trying a small one."""
    if device.type != "cpu":
        return False
    weight = torch.linspace(-1, 1, 32 * 48, dtype=torch.float32).view(32, 48)
    x = torch.linspace(-1, 1, 7 * 48, dtype=torch.float32).view(7, 48)
    try:
        got = Int8Linear(weight, None)(x)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return torch.allclose(got, F.linear(x, weight), atol=0.5)


def can_fp16(device: torch.device) -> bool:
    """True where Fp16Linear works and is right on this machine, found out by trying a small one."""
    if device.type != "cpu":
        return False
    weight = torch.linspace(-1, 1, 32 * 48, dtype=torch.float32).view(32, 48).bfloat16().float()
    x = torch.linspace(-1, 1, 7 * 48, dtype=torch.float32).view(7, 48)
    base = torch.ones(7, 32, dtype=torch.float32)
    try:
        fp16 = Fp16Linear(weight, None)
        got = torch.stack((fp16(x), fp16.plus(base, x)))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    want = F.linear(x, weight)
    return torch.allclose(got, torch.stack((want, want + 1)), atol=1e-4)


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """True where PackedLinear works and is right on this machine, found out by trying a small one."""
    if (
        device.type != "cpu"
        or (dtype == torch.bfloat16 and not cpu_has_bf16())
        or dtype not in (torch.float32, torch.bfloat16)
    ):
        return False
    weight = torch.linspace(-1, 1, 32 * 48, dtype=torch.float32).view(32, 48).to(dtype)
    x = torch.linspace(-1, 1, 7 * 48, dtype=torch.float32).view(7, 48).to(dtype)
    base = torch.ones(7, 32, dtype=dtype)
    try:
        packed = PackedLinear(weight, None, 7)
        got = torch.stack((packed(x), packed.plus(base, x))).float()
    except (RuntimeError, AttributeError, NotImplementedError):
        return False  # a torch without oneDNN, or with other names for it
    want = F.linear(x, weight).float()
    return torch.allclose(got, torch.stack((want, want + 1)), atol=1e-4 if dtype == torch.float32 else 0.2)


def cpu_has_bf16() -> bool:
    """True if this CPU multiplies bf16 itself; elsewhere it is emulated, many times slower than fp32."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (RuntimeError, AttributeError):
        return False


def cpu_has_vnni() -> bool:
    """True if this CPU adds int8 products in 32 bits."""
    try:
        return bool(torch.cpu._is_vnni_supported())
    except (RuntimeError, AttributeError):
        return False
