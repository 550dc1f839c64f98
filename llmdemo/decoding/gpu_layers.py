"""The layers of a fused Llama on a CUDA GPU, for the few rows of a captured step: six kernels a layer. Knows no lanes.

A small model's step is bound by the number of its kernels, not by their work: torch takes some nineteen a layer, and its
attention under a mask, without cuDNN's plans, longer than all else. Here the norm is part of the product after it (its
scale is applied to the sums), rotation and the cache's writes are part of the projection, the activation is part of gate
and up, and the attention of a tree is split over its nodes (flash decoding, Dao et al., 2023), so that it fills more than
a few of a GPU's processors: 4 μs a layer of 135M on an H200.

Sums are fp32's, and what torch rounds to 16 bits between two operations is rounded here too, but for the norm's scale.
Triton comes with torch where there is CUDA; it compiles these once a machine.
"""

import torch
import triton
import triton.language as tl
from torch.nn import functional

_ROUND = 64
"""What the sizes of matrices are multiples of."""
_LEAST = 16
"""Rows of a tile at least: what the hardware multiplies at once."""
_NODES, _MOST_PARTS = 64, 32
"""Nodes of a tile of the attention, and the parts of all nodes at most."""
_SIZES = ["rows", "parts", "each"]
"""Arguments for whose values, such as 1, no kernel is compiled anew."""


@triton.jit
def _products(x, norm, weight, columns, beside, rows, eps, K: tl.constexpr, M: tl.constexpr, STEP: tl.constexpr, BOTH: tl.constexpr):  # fmt: skip
    """rms_norm(x [rows, K]) · weightᵀ for the rows `columns` of weight [·, K] and, if BOTH, for those at `beside` more."""
    row, inner = tl.arange(0, M), tl.arange(0, STEP)
    there = (row < rows)[:, None]
    found = tl.zeros((M, columns.shape[0]), tl.float32)
    other = tl.zeros((M, columns.shape[0]), tl.float32)
    squares = tl.zeros((M, STEP), tl.float32)  # summed after the loop, in which warps would wait for one another
    for first in range(0, K, STEP):
        k = first + inner
        own = tl.load(x + row[:, None] * K + k[None, :], there & (k < K)[None, :], 0.0).to(tl.float32)
        scaled = own * tl.load(norm + k, k < K, 0.0).to(tl.float32)[None, :]
        scaled = scaled.to(weight.dtype.element_ty)
        places = weight + columns[:, None] * K + k[None, :]
        squares += own * own
        found = tl.dot(scaled, tl.trans(tl.load(places, (k < K)[None, :], 0.0)), found)
        if BOTH:
            other = tl.dot(scaled, tl.trans(tl.load(places + beside * K, (k < K)[None, :], 0.0)), other)
    scale = tl.rsqrt(tl.sum(squares, 1) / K + eps)[:, None]
    return found * scale, other * scale


@triton.jit(do_not_specialize=_SIZES)
def _project(x, norm, weight, q, keys, values, rotation, place, nodes, rows, eps, capacity, Q: tl.constexpr, KV: tl.constexpr,
             D: tl.constexpr, K: tl.constexpr, M: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr):  # fmt: skip
    """q [rows, Q] rotated, and the new nodes' keys and values [KV / D, capacity, D], keys rotated; weight [Q + 2 KV, K]."""
    column = tl.program_id(0) * N + tl.arange(0, N)
    found, _ = _products(x, norm, weight, column, 0, rows, eps, K, M, STEP, False)
    kind = weight.dtype.element_ty
    found = found.to(kind)
    # a pair of the rotation lies side by side; cosine and sine of it too
    first, second = tl.split(found.to(tl.float32).reshape(M, N // 2, 2))
    pair = (tl.program_id(0) * N + 2 * tl.arange(0, N // 2)) % D
    turn = rotation + tl.load(place) * D + pair
    cosine, sine = tl.load(turn)[None, :], tl.load(turn + 1)[None, :]
    turned = tl.join(first * cosine - second * sine, first * sine + second * cosine).reshape(M, N)
    result = tl.where((column < Q + KV)[None, :], turned.to(kind), found)
    row = tl.arange(0, M)
    there = (row < rows)[:, None]
    tl.store(q + row[:, None] * Q + column[None, :], result, there & (column < Q)[None, :])
    node = tl.load(nodes + row, row < rows, 0)
    cached = (column - Q) % KV
    at = (cached // D)[None, :] * capacity * D + node[:, None] * D + (cached % D)[None, :]
    tl.store(keys + at, result, there & ((column >= Q) & (column < Q + KV))[None, :])
    tl.store(values + at, result, there & (column >= Q + KV)[None, :])


@triton.jit(do_not_specialize=_SIZES)
def _gated(x, norm, weight, out, rows, eps, WIDTH: tl.constexpr, K: tl.constexpr, M: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr):  # fmt: skip
    """out [rows, WIDTH] = silu(gate) · up of weight [2 WIDTH, K]."""
    column = tl.program_id(0) * N + tl.arange(0, N)
    gate, up = _products(x, norm, weight, column, WIDTH, rows, eps, K, M, STEP, True)
    kind = weight.dtype.element_ty
    gate = gate.to(kind).to(tl.float32)
    active = (gate / (1.0 + tl.exp(-gate))).to(kind).to(tl.float32)
    result = (active * up.to(kind).to(tl.float32)).to(kind)
    row = tl.arange(0, M)
    tl.store(out + row[:, None] * WIDTH + column[None, :], result, (row < rows)[:, None])


@triton.jit(do_not_specialize=_SIZES)
def _added(base, x, weight, rows, WIDTH: tl.constexpr, K: tl.constexpr, M: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr):  # fmt: skip
    """base [rows, WIDTH] += x [rows, K] · weightᵀ [K, WIDTH], in place."""
    column, row, inner = tl.program_id(0) * N + tl.arange(0, N), tl.arange(0, M), tl.arange(0, STEP)
    there = (row < rows)[:, None]
    found = tl.zeros((M, N), tl.float32)
    for first in range(0, K, STEP):
        k = first + inner
        own = tl.load(x + row[:, None] * K + k[None, :], there & (k < K)[None, :], 0.0)
        found = tl.dot(own, tl.trans(tl.load(weight + column[:, None] * K + k[None, :], (k < K)[None, :], 0.0)), found)
    at = base + row[:, None] * WIDTH + column[None, :]
    found += tl.load(at, there, 0.0).to(tl.float32)
    tl.store(at, found.to(weight.dtype.element_ty), there)


@triton.jit(do_not_specialize=_SIZES)
def _attend(q, keys, values, mask, nodes, mixed, tops, sums, rows, capacity, scale, GROUP: tl.constexpr, HEADS: tl.constexpr,
            D: tl.constexpr, M: tl.constexpr, SPLIT: tl.constexpr, NODES: tl.constexpr):  # fmt: skip
    """One part of the nodes, for the query heads of one key's head: the sums of values, their weights' sum, and the highest
    score [parts, rows, HEADS, …]."""
    head, part = tl.program_id(0), tl.program_id(1)
    index, inner, d = tl.arange(0, M), tl.arange(0, NODES), tl.arange(0, D)
    row = index // GROUP
    there = (row < rows)[:, None]
    place = row * HEADS + head * GROUP + index % GROUP
    own = tl.load(q + place[:, None] * D + d[None, :], there, 0.0)
    most = tl.full((M,), float("-inf"), tl.float32)
    total = tl.zeros((M,), tl.float32)
    found = tl.zeros((M, D), tl.float32)
    used = tl.load(nodes) + rows
    for first in range(0, SPLIT, NODES):
        node = part * SPLIT + first + inner
        at = head * capacity * D + node[:, None] * D + d[None, :]
        key = tl.load(keys + at, (node < used)[:, None], 0.0)
        value = tl.load(values + at, (node < used)[:, None], 0.0)
        sees = tl.load(mask + row[:, None] * capacity + node[None, :], there & (node < used)[None, :], float("-inf"))
        scores = tl.dot(own, tl.trans(key)) * scale + sees.to(tl.float32)
        higher = tl.maximum(most, tl.max(scores, 1))
        finite = tl.where(higher == float("-inf"), 0.0, higher)
        shares = tl.exp(scores - finite[:, None])
        shrink = tl.exp(most - finite)
        total = total * shrink + tl.sum(shares, 1)
        found = tl.dot(shares.to(value.dtype), value, found * shrink[:, None])
        most = higher
    out = part * rows * HEADS + place
    tl.store(mixed + out[:, None] * D + d[None, :], found, there)
    tl.store(tops + out, most, row < rows)
    tl.store(sums + out, total, row < rows)


@triton.jit(do_not_specialize=_SIZES)
def _joined(mixed, tops, sums, out, parts, each, D: tl.constexpr, PARTS: tl.constexpr):
    """out [rows · heads, D] of all parts; each: rows · heads."""
    place, part, d = tl.program_id(0), tl.arange(0, PARTS), tl.arange(0, D)
    there = part < parts
    top = tl.load(tops + part * each + place, there, float("-inf"))
    share = tl.exp(top - tl.max(top, 0))
    total = tl.sum(share * tl.load(sums + part * each + place, there, 0.0), 0)
    found = tl.load(mixed + (part * each + place)[:, None] * D + d[None, :], there[:, None], 0.0)
    result = tl.sum(found * share[:, None], 0) / total
    tl.store(out + place * D + d, result.to(out.dtype.element_ty))


MOST_ROWS = 16
"""Of a step: more are products that libraries do better."""
_WIDE = 1024
"""Width of a model from which on the library's product that adds to its result is the faster one."""


def fits(w) -> bool:
    """Whether these weights (FusedLlamaWeights) are of a form that `layers` computes: 16 bits, no biases, round sizes."""
    linears = [linear for layer in w.layers for linear in (layer[1], layer[2], layer[4], layer[5])]
    return (
        w.dtype in (torch.bfloat16, torch.float16)
        and all(linear.bias is None and not any(size % _ROUND for size in linear.weight.shape) for linear in linears)
        and w.head_dim in (32, 64, 128)
        and w.heads // w.kv_heads <= 8
    )


def layers(
    w,
    tokens: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    nodes: torch.Tensor,
    rotation: torch.Tensor,
    place: torch.Tensor,
) -> torch.Tensor:
    """Hidden states [R, hidden] of R new nodes, whose keys and values it keeps at `nodes` [R].

    w: FusedLlamaWeights that `fits`; keys, values [layers, kv heads, capacity, D]; mask [R, capacity]: 0 where a node is seen, −inf
    elsewhere; rotation [positions, D/2] complex, of which `place` [1] is taken.
    """
    rows, capacity, dim = len(tokens), keys.shape[2], w.head_dim
    hidden = functional.embedding(tokens, w.embedding).to(w.dtype)
    width, heads = hidden.shape[1], w.heads
    attended = hidden.new_empty((rows, heads * dim))
    active = hidden.new_empty((rows, w.layers[0][5].weight.shape[1]))
    tile = max(_LEAST, triton.next_power_of_2(rows))

    def add(x: torch.Tensor, weight: torch.Tensor) -> None:
        if width >= _WIDE:
            torch.addmm(hidden, x, weight.t(), out=hidden)
        else:
            _added[(width // 16,)](hidden, x, weight, rows, width, x.shape[1], tile, 16, 128, num_warps=2, num_stages=5)

    attention = _Attention(w, rows, capacity, attended)
    turns = torch.view_as_real(rotation)
    for i, (norm1, qkv, output, norm2, gate_up, down) in enumerate(w.layers):
        n = 16 if width < _WIDE else 32
        _project[(len(qkv.weight) // n,)](
            *(hidden, norm1, qkv.weight, attention.q, keys[i], values[i], turns, place, nodes, rows, w.eps, capacity),
            *(heads * dim, w.kv_heads * dim, dim, width, tile, n, 128),
            num_warps=2,
            num_stages=4,
        )
        attention(keys[i], values[i], mask, nodes)
        add(attended, output.weight)
        inner = active.shape[1]
        _gated[(inner // 32,)](
            *(hidden, norm2, gate_up.weight, active, rows, w.eps, inner, width, tile, 32, 128),
            num_warps=2,
            num_stages=4,
        )
        add(active, down.weight)
    return hidden


class _Attention:
    """One layer after another's attention of the same rows, from `q` [R, Hq · D] into `out`, alike."""

    def __init__(self, w, rows: int, capacity: int, out: torch.Tensor):
        self.q, self._out, self._rows, self._capacity = torch.empty_like(out), out, rows, capacity
        self._heads, self._kv_heads, self._dim = w.heads, w.kv_heads, w.head_dim
        self._split = max(_NODES, triton.next_power_of_2(-(-capacity // _MOST_PARTS)))
        self._parts = -(-capacity // self._split)
        shape = (self._parts, rows, w.heads)
        self._mixed = torch.empty((*shape, w.head_dim), dtype=torch.float32, device=out.device)
        self._tops, self._sums = self._mixed.new_empty(shape), self._mixed.new_empty(shape)

    def __call__(self, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, nodes: torch.Tensor) -> None:
        rows, dim, group = self._rows, self._dim, self._heads // self._kv_heads
        parts = (self._mixed, self._tops, self._sums)
        tile = max(_LEAST, triton.next_power_of_2(rows * group))
        _attend[(self._kv_heads, self._parts)](
            *(self.q, keys, values, mask, nodes, *parts, rows, self._capacity, dim**-0.5),
            *(group, self._heads, dim, tile, self._split, _NODES),
            num_warps=4,
            num_stages=1,
        )
        each = rows * self._heads
        padded = triton.next_power_of_2(self._parts)
        _joined[(each,)](*parts, self._out, self._parts, each, dim, padded, num_warps=1)
