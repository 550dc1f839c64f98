"""What galore_torch's optimizers are given in place of their own parts. Knows nothing of steps and runs."""

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from llmdemo.training.gradients import GradientAccumulator


@dataclass
class Projector:
    """Stands where galore_torch keeps its GaLoreProjector: the gradient is already projected when it is asked for."""

    slot: GradientAccumulator
    scale: float

    def project(self, gradient: Tensor, iteration: int) -> Tensor:
        return self.slot.take_low()

    def project_back(self, low: Tensor) -> Tensor:
        # GaLoreAdamW8bit has put the projected gradient there; with this matrix done, it would only take memory.
        self.slot.weight.grad = None
        return self.slot.subspace.back(low).mul_(self.scale)

    def add_back(self, weight: Tensor, low: Tensor, factor: float, keep: float = 1.0) -> None:
        """The weight becomes keep · (weight + factor · project_back(low)), in place."""
        slot = self.slot
        if slot.matrix:
            slot.matrix.add_back(slot.subspace, low, factor * self.scale, slot.generator, keep)
            return
        slot.subspace.add_back(weight, low, factor * self.scale)
        if keep != 1.0:
            weight.mul_(keep)


@contextmanager
def without_cuda_sync(inner: torch.optim.Optimizer):
    """GaLoreAdamW8bit waits for CUDA after every matrix, which fails without CUDA and stalls with it.

    bitsandbytes' kernels run on the current stream, in order with everything else: there is nothing to wait for.
    """
    if type(inner).__name__ != "AdamW8bit" or not type(inner).__module__.startswith("galore_torch"):
        yield
        return
    synchronize = torch.cuda.synchronize
    torch.cuda.synchronize = lambda *args: None
    try:
        yield
    finally:
        torch.cuda.synchronize = synchronize
