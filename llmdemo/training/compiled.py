"""torch.compile where it pays in training: norms and gated products, each fused into one kernel.

The matrices stay outside: their backward pass hands gradients to the optimizer, which a compiled graph cannot. What lies
between them reads and writes its memory several times over when each operation is a kernel of its own.
"""

import importlib.util
import shutil
from functools import cache, partial

import torch
from torch import Tensor, nn

from llmdemo.errors import UserError

_COMPILERS = ("g++", "clang++", "c++", "gcc", "clang")


def compile_parts(model: nn.Module) -> int:
    """Makes the norms and gated MLPs of `model` run compiled; returns how many. The first step takes longer.

    Raises UserError where there is nothing to compile with.
    """
    _check_compiler(next(model.parameters()).device)
    count = 0
    for module in model.modules():
        forward = _compiled_forward(module)
        if forward is not None:
            module.forward = forward
            count += 1
    return count


def _compiled_forward(module: nn.Module):
    if type(module).__name__.endswith("Norm") and not list(module.children()):
        return partial(_compiled(type(module).forward), module)
    if all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        return partial(_gated, module)
    return None


@cache
def _compiled(function):
    return torch.compile(function, dynamic=True)


def _gated(module: nn.Module, x: Tensor) -> Tensor:
    return module.down_proj(_compiled(_product)(module.act_fn, module.gate_proj(x), module.up_proj(x)))


def _product(act, gate: Tensor, up: Tensor) -> Tensor:
    return act(gate) * up


def _check_compiler(device: torch.device) -> None:
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError(
            "compile needs the package triton, which is not installed.", "Install it, or leave compile off."
        )
    if not any(map(shutil.which, _COMPILERS)):
        raise UserError(
            "compile needs a C++ compiler, and this machine has none.", "Install g++ or clang, or leave compile off."
        )
