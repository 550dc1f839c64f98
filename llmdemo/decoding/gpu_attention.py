"""Attention of a tree's few new nodes over all that each sees, on a CUDA GPU: two kernels a layer. Knows no model.

The nodes are split into parts (flash decoding, Dao et al., 2023), so that they fill more than a few of a GPU's processors.
"""

import torch
import triton
import triton.language as tl

from llmdemo.decoding.gpu_follow import begin, launch

_NODES, _MOST_PARTS = 64, 32
"""Nodes of a tile, and the parts of all nodes at most."""
_LEAST = 16
"""Rows of a tile at least: what the hardware multiplies at once."""
_SIZES = ["rows", "each"]
"""Arguments for whose values, such as 1, no kernel is compiled anew."""


@triton.jit
def _loaded(keys, values, at, there):
    """Keys and values [NODES, D] at these places, 0 where they are not wanted."""
    return tl.load(keys + at, there[:, None], 0.0), tl.load(values + at, there[:, None], 0.0)


@triton.jit
def _with_tile(own, key, value, sees, scale, most, total, found):
    """(highest score, sum of weights [M], sum of values [M, D]) with those of one more tile, whose mask `sees` is [M, NODES]."""
    scores = tl.dot(own, tl.trans(key)) * scale + sees.to(tl.float32)
    higher = tl.maximum(most, tl.max(scores, 1))
    finite = tl.where(higher == float("-inf"), 0.0, higher)
    shares = tl.exp(scores - finite[:, None])
    shrink = tl.exp(most - finite)
    found = tl.dot(shares.to(value.dtype), value, found * shrink[:, None])
    return higher, total * shrink + tl.sum(shares, 1), found


@triton.jit(do_not_specialize=_SIZES)
def _attend(q, keys, values, mask, nodes, mixed, tops, sums, rows, capacity, scale, GROUP: tl.constexpr, HEADS: tl.constexpr,
            D: tl.constexpr, M: tl.constexpr, SPLIT: tl.constexpr, NODES: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """One part of the nodes, for the query heads of one key's head: the sums of values, their weights' sum, and the highest
    score [parts, rows, HEADS, …]."""
    head, part = tl.program_id(0), tl.program_id(1)
    index, d = tl.arange(0, M), tl.arange(0, D)
    row = index // GROUP
    there = (row < rows)[:, None]
    place = row * HEADS + head * GROUP + index % GROUP
    out = part * rows * HEADS + place
    own_keys, own_values = keys + head * capacity * D, values + head * capacity * D
    of_row = mask + row[:, None] * capacity
    old = tl.load(nodes)
    used = old + rows
    # of the first tile all but the new nodes was there before the last kernel
    node = part * SPLIT + tl.arange(0, NODES)
    at = node[:, None] * D + d[None, :]
    key, value = _loaded(own_keys, own_values, at, node < old)
    sees = tl.load(of_row + node[None, :], there & (node < used)[None, :], float("-inf"))
    begin(FOLLOWS)
    if part * SPLIT < used:
        own = tl.load(q + place[:, None] * D + d[None, :], there, 0.0)
        is_new = (node >= old) & (node < used)
        new_key, new_value = _loaded(own_keys, own_values, at, is_new)
        key, value = tl.where(is_new[:, None], new_key, key), tl.where(is_new[:, None], new_value, value)
        most = tl.full((M,), float("-inf"), tl.float32)
        total, found = tl.zeros((M,), tl.float32), tl.zeros((M, D), tl.float32)
        most, total, found = _with_tile(own, key, value, sees, scale, most, total, found)
        for first in range(NODES, SPLIT, NODES):
            node = part * SPLIT + first + tl.arange(0, NODES)
            key, value = _loaded(own_keys, own_values, node[:, None] * D + d[None, :], node < used)
            sees = tl.load(of_row + node[None, :], there & (node < used)[None, :], float("-inf"))
            most, total, found = _with_tile(own, key, value, sees, scale, most, total, found)
        tl.store(mixed + out[:, None] * D + d[None, :], found, there)
        tl.store(tops + out, most, row < rows)
        tl.store(sums + out, total, row < rows)


@triton.jit(do_not_specialize=_SIZES)
def _joined(mixed, tops, sums, nodes, out, rows, each, D: tl.constexpr, PARTS: tl.constexpr, SPLIT: tl.constexpr,
            FOLLOWS: tl.constexpr):  # fmt: skip
    """out [rows · heads, D] of the parts that hold nodes; each: rows · heads."""
    place, part, d = tl.program_id(0), tl.arange(0, PARTS), tl.arange(0, D)
    there = part * SPLIT < tl.load(nodes) + rows
    begin(FOLLOWS)
    top = tl.load(tops + part * each + place, there, float("-inf"))
    total = tl.load(sums + part * each + place, there, 0.0)
    found = tl.load(mixed + (part * each + place)[:, None] * D + d[None, :], there[:, None], 0.0)
    share = tl.exp(top - tl.max(top, 0))
    result = tl.sum(found * share[:, None], 0) / tl.sum(share * total, 0)
    tl.store(out + place * D + d, result.to(out.dtype.element_ty))


class Attention:
    """One layer after another's attention of the same rows, from `q` [R, Hq · D] into `out`, alike."""

    def __init__(self, w, rows: int, capacity: int, out: torch.Tensor, can_follow: bool):
        self.q, self._out, self._rows, self._capacity = torch.empty_like(out), out, rows, capacity
        self._heads, self._kv_heads, self._dim = w.heads, w.kv_heads, w.head_dim
        self._split = max(_NODES, triton.next_power_of_2(-(-capacity // _MOST_PARTS)))
        self._parts = -(-capacity // self._split)
        self._can_follow = can_follow
        shape = (self._parts, rows, w.heads)
        self._mixed = torch.empty((*shape, w.head_dim), dtype=torch.float32, device=out.device)
        self._tops, self._sums = self._mixed.new_empty(shape), self._mixed.new_empty(shape)

    def __call__(self, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, nodes: torch.Tensor) -> None:
        rows, dim, group = self._rows, self._dim, self._heads // self._kv_heads
        parts = (self._mixed, self._tops, self._sums)
        tile = max(_LEAST, triton.next_power_of_2(rows * group))
        _attend[(self._kv_heads, self._parts)](
            *(self.q, keys, values, mask, nodes, *parts, rows, self._capacity, dim**-0.5),
            *(group, self._heads, dim, tile, self._split, _NODES, self._can_follow),
            num_warps=4 if tile > _LEAST else 2,
            num_stages=1,
            **launch(self._can_follow),
        )
        each = rows * self._heads
        padded = triton.next_power_of_2(self._parts)
        _joined[(each,)](
            *(*parts, nodes, self._out, rows, each, dim, padded, self._split, self._can_follow),
            num_warps=1,
            **launch(self._can_follow),
        )
