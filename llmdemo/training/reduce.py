"""Sums over processes: what crosses the wire is the projected gradient, and the full one of matrices due for a refresh.

Knows nothing of the loop. Without several processes, nothing happens.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from llmdemo.training.optimizer import Optimizer

BUCKET_BYTES = 32 * 2**20
"""Gradients are joined into buffers of about this size: many small messages are slow."""


def reduce_gradients(optimizer: Optimizer) -> int:
    """Sums the gradients of all processes, in place; returns the bytes that this process sent in."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return 0
    optimizer.fill_missing()
    sent = 0
    for bucket in _buckets(optimizer.gradients()):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        dist.all_reduce(flat)
        sent += flat.numel() * flat.element_size()
        for gradient, part in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
            gradient.copy_(part.view_as(gradient))
    return sent


def _buckets(gradients: list[Tensor]) -> list[list[Tensor]]:
    """In order, one type a bucket."""
    buckets: list[list[Tensor]] = []
    size = 0
    for gradient in gradients:
        if not buckets or size > BUCKET_BYTES or buckets[-1][0].dtype != gradient.dtype:
            buckets.append([])
            size = 0
        buckets[-1].append(gradient)
        size += gradient.numel() * gradient.element_size()
    return buckets


def take_first(tensor: Tensor) -> None:
    """Overwrites `tensor`, which is contiguous, with the first process's."""
    dist.broadcast(tensor, 0)


def of_all_processes(tensor: Tensor, device: torch.device) -> list[Tensor]:
    """Every process's tensor of this shape, in order, on the CPU."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [tensor]
    own = tensor.to(device)
    found = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(found, own)
    return [each.cpu() for each in found]


def sum_over_processes(values: list[float], device: torch.device) -> list[float]:
    """Each value's sum over all processes."""
    total = torch.tensor(values, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    dist.all_reduce(total)
    return total.tolist()
