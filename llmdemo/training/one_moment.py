"""AdamW with one moment in 8 bits: the second is factored, as Adafactor's (Shazeer & Stern, arXiv 1804.04235).

Of the squares of a gradient [a, b] the mean of each row and each column is kept, and their product over the mean of all
stands for the second moment. In GaLore's subspace, whose directions differ in size as singular values do, that is close
to Adam's own. The first moment is kept divided by the root of the second: there all of a block's values are about as
large, so that 8 bits with one scale a block lose little.

Weights in 16 bits are rounded up or down by chance, right in the mean: to the nearest, small updates would be lost.
"""

import math
import zlib

import torch
from torch import Tensor

from llmdemo.training.adamw import closure_loss
from llmdemo.training.narrow import rounded
from llmdemo.training.quantised import block_of, slices


class OneMomentAdamW(torch.optim.Optimizer):
    """For dense gradients, which a step overwrites; a group with "rank" needs its projectors set beforehand.

    Tensors of less than two dimensions keep both of Adam's moments, in fp32.
    """

    def __init__(self, params, lr: float, betas: tuple[float, float], eps: float, seed: int):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self._seed = seed

    def load_state_dict(self, state_dict: dict) -> None:
        """As torch's, but that each tensor keeps its type: torch gives all of them the weights'."""
        super().load_state_dict(state_dict)
        weights = [p for group in self.param_groups for p in group["params"]]
        for number, state in state_dict["state"].items():
            own = {key: value for key, value in state.items() if isinstance(value, Tensor)}
            self.state[weights[number]].update({key: t.to(weights[number].device, copy=True) for key, t in own.items()})

    @torch.no_grad()
    def step(self, closure=None):
        """One step; returns what `closure` does, which computes the gradients anew."""
        loss = closure_loss(closure)
        number = 0
        for group in self.param_groups:
            for p in group["params"]:
                number += 1
                if p.grad is not None:
                    self._step(group, p, number)
        return loss

    def _step(self, group: dict, p: Tensor, number: int) -> None:
        state = self.state[p]
        state["step"] = count = state.get("step", 0) + 1
        beta1, beta2 = group["betas"]
        size = group["lr"] * math.sqrt(1.0 - beta2**count) / (1.0 - beta1**count)
        keep = 1.0 - group["lr"] * group["weight_decay"]
        if "rank" in group:
            update = _update_matrix(group, state, state["projector"].project(p.grad, count))
            state["projector"].add_back(p, update, -size, keep)
            return
        assert p.grad is not None, "only parameters with a gradient are stepped"
        flat, gradient = _matrix(p), _matrix(p.grad)
        update = _update_matrix(group, state, gradient) if p.dim() > 1 else _update_vector(group, state, gradient)
        seed = zlib.crc32(f"{self._seed} {number} {count}".encode())
        generator = torch.Generator(p.device).manual_seed(seed)
        for part in slices(flat):
            moved = flat[part].to(_fp32(p)).add(update[part], alpha=-size).mul_(keep)
            flat[part] = rounded(moved, p.dtype, "stochastic" if p.dtype == torch.bfloat16 else "nearest", generator)


def state_bytes(shape: tuple[int, ...]) -> int:
    """What is kept of a gradient of this shape."""
    if len(shape) < 2:
        return 8 * math.prod(shape)
    rows, columns = math.prod(shape[:-1]), shape[-1]
    return rows * columns + 4 * (rows * (columns // block_of(columns)) + rows + columns)


def _matrix(tensor: Tensor) -> Tensor:
    """A view [rows, last]; of a vector [1, n]."""
    return tensor.view(-1, tensor.shape[-1]) if tensor.dim() else tensor.view(1, 1)


def _fp32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _update_vector(group: dict, state: dict, gradient: Tensor) -> Tensor:
    """Adam's m / (√v + ε) of a gradient [1, n]."""
    g = gradient.to(_fp32(gradient))
    if "exp_avg" not in state:
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(g), torch.zeros_like(g)
    beta1, beta2 = group["betas"]
    first = state["exp_avg"].mul_(beta1).add_(g, alpha=1.0 - beta1)
    second = state["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1.0 - beta2)
    return first / second.sqrt().add_(group["eps"])


def _update_matrix(group: dict, state: dict, gradient: Tensor) -> Tensor:
    """The same of a gradient [a, b], in its place, with a factored v and m in 8 bits."""
    if "moment" not in state:
        _begin(state, gradient)
    beta1, beta2 = group["betas"]
    rows, columns = state["rows"], state["columns"]
    before = rows.clone(), columns.clone()
    total = torch.zeros_like(columns)
    for part in slices(gradient):
        squares = gradient[part].to(rows.dtype).square()
        rows[part].mul_(beta2).add_(squares.mean(1), alpha=1.0 - beta2)
        total += squares.sum(0)
    columns.mul_(beta2).add_(total, alpha=(1.0 - beta2) / gradient.shape[0])
    for part in slices(gradient):
        moment = _read(state, part) * _root(*before, part, group["eps"])
        moment.mul_(beta1).add_(gradient[part], alpha=1.0 - beta1).div_(_root(rows, columns, part, group["eps"]))
        gradient[part] = moment
        _keep(state, part, moment)
    return gradient


def _begin(state: dict, gradient: Tensor) -> None:
    (a, b), dtype, device = gradient.shape, _fp32(gradient), gradient.device
    state["moment"] = torch.zeros((a, b), dtype=torch.int8, device=device)
    state["scale"] = torch.zeros((a, b // block_of(b)), dtype=dtype, device=device)
    state["rows"] = torch.zeros(a, dtype=dtype, device=device)
    state["columns"] = torch.zeros(b, dtype=dtype, device=device)


def _root(rows: Tensor, columns: Tensor, part: slice, eps: float) -> Tensor:
    """√v + ε [rows of the part, b], v = rows · columns / their mean; ε where there was no gradient yet."""
    mean = columns.mean().clamp_min(torch.finfo(columns.dtype).tiny)
    return (rows[part, None] * (columns / mean)).sqrt_().add_(eps)


def _read(state: dict, part: slice) -> Tensor:
    """The first moment, divided by the root of the second."""
    scale = state["scale"][part]
    return (state["moment"][part].unflatten(1, (scale.shape[1], -1)) * scale[..., None]).flatten(1)


def _keep(state: dict, part: slice, moment: Tensor) -> None:
    blocks = moment.unflatten(1, (state["scale"].shape[1], -1))
    scale = blocks.abs().amax(-1) / 127
    state["scale"][part] = scale
    counts = (blocks / scale.clamp_min(torch.finfo(scale.dtype).tiny)[..., None]).round_().clamp_(-127, 127)
    state["moment"][part] = counts.flatten(1).to(torch.int8)
