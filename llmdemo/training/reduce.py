"""Sums over processes: what crosses the wire is the projected gradient, and the full one of matrices due for a refresh.

Gradients lie in flat buffers, in the order in which the backward pass makes them. A buffer's part (a bucket) is sent as
soon as the last gradient in it is whole, while the pass goes on with the layers before; nothing is joined or copied
back, since each gradient is a view of its place. A captured pass (captured.py) cannot call out in the middle: it records
an event for each bucket instead, and a second stream sends each one after its event.

Every process sends the same tensors in the same order, whatever it had to compute. Knows nothing of the loop. Without
several processes, nothing happens.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from llmdemo.training.gradients import GradientAccumulator
from llmdemo.training.optimizer import Optimizer

BUCKET_BYTES = 16 * 2**20
"""A bucket is sent once it has grown to about this size: many small messages are slow, one large one overlaps nothing."""
_ALIGNED = 64
"""Each gradient begins at a multiple of so many values: kernels read whole lines of memory."""

Owner = GradientAccumulator | Tensor
"""What a gradient belongs to: a projected matrix, or another weight that is trained."""


@dataclass
class _Message:
    """What is sent at once: a bucket, or the full gradient of one matrix that is due for a refresh."""

    owners: list[Owner]
    flat: Tensor | None = None
    """The bucket; None for a full gradient."""


@dataclass
class _Bucket:
    dtype: torch.dtype
    start: int
    """In the flat buffer of its type, in values, as `end`."""
    end: int
    owners: list[Owner] = field(default_factory=list)


class Reduction:
    """Sums the gradients of `optimizer` over all processes.

    For each step: `begin`, any number of backward passes, the last of them after `watch`, then `finish` and `wait`.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device):
        self._optimizer, self._device = optimizer, device
        self.places: dict[Owner, Tensor] = {}
        """Where each gradient lies, a view of the flat buffers; made by the first `begin`."""
        self.bytes = 0
        """Sent by this process in the step so far."""
        self._flats: dict[torch.dtype, Tensor] = {}
        self._buckets: list[_Message] = []
        self._messages: list[_Message] = []
        self._message_of: dict[Owner, int] = {}
        self._left: list[int] = []
        """Of each message, how many gradients are not whole yet."""
        self._sent = 0
        self._works: list = []
        self._when_ready: Callable[[int], None] | None = None
        self._accumulates = True
        """Whether a weight's gradient is where it belongs as soon as autograd has accumulated it."""
        self._stream: torch.cuda.Stream | None = None

    # ---- one step

    def begin(self) -> None:
        """Before a step's first backward pass: all sums are 0, and gradients are accumulated where they are sent from."""
        if not self.places:
            self._lay_out()
        for flat in self._flats.values():
            flat.zero_()
        for p in self._optimizer.others:
            p.grad = self.places[p]
        self._messages = self._buckets if self._optimizer.no_refresh_due else list(self._due_messages())
        self._message_of = {owner: n for n, message in enumerate(self._messages) for owner in message.owners}
        self._sent = self.bytes = 0

    def watch(self, when_ready: Callable[[int], None] | None = None) -> None:
        """Before the forward pass of a step's last micro-batch: in its backward pass each message is sent once it is ready.

        `when_ready`: called instead with the number of each message that is ready, as they become so; the caller then
        tells by `whole` which weights' gradients are where they belong.
        """
        self._left = [len(message.owners) for message in self._messages]
        self._when_ready, self._accumulates = when_ready or self._send_in_order, when_ready is None
        for slot in self._optimizer.slots:
            slot.passes_left = 0

    def unwatch(self) -> None:
        """After that backward pass."""
        self._when_ready = None

    def finish(self) -> None:
        """After the last backward pass: sends what was not sent, zeros where this process computed nothing."""
        self.unwatch()
        for message in self._messages[self._sent :]:
            self._send(message)

    def send_after(self, events: dict[int, torch.cuda.Event]) -> None:
        """Of a captured pass that was started: sends each bucket after its event; `finish` sends those without one."""
        for number, message in enumerate(self._messages):
            if number not in events:
                return
            self._stream = self._stream or torch.cuda.Stream(self._device)
            self._stream.wait_event(events[number])
            with torch.cuda.stream(self._stream):
                self._send(message)

    def wait(self) -> None:
        """After `finish`: from here on (on a GPU: in the current stream) every gradient is the sum of all processes'."""
        for work in self._works:
            work.wait()
        self._works.clear()
        for p in self._optimizer.others:
            p.grad = self.places[p]
        for slot in self._optimizer.slots:
            if slot.active and not slot.due:
                slot.low = self.places[slot]

    def whole(self, owner: Owner) -> None:
        """Tells that this gradient is whole: of the pass that is watched, else it is no news."""
        number = self._message_of.get(owner)
        if self._when_ready is None or number is None:
            return
        self._left[number] -= 1
        if self._left[number] == 0:
            self._when_ready(number)

    def _accumulated(self, p: Tensor) -> None:
        if self._accumulates:
            self.whole(p)

    def _send_in_order(self, number: int) -> None:
        """Sends what is ready and has nothing before it that is not."""
        while self._sent < len(self._messages) and self._left[self._sent] == 0:
            self._send(self._messages[self._sent])

    def _send(self, message: _Message) -> None:
        flat = message.flat
        if flat is None:
            (slot,) = message.owners
            assert isinstance(slot, GradientAccumulator), "only a projected matrix has a full gradient beside"
            if slot.full is None:
                slot.full = torch.zeros(slot.subspace.shape, dtype=slot.dtype, device=self._device)
            flat = slot.full
        self._works.append(dist.all_reduce(flat, async_op=True))
        self._sent += 1
        self.bytes += flat.numel() * flat.element_size()

    # ---- the layout

    def _lay_out(self) -> None:
        """Makes the buffers: buckets in the order of the backward pass, each of one type."""
        owners = self._optimizer.backward_order()
        buckets, ends = [], dict.fromkeys((_dtype(owner) for owner in owners), 0)
        growing: dict[torch.dtype, _Bucket] = {}
        spans: dict[Owner, tuple[int, int]] = {}
        for owner in owners:
            dtype, size = _dtype(owner), _shape(owner).numel()
            bucket = growing.setdefault(dtype, _Bucket(dtype, ends[dtype], ends[dtype]))
            spans[owner] = bucket.end, bucket.end + size
            ends[dtype] = bucket.end = bucket.end + -(-size // _ALIGNED) * _ALIGNED
            bucket.owners.append(owner)
            if (bucket.end - bucket.start) * dtype.itemsize >= BUCKET_BYTES:
                buckets.append(growing.pop(dtype))
        self._flats = {dtype: torch.zeros(end, dtype=dtype, device=self._device) for dtype, end in ends.items()}
        for owner, (start, end) in spans.items():
            self.places[owner] = self._flats[_dtype(owner)][start:end].view(_shape(owner))
        for bucket in [*buckets, *growing.values()]:
            self._buckets.append(_Message(bucket.owners, self._flats[bucket.dtype][bucket.start : bucket.end]))
        for slot in self._optimizer.slots:
            slot.place, slot.when_whole = self.places[slot], self.whole
        for p in self._optimizer.others:
            p.register_post_accumulate_grad_hook(self._accumulated)

    def _due_messages(self) -> Iterable[_Message]:
        """Those of a step in which matrices are due for a refresh, or have no subspace yet."""
        for bucket in self._buckets:
            low = []
            for owner in bucket.owners:
                if not isinstance(owner, GradientAccumulator) or owner.active and not owner.due:
                    low.append(owner)
                elif owner.due:
                    yield _Message([owner])
            if low:
                yield _Message(low, bucket.flat)


def _dtype(owner: Owner) -> torch.dtype:
    return owner.dtype


def _shape(owner: Owner) -> torch.Size:
    return torch.Size(owner.subspace.low_shape) if isinstance(owner, GradientAccumulator) else owner.shape


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
