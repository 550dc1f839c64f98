"""How the kernels of a captured step follow one another on a CUDA GPU. Knows no kernel.

From Hopper on a kernel's programs may start as soon as there is room for them beside those of the kernel before (programmatic
dependent launch). Until `begin` they may read only what no kernel since the one before the last has written; `begin`
waits for the end of the kernel before. So at most two kernels share the GPU, and each finds what all before it wrote. The
first kernel after one of torch's needs no `begin`: it starts at that one's end.
"""

import torch
import triton
import triton.language as tl
from triton.language.extra import cuda

_CAN_WAIT = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 5)
"""Triton 3.4, of torch 2.8, has the two calls, and fails on either."""
_LINE = tl.constexpr(64)
"""Elements of 16 bits in what the L2 cache reads at once."""


def follows(device: torch.device) -> bool:
    """Whether kernels on this device can start before the one before has ended: FOLLOWS of the kernels."""
    if device.type != "cuda" or torch.version.hip is not None:  # not CUDA: as Triton's interpreter goes through kernels
        return False
    return _CAN_WAIT and torch.cuda.get_device_capability(device) >= (9, 0)


def launch(can_follow: bool) -> dict[str, bool]:
    """What a kernel that calls `begin` is launched with."""
    return {"launch_pdl": True} if can_follow else {}


@triton.jit
def begin(FOLLOWS: tl.constexpr):
    """Waits for the end of the kernel before this one, and lets the next one's programs start."""
    if FOLLOWS:
        cuda.gdc_wait()
        let_next(FOLLOWS)


@triton.jit
def let_next(FOLLOWS: tl.constexpr):
    """Lets the next kernel's programs start."""
    if FOLLOWS:
        cuda.gdc_launch_dependents()


@triton.jit
def ask(weight, first, columns, K: tl.constexpr, ASKED: tl.constexpr):
    """Asks for elements `first` to first + ASKED of the rows `columns` of weight [·, K] to be brought to the L2 cache."""
    if ASKED:
        at = weight + columns[:, None] * K + first + _LINE * tl.arange(0, ASKED // _LINE)[None, :]
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [at.to(tl.int64)], tl.int32, is_pure=False, pack=1
        )
