"""GaLore's AdamW as galore_torch's GaLoreAdamW computes it, stepping many matrices with few kernels.

The mathematics and the state are GaLoreAdamW's; its loop launches some fifteen small kernels a matrix, which on a GPU
takes longer than the arithmetic. Here the moments of many matrices are updated by torch's foreach operations, and a
matrix's update goes into its weight by one product, p ← p − s · back(m / (√v + ε)), without a full-size copy between.
tests/training/test_optimizer.py compares the two.

`step_where_finite` is the same step for a GPU whose host runs ahead: the device itself clips, and leaves the step out
where a gradient is not finite.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

CHUNK_VALUES = 16 * 2**20
"""Values whose intermediate results exist at a time."""
SLICE_VALUES = 2**18
"""The same on a CPU, where a cache should hold them."""


class ForeachGaLoreAdamW(torch.optim.Optimizer):
    """For dense gradients; a group with "rank" needs its projectors set beforehand.

    Made from torch alone: galore_torch imports bitsandbytes, and that torch's compiler, for as long as all else a run
    imports.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        correct_bias: bool = True,
    ):
        """The names and defaults of galore_torch's GaLoreAdamW."""
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "correct_bias": correct_bias}
        super().__init__(params, defaults)
        self._unread: deque[list[dict]] = deque()
        """States that each step of `step_where_finite` counted, until `tell` says whether it was left out."""
        self._left_out: Tensor | None = None
        """Of these steps, how many the device left out."""

    @torch.no_grad()
    def step(self, closure=None):
        """One step; returns what `closure` does, which computes the gradients anew."""
        loss = closure_loss(closure)
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            on_cpu = bool(parameters) and parameters[0].device.type == "cpu"
            for chunk in _chunks(parameters, SLICE_VALUES if on_cpu else CHUNK_VALUES):
                self._step_chunk(group, chunk)
        return loss

    @torch.no_grad()
    def step_where_finite(self, divisor: Tensor | None, skip: Tensor) -> None:
        """One step with all gradients divided by `divisor` [] (None: as they are); none where `skip` [] is 1.

        Nothing waits for the device. Its counters know at once that a step was left out, the host's when `tell` says so.
        """
        if self._left_out is None:
            self._left_out = torch.zeros_like(skip)
        counted: list[dict] = []
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            for same in _by_step(self.state, parameters):
                self._step_fused(group, same, divisor, skip)
                counted += [self.state[p] for p in same]
        self._left_out += skip
        self._unread.append(counted)

    def tell(self, left_out: bool) -> None:
        """What became of the oldest step of `step_where_finite` that was not told yet."""
        states = self._unread.popleft()
        if left_out and self._left_out is not None:
            self._left_out = self._left_out - 1
            for state in states:
                state["step"] -= 1

    def _step_fused(self, group: dict, parameters: list[Tensor], divisor: Tensor | None, skip: Tensor) -> None:
        """torch's fused Adam on the projected gradients: what it writes into zeros is the update."""
        states, gradients = self._begin(group, parameters)
        count, (beta1, beta2) = states[0]["step"], group["betas"]
        updated = _zeros_like(gradients) if "rank" in group else parameters
        torch._fused_adam_(
            updated,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [count - self._left_out] * len(states),
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=0.0,
            # torch adds ε to the corrected root of v, galore_torch to the root itself.
            eps=group["eps"] / math.sqrt(1.0 - beta2**count),
            amsgrad=False,
            maximize=False,
            grad_scale=divisor,
            found_inf=skip,
        )
        if "rank" in group:
            for p, state, update in zip(parameters, states, updated, strict=True):
                state["projector"].add_back(p, update, 1.0)
        if group["weight_decay"] > 0.0:
            torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"] * (1.0 - skip))

    def _step_chunk(self, group: dict, parameters: list[Tensor]) -> None:
        states, gradients = self._begin(group, parameters)
        first, second = [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]
        if "rank" not in group and parameters[0].device.type == "cpu":
            for p, state, *tensors in zip(parameters, states, first, second, gradients, strict=True):
                for weights, *parts in zip(_slices(p), *map(_slices, tensors), strict=True):
                    weights.add_(_updates(group, *([part] for part in parts))[0], alpha=-_size(group, state))
        else:
            updates = _updates(group, first, second, gradients)
            for p, state, update in zip(parameters, states, updates, strict=True):
                self._apply(group, p, state, update)
        if group["weight_decay"] > 0.0:
            torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])

    def _begin(self, group: dict, parameters: list[Tensor]) -> tuple[list[dict], list[Tensor]]:
        """The states of one more step, with moments, and the gradients, where there is a rank projected ones."""
        states = [self.state[p] for p in parameters]
        gradients = [self._gradient(group, p, state) for p, state in zip(parameters, states, strict=True)]
        for state, gradient in zip(states, gradients, strict=True):
            if "exp_avg" not in state:
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            state["step"] += 1
        return states, gradients

    def _gradient(self, group: dict, p: Tensor, state: dict) -> Tensor:
        state.setdefault("step", 0)
        assert p.grad is not None, "only parameters with a gradient are stepped"
        return state["projector"].project(p.grad, state["step"]) if "rank" in group else p.grad

    def _apply(self, group: dict, p: Tensor, state: dict, update: Tensor) -> None:
        if "rank" in group:
            state["projector"].add_back(p, update, -_size(group, state))
        else:
            p.add_(update, alpha=-_size(group, state))


def closure_loss(closure: Callable | None):
    """What `closure` returns, which computes the gradients anew, as torch's optimizers call it; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _updates(group: dict, first: list[Tensor], second: list[Tensor], gradients: list[Tensor]) -> Sequence[Tensor]:
    """m / (√v + ε) of each tensor, after `gradients` have gone into the moments m and v."""
    beta1, beta2 = group["betas"]
    torch._foreach_mul_(first, beta1)
    torch._foreach_add_(first, gradients, alpha=1.0 - beta1)
    torch._foreach_mul_(second, beta2)
    torch._foreach_addcmul_(second, gradients, gradients, value=1.0 - beta2)
    scaled = torch._foreach_sqrt(second)
    torch._foreach_add_(scaled, group["eps"])
    torch._foreach_reciprocal_(scaled)
    torch._foreach_mul_(scaled, first)
    return scaled


def _by_step(states, parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """The parameters in lists that have taken equally many steps."""
    found: dict[int, list[Tensor]] = {}
    for p in parameters:
        found.setdefault(states[p].get("step", 0), []).append(p)
    yield from found.values()


def _zeros_like(tensors: list[Tensor]) -> list[Tensor]:
    """Zeros of these shapes, views of one tensor: one kernel makes them all."""
    flat = tensors[0].new_zeros(sum(tensor.numel() for tensor in tensors))
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _size(group: dict, state: dict) -> float:
    """The learning rate, corrected for moments that began at 0."""
    beta1, beta2 = group["betas"]
    corrected = math.sqrt(1.0 - beta2 ** state["step"]) / (1.0 - beta1 ** state["step"])
    return group["lr"] * (corrected if group["correct_bias"] else 1.0)


def _slices(tensor: Tensor) -> tuple[Tensor, ...]:
    """Views of a tensor that a processor's cache holds through all operations of an update: half the time for embeddings."""
    return tensor.view(-1).split(SLICE_VALUES) if tensor.is_contiguous() else (tensor,)


def _chunks(parameters: list[Tensor], most: int):
    """Lists of parameters with at most `most` values in all, or one that is larger alone."""
    chunk: list[Tensor] = []
    size = 0
    for p in parameters:
        if chunk and size + p.numel() > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(p)
        size += p.numel()
    if chunk:
        yield chunk
