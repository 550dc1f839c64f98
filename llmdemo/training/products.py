"""Products of fp32 matrices with a layer's weight on a CPU, by oneDNN where that is faster than torch's own way.

torch multiplies fp32 matrices by MKL, which uses a part of what AMD's processors with AVX-512 can do: on an EPYC of
2022 oneDNN takes about 0.8 of its time for a layer's product and 0.5 to 0.6 for the logits'
(tests/benchmarks/README.md), with the same fp32 sums in another order. Which of the two is taken depends on nothing
but the processor, the library and the shapes, never on a time that was measured: a resumed run rounds as its first
part did. Knows nothing of layers and gradients.
"""

import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

LEAST = 2**22
"""Multiplications of a product from which oneDNN is ahead; in a smaller one its call takes longer than it saves."""
_CPU_INFO = Path("/proc/cpuinfo")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + bias of x [..., in], weight [out, in] of any strides: functional.linear, which autograd must not look into."""
    return _by_onednn(x, weight, bias) if takes_onednn(x, weight) else functional.linear(x, weight, bias)


def times(dy: Tensor, weight: Tensor) -> Tensor:
    """dy W [..., in] of dy [..., out], weight [out, in] of any strides: a linear map's gradient of its input."""
    return _by_onednn(dy, weight.T, None) if takes_onednn(dy, weight) else dy @ weight


def takes_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether `linear` of these, or `times` of as many rows, is oneDNN's."""
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() * weight.numel() > LEAST * x.shape[-1]
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_faster()
    )


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = torch.ops.mkldnn._linear_pointwise(x.reshape(-1, x.shape[-1]), weight, bias, "none", [], "")
    # As functional.linear gives it: no view, which autograd lets nobody change in place, as Falcon does.
    return torch.ops.aten._unsafe_view(rows, [*x.shape[:-1], weight.shape[0]])


@cache
def onednn_is_faster() -> bool:
    """Whether this is a processor of AMD with AVX-512 and a torch whose oneDNN multiplies right, found out by trying."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and "AuthenticAMD" in _vendor() and _is_right()


def _vendor() -> str:
    """A text that names the processor's maker."""
    with suppress(OSError, UnicodeError):
        for line in _CPU_INFO.read_text().splitlines():
            if line.startswith("vendor_id"):
                return line
    return platform.processor()


def _is_right() -> bool:
    x = torch.linspace(-1, 1, 7 * 48, dtype=torch.float32).view(7, 48)
    weight = torch.linspace(-1, 1, 32 * 48, dtype=torch.float32).view(32, 48)
    bias = torch.linspace(-1, 1, 32, dtype=torch.float32)
    try:
        found = (_by_onednn(x, weight, bias), _by_onednn(x, weight.T.contiguous().T, None))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False  # a torch without oneDNN, or with another name for it
    wanted = functional.linear(x, weight)
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, (wanted + bias, wanted), strict=True))
