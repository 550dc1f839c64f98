"""A training step's forward and backward pass as one CUDA graph, captured once a shape and replayed.

Both passes of a small model are thousands of short kernels, and starting them one by one takes the host several times
as long as running them takes the GPU. A captured pass has fixed shapes and addresses: its batch is copied into the
tensors that it was captured with, and its gradients are left in sums that all shapes share. Its intermediate results
lie in a pool that all shapes share too.

Knows nothing of tasks and of what the optimizer does with the gradients.
"""

import gc
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from llmdemo.training.batches import FixedBatch
from llmdemo.training.optimizer import Optimizer
from llmdemo.training.reduce import Reduction


class _Capture:
    """One shape's graph, and the tensors that it reads and writes."""

    def __init__(self, batch: FixedBatch, scale: Tensor):
        self.batch, self.scale = batch, scale
        self.replay: Callable[[], None] | None = None
        self.loss: Tensor | None = None
        self.owners: list = []
        """Slots and weights that got a gradient."""
        self.ready: dict[int, torch.cuda.Event] = {}
        """Of several processes: the event after which each bucket of gradients is whole."""


class CapturedPasses:
    """`run` puts a batch through the model, forward and backward, and hands the gradients to the optimizer."""

    def __init__(
        self,
        loss_of: Callable[[FixedBatch], Tensor],
        optimizer: Optimizer,
        device: torch.device,
        reduction: Reduction | None = None,
    ):
        """`loss_of` gives the summed loss [] of a batch, and waits for nothing. Without CUDA, a replay computes anew.

        `reduction`: its buffers are where the sums lie; it has begun before each `run` that is the first of a step.
        """
        self._loss_of, self._optimizer, self._device, self._reduction = loss_of, optimizer, device, reduction
        self._captures: dict[tuple, _Capture] = {}
        self._sums: dict = {}
        if device.type == "cuda":
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream(device)

    def __len__(self) -> int:
        """Shapes captured so far."""
        return len(self._captures)

    def run(self, batch: FixedBatch, scale: float, first: bool, send: bool = False) -> Tensor:
        """Adds the gradients of scale · loss; returns that product [].

        `first`: whether what was accumulated before is forgotten; `send`: whether the sums over processes begin as their
        parts become whole. Raises RuntimeError, and what the model raises, where it cannot be captured.
        """
        key = (batch.shape, first)
        if key not in self._captures:
            self._captures[key] = self._capture(batch, first)
        capture = self._captures[key]
        capture.batch.copy_(batch)
        capture.scale.fill_(scale)
        assert capture.replay is not None, "a capture is kept only once it can be replayed"
        capture.replay()
        if send and self._reduction:
            self._reduction.send_after(capture.ready)
        self._optimizer.adopt({owner: self._sums[owner] for owner in capture.owners})
        assert capture.loss is not None, "the pass that is replayed has set it"
        return capture.loss.clone()

    def _capture(self, batch: FixedBatch, first: bool) -> _Capture:
        capture = _Capture(batch.to(self._device), torch.ones((), device=self._device))
        self._make_sums()
        if self._device.type != "cuda":
            capture.replay = partial(self._pass, capture, first)
            return capture
        graph = torch.cuda.CUDAGraph()
        with self._recording(graph):
            self._pass(capture, first)
        capture.replay = graph.replay
        return capture

    def _pass(self, capture: _Capture, first: bool) -> None:
        """Forward and backward; the gradients go into the sums and nowhere else."""
        optimizer = self._optimizer
        optimizer.zero_grad()
        optimizer.expect_parts(1)
        capture.owners.clear()
        if self._reduction:
            self._reduction.watch(partial(self._mark, capture))
            if not first:  # these are added to where they lie
                optimizer.adopt({slot: self._sums[slot] for slot in optimizer.slots})
        hooks = [p.register_post_accumulate_grad_hook(partial(self._add, capture, first)) for p in optimizer.others]
        try:
            loss = self._loss_of(capture.batch) * capture.scale
            loss.backward()
            capture.loss = loss.detach()
            self._add_projected(capture, first)
        finally:
            for hook in hooks:
                hook.remove()
            if self._reduction:
                self._reduction.unwatch()
            optimizer.zero_grad()

    def _make_sums(self) -> None:
        """Before a capture: what is made within one belongs to the pool."""
        if self._reduction:
            self._sums = self._reduction.places
        for p in self._optimizer.others:
            if p not in self._sums:
                self._sums[p] = torch.zeros_like(p)
        for slot in self._optimizer.slots:
            if slot not in self._sums:
                self._sums[slot] = torch.zeros(slot.subspace.low_shape, dtype=slot.dtype, device=self._device)

    def _add(self, capture: _Capture, first: bool, p: Tensor) -> None:
        """A weight's gradient goes into its sum as soon as it is whole, and its memory back."""
        assert p.grad is not None, "the hook runs once there is one"
        (self._sums[p].copy_ if first else self._sums[p].add_)(p.grad)
        p.grad = None
        capture.owners.append(p)
        if self._reduction:
            self._reduction.whole(p)

    def _mark(self, capture: _Capture, number: int) -> None:
        """Called while a bucket's last gradient is recorded."""
        if self._device.type == "cuda":
            # External: a node of the graph, recorded anew by each replay, that other streams can wait for.
            capture.ready[number] = event = torch.cuda.Event(external=True)
            event.record(torch.cuda.current_stream(self._device))

    @torch.no_grad()
    def _add_projected(self, capture: _Capture, first: bool) -> None:
        found = [(slot, slot.low) for slot in self._optimizer.slots if slot.low is not None]
        if self._reduction:  # they lie where they belong already
            capture.owners += [slot for slot, _ in found]
        elif found:
            add = torch._foreach_copy_ if first else torch._foreach_add_
            add([self._sums[slot] for slot, _ in found], [low for _, low in found])
            capture.owners += [slot for slot, _ in found]

    @contextmanager
    def _recording(self, graph: torch.cuda.CUDAGraph):
        """torch.cuda.graph without its emptying of caches, which a run that meets many shapes would pay for each time."""
        collects = gc.isenabled()
        gc.disable()  # what it frees in the middle could be something that a capture forbids
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        try:
            with torch.cuda.stream(self._stream):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    yield
                finally:
                    graph.capture_end()
        finally:
            if collects:
                gc.enable()
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
