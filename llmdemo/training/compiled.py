"""torch.compile where it pays in training: norms and gated products, each fused into one kernel.

The matrices stay outside: their backward pass hands gradients to the optimizer, which a compiled graph cannot. What lies
between them reads and writes its memory several times over when each operation is a kernel of its own.
"""

import importlib.util
import shutil
from collections.abc import Callable
from functools import cache, partial
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say

NOTHING = say("note_compile")
_COMPILERS = ("g++", "clang++", "c++", "gcc", "clang")


class _GatedMlp(Protocol):
    """The parts that a Llama's MLP has."""

    gate_proj: nn.Linear
    up_proj: nn.Linear
    down_proj: nn.Linear
    act_fn: Callable[[Tensor], Tensor]
    training: bool

    def train(self, mode: bool = True) -> Callable[[Tensor], Tensor]:
        """Switches to training, or back, and returns itself."""


def compile_parts(model: nn.Module) -> int:
    """Makes the norms and gated MLPs of `model` run compiled; returns how many. The first step takes longer.

    An MLP that computes anything but down(act(gate) · up), such as one with multipliers or a norm between, stays as it is.

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
    names = ("gate_proj", "up_proj", "down_proj", "act_fn")
    if all(hasattr(module, name) for name in names) and _is_gated_product(cast(_GatedMlp, module)):
        return partial(_gated, cast(_GatedMlp, module))
    return None


@torch.no_grad()
def _is_gated_product(module: _GatedMlp) -> bool:
    """Whether the MLP's own forward, in training, is the gated product: seen on a few random numbers."""
    weight = module.gate_proj.weight
    generator = torch.Generator(weight.device).manual_seed(0)
    width = getattr(module.gate_proj, "in_features", weight.shape[-1])
    x = torch.randn((1, 4, width), generator=generator, device=weight.device).to(weight.dtype)
    exact, training = weight.dtype in (torch.float32, torch.float64), module.training
    # Dropout would draw from the run's random numbers.
    with torch.random.fork_rng([weight.device] if weight.is_cuda else []):
        try:
            own = module.train()(x)
            ours = module.down_proj(_product(module.act_fn, module.gate_proj(x), module.up_proj(x)))
            difference = torch.linalg.vector_norm((own - ours).float())
            return bool(difference <= (1e-4 if exact else 2e-2) * torch.linalg.vector_norm(own.float()))
        except (TypeError, ValueError, AttributeError, RuntimeError):  # it takes or gives something else
            return False
        finally:
            module.train(training)


@cache
def _compiled(function):
    return torch.compile(function, dynamic=True)


def _gated(module: _GatedMlp, x: Tensor) -> Tensor:
    return module.down_proj(_compiled(_product)(module.act_fn, module.gate_proj(x), module.up_proj(x)))


def _product(act, gate: Tensor, up: Tensor) -> Tensor:
    return act(gate) * up


def _check_compiler(device: torch.device) -> None:
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError("err_no_triton")
    if not any(map(shutil.which, _COMPILERS)):
        raise UserError("err_no_compiler")
