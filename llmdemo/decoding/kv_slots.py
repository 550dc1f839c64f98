"""Room for the keys and values of runs, several side by side in one tensor: one attention a layer serves all of one size.

A run's slot is a view of a chunk, so that runs join and leave a forward without a copy. Knows no model and no lane.
"""

import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
import torch.nn.functional as F

_CHUNK_BYTES = 128 * 2**20
_MOST_SLOTS = 16
_LEAST_NODES = 128
_ROUND = 64
"""A GPU's attention kernels like round sizes."""


class Chunk:
    """keys and values [layers, slots, kv heads, nodes, D] of as many runs."""

    def __init__(self, slots: int, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device):
        """`shape`: layers, kv heads, nodes, D."""
        self.nodes, self.slots = shape[2], slots
        whole = (shape[0], slots, *shape[1:])
        with torch.inference_mode(
            False
        ):  # made in it, only runs in it might write here, and who takes a slot may not be
            self.keys = torch.empty(whole, dtype=dtype, device=device)
            self.values = torch.empty_like(self.keys)
        self.free = list(reversed(range(slots)))


class Slot:
    """One run's room: keys and values [layers, kv heads, nodes, D]. It is free again when nobody refers to it."""

    def __init__(self, chunk: Chunk, number: int):
        self.chunk, self.number = chunk, number
        self.keys, self.values = chunk.keys[:, number], chunk.values[:, number]
        if chunk.slots > 1:
            # what is beyond a run's own nodes is read beside longer ones: 0 · NaN would be NaN even under the mask
            self.keys.zero_()
            self.values.zero_()

    def __del__(self) -> None:
        self.chunk.free.append(self.number)  # without a lock: it may run amid anything


class Slots:
    """Gives slots for one set of weights. Any thread may call it. A chunk lives as long as one of its slots, the latest longer."""

    def __init__(self, layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device):
        self._layers, self._kv_heads, self._head_dim, self._dtype, self._device = (
            layers,
            kv_heads,
            head_dim,
            dtype,
            device,
        )
        self._lock = threading.Lock()
        self._chunks: weakref.WeakSet[Chunk] = weakref.WeakSet()
        self._latest: Chunk | None = None  # stays, so that one request after another finds its memory there

    def take(self, nodes: int) -> Slot:
        """A slot of at least so many nodes; those of up to a quarter of a chunk's bytes have neighbours."""
        size = max(_LEAST_NODES, 1 << (nodes - 1).bit_length())
        slots = min(_MOST_SLOTS, _CHUNK_BYTES // self._bytes(size))
        if slots < 4:
            return self._new(-(-nodes // _ROUND) * _ROUND, 1)
        with self._lock:
            for chunk in self._chunks:
                if chunk.nodes == size and chunk.free:
                    return Slot(chunk, chunk.free.pop())
            slot = self._new(size, slots)
            self._chunks.add(slot.chunk)
            self._latest = slot.chunk
            return slot

    def _new(self, nodes: int, slots: int) -> Slot:
        shape = (self._layers, self._kv_heads, nodes, self._head_dim)
        chunk = Chunk(slots, shape, self._dtype, self._device)
        return Slot(chunk, chunk.free.pop())

    def _bytes(self, nodes: int) -> int:
        return 2 * self._layers * self._kv_heads * nodes * self._head_dim * self._dtype.itemsize


class SlotPart:
    """What one run brings to a forward of M new nodes besides their tokens.

    rotation (M or 1, D/2): of their positions; mask (M, nodes): 0 where a new node descends from a node (or is it) and
    −inf elsewhere; place: where their keys and values are kept, a slice or indices. `logits`: of how many of the last of
    them logits are wanted, by default of all. `following` (N,): what follows each of the first N, where it is wanted how
    likely that is; then `surprise` (N,) tells it, −log p in nats.
    """

    def __init__(
        self,
        keys: torch.Tensor,
        values: torch.Tensor,
        rotation: torch.Tensor,
        mask: torch.Tensor,
        place: slice | torch.Tensor,
        slot: Slot | None = None,
        logits: int | None = None,
    ):
        """keys, values [layers, kv heads, nodes, D]; `slot`: whose they are, where one attention may serve its neighbours too."""
        self.rows, self.end = mask.shape
        self.keys, self.values, self.rotation, self.mask, self.place = keys, values, rotation, mask, place
        self.logits = self.rows if logits is None else logits
        self.slot = slot if slot is not None and slot.chunk.slots > 1 else None
        self.following = self.surprise = self._wide = torch.empty(0)
        self._seen: list[Sequence[torch.Tensor]] = []
        self._new: list[Sequence[torch.Tensor]] = []

    @property
    def group(self) -> tuple[int, int]:
        """Equal for parts that one attention can serve."""
        return (id(self.slot.chunk), self.rows) if self.slot else (0, id(self))

    def attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """fused_llama.Part.attend."""
        rows, heads, dim = q.shape
        group = heads // k.shape[1]
        if layer == 0:  # of all layers at once, each of which would be two operations more
            self._wide = self.mask[:, None].expand(-1, group, -1).reshape(1, 1, rows * group, self.end)
            every = (self.keys, self.values)
            self._seen = [each[:, None, :, : self.end].unbind() for each in every]
            if isinstance(self.place, slice):
                self._new = [each[:, :, self.place].transpose(1, 2).unbind() for each in every]
        if isinstance(self.place, slice):
            self._new[0][layer].copy_(k)
            self._new[1][layer].copy_(v)
        else:
            self.keys[layer, :, self.place] = k.transpose(0, 1)
            self.values[layer, :, self.place] = v.transpose(0, 1)
        q = q.view(rows, -1, group, dim).transpose(0, 1).reshape(1, -1, rows * group, dim)  # (1, Hkv, M·G, D)
        mixed = F.scaled_dot_product_attention(q, self._seen[0][layer], self._seen[1][layer], attn_mask=self._wide)
        return mixed.view(-1, rows, group, dim).transpose(0, 1).reshape(rows, heads * dim)


class Neighbours:
    """Parts of several runs in one chunk, each of R new nodes, in the order of their slots: S of them."""

    def __init__(self, parts: Sequence[SlotPart], chunk: Chunk, numbers: list[int]):
        """`numbers`: of the slots."""
        self._chunk, self._each = chunk, parts[0].rows
        self.rows = len(parts) * self._each
        self.end = max(part.end for part in parts)
        self.rotation = torch.cat([part.rotation.expand(self._each, -1) for part in parts])
        device = chunk.keys.device
        self._first, self._last = numbers[0], numbers[-1] + 1
        self._numbers = torch.tensor(numbers, device=device)[:, None]  # (S, 1)
        starts = torch.tensor([part.end - self._each for part in parts], device=device)[:, None]
        self._places = starts + torch.arange(self._each, device=device)  # (S, R)
        self._gaps = self._last - self._first > len(parts)
        mask = torch.stack([F.pad(part.mask, (0, self.end - part.end), value=-torch.inf) for part in parts])
        self._mask = self._spread(mask)[:, None, :, None]  # (slots, 1, R, 1, nodes)
        self._wide = torch.empty(0)

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        """x (S, …) with zeros for the slots in between whose runs take no part."""
        if not self._gaps:
            return x
        wide = x.new_zeros((self._last - self._first, *x.shape[1:]))
        wide[self._numbers[:, 0] - self._first] = x
        return wide

    def attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """fused_llama.Part.attend."""
        every, (rows, heads, dim) = len(self._numbers), q.shape
        kv_heads = k.shape[1]
        keys, values = self._chunk.keys[layer], self._chunk.values[layer]
        keys[self._numbers, :, self._places] = k.view(every, self._each, kv_heads, dim)
        values[self._numbers, :, self._places] = v.view(every, self._each, kv_heads, dim)
        keys, values = (each[self._first : self._last, :, : self.end] for each in (keys, values))
        group = heads // kv_heads
        q = self._spread(q.view(every, self._each, kv_heads, group, dim).transpose(1, 2))  # (slots, Hkv, R, G, D)
        q = q.reshape(len(q), kv_heads, -1, dim)
        if layer == 0:
            self._wide = self._mask.expand(-1, -1, -1, group, -1).reshape(len(q), 1, -1, self.end)
        mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=self._wide)
        mixed = mixed[self._numbers[:, 0] - self._first] if self._gaps else mixed
        return mixed.view(every, kv_heads, self._each, group, dim).transpose(1, 2).reshape(rows, heads * dim)


def merged(parts: Sequence[SlotPart]) -> Iterator[SlotPart | Neighbours]:
    """The parts, with those beside each other that one attention can serve as one; sorted by `beside`."""
    for (chunk, _), several in groupby(parts, key=lambda part: part.group):
        found = list(several)
        if not chunk or len(found) == 1:
            yield from found
        else:
            slots = [part.slot for part in found if part.slot is not None]
            yield Neighbours(found, slots[0].chunk, [slot.number for slot in slots])


def beside(part: SlotPart) -> tuple[int, int, int]:
    """What parts are sorted by for `merged`."""
    return (*part.group, part.slot.number if part.slot else 0)
