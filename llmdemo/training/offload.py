"""The sums of projected gradients, kept in the computer's memory while the GPU works on the next layer.

At rank 1024 the low-rank gradients of a 7B model are 3 GiB, and they wait on the GPU through every pass of an
accumulation. Here a matrix's part is added to its sum on a second stream: the sum comes in over the bus, the part is
added on the GPU, in the same order and type as without, and the sum goes out again. The GPU's own work doesn't wait.

Knows nothing of models and optimizers.
"""

from collections import deque

import torch
from torch import Tensor

IN_FLIGHT = 4
"""Sums that may be under way at a time; each is there twice, as a part and as a sum."""


class HostSums:
    """One sum a key, in pinned memory. All its tensors are on one CUDA device."""

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pinned: dict[object, Tensor] = {}
        self._filled: dict[object, Tensor] = {}
        """Keys with a sum, and the sum's norm, a scalar on the GPU."""
        self._under_way: deque[torch.cuda.Event] = deque()
        self.factor = 1.0
        """What every sum is multiplied by when it is taken: how clipping reaches them."""

    def __contains__(self, key) -> bool:
        return key in self._filled

    def add(self, key, part: Tensor) -> None:
        """Adds `part`, made on the current stream, to the sum of `key`."""
        made = torch.cuda.current_stream(self._device).record_event()
        part.record_stream(self._stream)
        host = self._host(key, part)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(made)
            total = host.to(self._device, non_blocking=True).add_(part) if key in self._filled else part
            host.copy_(total, non_blocking=True)
            self._filled[key] = torch.linalg.vector_norm(total, dtype=torch.float32)
            self._under_way.append(self._stream.record_event())
        # The computer runs ahead of the GPU: without a bound, all parts would wait for the bus together.
        while len(self._under_way) > IN_FLIGHT:
            self._under_way.popleft().synchronize()

    def _host(self, key, like: Tensor) -> Tensor:
        if key not in self._pinned:
            self._pinned[key] = torch.empty(like.shape, dtype=like.dtype, pin_memory=True)
        return self._pinned[key]

    def norms(self) -> list[Tensor]:
        """The norm of each sum, scalars on the GPU."""
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return list(self._filled.values())

    def take(self, key) -> Tensor:
        """The sum of `key` on the GPU, times `factor`."""
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        total = self._pinned[key].to(self._device, non_blocking=True)
        return total if self.factor == 1.0 else total.mul_(self.factor)

    def pop(self, key) -> Tensor:
        """The sum of `key` on the GPU as it is; its memory here is given back."""
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        total = self._pinned[key].to(self._device, non_blocking=True)
        del self._pinned[key], self._filled[key]
        return total

    def clear(self) -> None:
        """Forgets the sums; their memory stays for the next step."""
        # What comes next on the second stream must not overtake a `take` on the first.
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        self._filled.clear()
        self.factor = 1.0
