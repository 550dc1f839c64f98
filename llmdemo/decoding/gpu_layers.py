"""The layers of a fused Llama on a CUDA GPU, for the few rows of a captured step: six kernels a layer. Knows no lanes.

A small model's step is bound by the number of its kernels, not by their work: torch takes some nineteen a layer, and its
attention under a mask, without cuDNN's plans, longer than all else. Here a norm has no kernel: what adds to the hidden states
also scales them by the next norm's weight and says its part of their squares' sum, and the product that follows multiplies
its sums by the norm's scale. Rotation and the cache's writes are part of the projection, the activation is part of gate
and up, and the attention of a tree is split over its nodes (flash decoding, Dao et al., 2023), so that it fills more than
a few of a GPU's processors.

From Hopper on, a kernel's programs are started while the last ones of the kernel before still run (programmatic dependent
launch). Each waits for that kernel's end before it reads anything, so that every kernel of the chain has to wait.

Sums are fp32's, and what torch rounds to 16 bits between two operations is rounded here too, but for the norm's scale.
Triton comes with torch where there is CUDA; it compiles these once a machine.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from triton.language.extra import cuda

_ROUND = 64
"""What the sizes of matrices are multiples of."""
_LEAST = 16
"""Rows of a tile at least: what the hardware multiplies at once."""
_NODES, _MOST_PARTS = 64, 32
"""Nodes of a tile of the attention, and the parts of all nodes at most."""
_MASKED = 128
"""Nodes of a program that brings the mask up to date."""
_SIZES = ["rows", "parts", "each"]
"""Arguments for whose values, such as 1, no kernel is compiled anew."""


class Tile(NamedTuple):
    """How a product is computed: columns of a program, elements of the inner size a round, warps, and rounds that are loaded
    ahead."""

    columns: int
    step: int
    warps: int
    stages: int


_ADDED = 16
"""Columns of a program that adds to the hidden states."""
_WIDE = 1024
_TILES = {
    False: {"project": Tile(16, 64, 1, 8), "out": Tile(_ADDED, 128, 2, 5), "gated": Tile(32, 256, 4, 3), "down": Tile(_ADDED, 512, 2, 3)},
    True: {"project": Tile(32, 256, 2, 4), "out": Tile(_ADDED, 512, 2, 4), "gated": Tile(32, 256, 2, 3), "down": Tile(_ADDED, 512, 2, 4)},
}  # fmt: skip
"""By whether the model's width is at least _WIDE; the fastest of some fifty for each on an H200, 30 November 2026."""
_SMALL_TILES = {"project": Tile(16, 128, 2, 4), "out": Tile(_ADDED, 128, 2, 5), "gated": Tile(32, 128, 2, 4), "down": Tile(_ADDED, 128, 2, 5)}  # fmt: skip
"""For GPUs whose processors have less shared memory than _SHARED bytes for a program."""
_SHARED = 160 * 2**10
_CAN_WAIT = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 5)
"""Triton 3.4, of torch 2.8, has the two calls, and fails on either."""
_WAITS, _OVERLAPS = 1, 2
"""How kernels follow one another, besides 0, in turn: one starts as soon as the one before has ended, without the time of a
launch; or once the one before has multiplied, where programs are few and short. Of a wide model's products each leaves no
room for another's."""


@triton.jit
def _begin(FOLLOWS: tl.constexpr):
    """Waits for the kernel before this one."""
    if FOLLOWS:
        cuda.gdc_wait()


@triton.jit
def _end(FOLLOWS: tl.constexpr):
    """Lets the next kernel start. Not before most is done: what waits takes the place of what works."""
    if FOLLOWS == 2:
        cuda.gdc_launch_dependents()


@triton.jit
def _enter(tokens, embedding, norm, hidden, scaled, squares, mask, parents, nodes, rows, capacity, blocks, K: tl.constexpr,
           PADDED: tl.constexpr, M: tl.constexpr, COLUMNS: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """hidden [rows, K], as _added leaves them, of the tokens' embeddings; and mask [rows, capacity] of the rows' parents, in
    which each row sees its own node."""
    part = tl.program_id(0)
    if part < blocks:
        row, column = tl.arange(0, M), part * COLUMNS + tl.arange(0, COLUMNS)
        there = (row < rows)[:, None] & (column < capacity)[None, :]
        parent, node = tl.load(parents + row, row < rows, 0), tl.load(nodes + row, row < rows, 0)
        sees = tl.load(mask + parent[:, None] * capacity + column[None, :], there, 0.0)
        tl.debug_barrier()  # a row may be another's parent: all are read before one is written
        tl.store(
            mask + row[:, None] * capacity + column[None, :],
            tl.where(column[None, :] == node[:, None], 0.0, sees),
            there,
        )
    else:
        own, k = part - blocks, tl.arange(0, PADDED)
        kind = hidden.dtype.element_ty
        state = tl.load(embedding + tl.load(tokens + own) * K + k, k < K, 0.0).to(kind)
        wide = state.to(tl.float32)
        tl.store(hidden + own * K + k, state, k < K)
        tl.store(scaled + own * K + k, (wide * tl.load(norm + k, k < K, 0.0).to(tl.float32)).to(kind), k < K)
        tl.store(squares + own, tl.sum(wide * wide, 0))
    _end(FOLLOWS)


@triton.jit
def _product(x, weight, columns, rows, K: tl.constexpr, M: tl.constexpr, STEP: tl.constexpr):
    """x [rows, K] · weightᵀ for the rows `columns` of weight [·, K]."""
    row, inner = tl.arange(0, M), tl.arange(0, STEP)
    there = (row < rows)[:, None]
    found = tl.zeros((M, columns.shape[0]), tl.float32)
    for first in range(0, K, STEP):
        k = first + inner
        own = tl.load(x + row[:, None] * K + k[None, :], there & (k < K)[None, :], 0.0)
        found = tl.dot(own, tl.trans(tl.load(weight + columns[:, None] * K + k[None, :], (k < K)[None, :], 0.0)), found)
    return found


@triton.jit
def _scale(squares, rows, parts, eps, K: tl.constexpr, M: tl.constexpr, PARTS: tl.constexpr):
    """What makes of rows of K scaled by the norm's weight the norm [M, 1]; squares [parts, M]."""
    part, row = tl.arange(0, PARTS), tl.arange(0, M)
    found = tl.load(squares + part[:, None] * M + row[None, :], (part < parts)[:, None] & (row < rows)[None, :], 0.0)
    return tl.rsqrt(tl.sum(found, 0) / K + eps)[:, None]


@triton.jit(do_not_specialize=_SIZES)
def _project(x, squares, weight, q, keys, values, rotation, place, nodes, rows, parts, eps, capacity, Q: tl.constexpr,
             KV: tl.constexpr, D: tl.constexpr, K: tl.constexpr, M: tl.constexpr, PARTS: tl.constexpr, N: tl.constexpr,
             STEP: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """q [rows, Q] rotated, and the new nodes' keys and values [KV / D, capacity, D], keys rotated; weight [Q + 2 KV, K]."""
    column = tl.program_id(0) * N + tl.arange(0, N)
    _begin(FOLLOWS)
    scale = _scale(squares, rows, parts, eps, K, M, PARTS)
    kind = weight.dtype.element_ty
    found = (_product(x, weight, column, rows, K, M, STEP) * scale).to(kind)
    _end(FOLLOWS)
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
def _gated(x, squares, weight, out, rows, parts, eps, WIDTH: tl.constexpr, K: tl.constexpr, M: tl.constexpr, PARTS: tl.constexpr,
           N: tl.constexpr, STEP: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """out [rows, WIDTH] = silu(gate) · up of weight [2 WIDTH, K]."""
    column, row, inner = tl.program_id(0) * N + tl.arange(0, N), tl.arange(0, M), tl.arange(0, STEP)
    _begin(FOLLOWS)
    scale = _scale(squares, rows, parts, eps, K, M, PARTS)
    there = (row < rows)[:, None]
    gate, up = tl.zeros((M, N), tl.float32), tl.zeros((M, N), tl.float32)
    for first in range(0, K, STEP):
        k = first + inner
        own = tl.load(x + row[:, None] * K + k[None, :], there & (k < K)[None, :], 0.0)
        at = weight + column[:, None] * K + k[None, :]
        gate = tl.dot(own, tl.trans(tl.load(at, (k < K)[None, :], 0.0)), gate)
        up = tl.dot(own, tl.trans(tl.load(at + WIDTH * K, (k < K)[None, :], 0.0)), up)
    _end(FOLLOWS)
    kind = weight.dtype.element_ty
    gate = (gate * scale).to(kind).to(tl.float32)
    active = (gate / (1.0 + tl.exp(-gate))).to(kind).to(tl.float32)
    result = (active * (up * scale).to(kind).to(tl.float32)).to(kind)
    tl.store(out + row[:, None] * WIDTH + column[None, :], result, there)


@triton.jit(do_not_specialize=_SIZES)
def _added(base, x, weight, norm, scaled, squares, rows, WIDTH: tl.constexpr, K: tl.constexpr, M: tl.constexpr,
           N: tl.constexpr, STEP: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """base [rows, WIDTH] += x [rows, K] · weightᵀ [K, WIDTH], in place; and what a norm of it needs: scaled [rows, WIDTH] by the
    norm's weight, and squares [WIDTH / N, M], each program's part of the rows' sums of squares."""
    column, row = tl.program_id(0) * N + tl.arange(0, N), tl.arange(0, M)
    _begin(FOLLOWS)
    there = (row < rows)[:, None]
    found = _product(x, weight, column, rows, K, M, STEP)
    _end(FOLLOWS)
    at = row[:, None] * WIDTH + column[None, :]
    kind = weight.dtype.element_ty
    result = (found + tl.load(base + at, there, 0.0).to(tl.float32)).to(kind)
    wide = result.to(tl.float32)
    tl.store(base + at, result, there)
    tl.store(scaled + at, (wide * tl.load(norm + column).to(tl.float32)[None, :]).to(kind), there)
    tl.store(squares + tl.program_id(0) * M + row, tl.sum(wide * wide, 1))


@triton.jit(do_not_specialize=_SIZES)
def _attend(q, keys, values, mask, nodes, mixed, tops, sums, rows, capacity, scale, GROUP: tl.constexpr, HEADS: tl.constexpr,
            D: tl.constexpr, M: tl.constexpr, SPLIT: tl.constexpr, NODES: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """One part of the nodes, for the query heads of one key's head: the sums of values, their weights' sum, and the highest
    score [parts, rows, HEADS, …]."""
    head, part = tl.program_id(0), tl.program_id(1)
    index, inner, d = tl.arange(0, M), tl.arange(0, NODES), tl.arange(0, D)
    row = index // GROUP
    there = (row < rows)[:, None]
    place = row * HEADS + head * GROUP + index % GROUP
    most = tl.full((M,), float("-inf"), tl.float32)
    total = tl.zeros((M,), tl.float32)
    found = tl.zeros((M, D), tl.float32)
    _begin(FOLLOWS)
    used = tl.load(nodes) + rows
    out = part * rows * HEADS + place
    if part * SPLIT < used:
        own = tl.load(q + place[:, None] * D + d[None, :], there, 0.0)
        for first in range(0, SPLIT, NODES):
            node = part * SPLIT + first + inner
            at = head * capacity * D + node[:, None] * D + d[None, :]
            key = tl.load(keys + at, (node < used)[:, None], 0.0)
            value = tl.load(values + at, (node < used)[:, None], 0.0)
            sees = tl.load(
                mask + row[:, None] * capacity + node[None, :], there & (node < used)[None, :], float("-inf")
            )
            scores = tl.dot(own, tl.trans(key)) * scale + sees.to(tl.float32)
            higher = tl.maximum(most, tl.max(scores, 1))
            finite = tl.where(higher == float("-inf"), 0.0, higher)
            shares = tl.exp(scores - finite[:, None])
            shrink = tl.exp(most - finite)
            total = total * shrink + tl.sum(shares, 1)
            found = tl.dot(shares.to(value.dtype), value, found * shrink[:, None])
            most = higher
    _end(FOLLOWS)
    if part * SPLIT < used:
        tl.store(mixed + out[:, None] * D + d[None, :], found, there)
        tl.store(tops + out, most, row < rows)
        tl.store(sums + out, total, row < rows)


@triton.jit(do_not_specialize=_SIZES)
def _joined(mixed, tops, sums, nodes, out, rows, each, D: tl.constexpr, PARTS: tl.constexpr, SPLIT: tl.constexpr,
            FOLLOWS: tl.constexpr):  # fmt: skip
    """out [rows · heads, D] of the parts that hold nodes; each: rows · heads."""
    place, part, d = tl.program_id(0), tl.arange(0, PARTS), tl.arange(0, D)
    _begin(FOLLOWS)
    there = part * SPLIT < tl.load(nodes) + rows
    top = tl.load(tops + part * each + place, there, float("-inf"))
    total = tl.load(sums + part * each + place, there, 0.0)
    found = tl.load(mixed + (part * each + place)[:, None] * D + d[None, :], there[:, None], 0.0)
    _end(FOLLOWS)
    share = tl.exp(top - tl.max(top, 0))
    result = tl.sum(found * share[:, None], 0) / tl.sum(share * total, 0)
    tl.store(out + place * D + d, result.to(out.dtype.element_ty))


MOST_ROWS = 16
"""Of a step: more are products that libraries do better."""


def fits(w) -> bool:
    """Whether these weights (FusedLlamaWeights) are of a form that `layers` computes: 16 bits, no biases, round sizes."""
    linears = [linear for layer in w.layers for linear in (layer[1], layer[2], layer[4], layer[5])]
    return (
        w.dtype in (torch.bfloat16, torch.float16)
        and all(linear.bias is None and not any(size % _ROUND for size in linear.weight.shape) for linear in linears)
        and w.head_dim in (32, 64, 128)
        and w.heads // w.kv_heads <= 8
    )


def _ways(device: torch.device, is_wide: bool) -> tuple[int, dict[str, Tile]]:
    """(how kernels follow one another, how products are computed) on this device."""
    if device.type != "cuda":  # as Triton's interpreter goes through them
        return 0, _SMALL_TILES
    roomy = getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0) >= _SHARED
    overlaps = _CAN_WAIT and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (9, 0)
    follows = (_WAITS if is_wide else _OVERLAPS) if overlaps else 0
    return follows, _TILES[is_wide] if roomy else _SMALL_TILES


def layers(
    w,
    tokens: torch.Tensor,
    parents: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    nodes: torch.Tensor,
    rotation: torch.Tensor,
    place: torch.Tensor,
) -> torch.Tensor:
    """Hidden states [R, hidden] of R new nodes, whose keys and values it keeps at `nodes` [R].

    w: FusedLlamaWeights that `fits`; keys, values [layers, kv heads, capacity, D]; mask [R, capacity]: 0 where a node is seen, −inf
    elsewhere; of the nodes before, row i sees what row parents[i] saw. rotation [positions, D/2] complex, of which `place` [1] is
    taken.
    """
    rows, capacity, dim = len(tokens), keys.shape[2], w.head_dim
    width, heads, inner = w.embedding.shape[1], w.heads, w.layers[0][5].weight.shape[1]
    hidden = torch.empty((rows, width), dtype=w.dtype, device=w.device)
    scaled, attended = torch.empty_like(hidden), hidden.new_empty((rows, heads * dim))
    active = hidden.new_empty((rows, inner))
    row_tile = max(_LEAST, triton.next_power_of_2(rows))
    most_parts = width // _ADDED
    squares = hidden.new_empty((most_parts, row_tile), dtype=torch.float32)
    tile_of = (row_tile, triton.next_power_of_2(most_parts))
    follows, tiles = _ways(hidden.device, width >= _WIDE)
    launch = {"launch_pdl": True} if follows else {}

    def multiply(kernel, name: str, outputs: int, *given) -> None:
        tile = tiles[name]
        kernel[(outputs // tile.columns,)](
            *given, tile.columns, tile.step, follows, num_warps=tile.warps, num_stages=tile.stages, **launch
        )

    blocks = triton.cdiv(capacity, _MASKED)
    of_mask = (mask, parents, nodes, rows, capacity, blocks)
    entered = (tokens, w.embedding, w.layers[0][0], hidden, scaled, squares)
    padded = triton.next_power_of_2(width)
    _enter[(blocks + rows,)](*entered, *of_mask, width, padded, row_tile, _MASKED, follows, num_warps=4)
    attention = _Attention(w, rows, capacity, attended, follows, launch)
    turns = torch.view_as_real(rotation)
    parts = 1
    norms = [*(layer[0] for layer in w.layers[1:]), w.norm]
    for i, (_, qkv, output, norm2, gate_up, down) in enumerate(w.layers):
        of_norm = (rows, parts, w.eps)
        cache = (attention.q, keys[i], values[i], turns, place, nodes, *of_norm, capacity)
        heads_of = (heads * dim, w.kv_heads * dim, dim)
        multiply(_project, "project", len(qkv.weight), scaled, squares, qkv.weight, *cache, *heads_of, width, *tile_of)
        attention(keys[i], values[i], mask, nodes)
        parts = most_parts
        of_out, of_down = ((norm, scaled, squares, rows, width) for norm in (norm2, norms[i]))
        multiply(_added, "out", width, hidden, attended, output.weight, *of_out, heads * dim, row_tile)
        of_gated = (active, rows, parts, w.eps, inner, width)
        multiply(_gated, "gated", inner, scaled, squares, gate_up.weight, *of_gated, *tile_of)
        multiply(_added, "down", width, hidden, active, down.weight, *of_down, inner, row_tile)
    return hidden


class _Attention:
    """One layer after another's attention of the same rows, from `q` [R, Hq · D] into `out`, alike."""

    def __init__(self, w, rows: int, capacity: int, out: torch.Tensor, follows: int, launch: dict[str, bool]):
        self.q, self._out, self._rows, self._capacity = torch.empty_like(out), out, rows, capacity
        self._heads, self._kv_heads, self._dim = w.heads, w.kv_heads, w.head_dim
        self._split = max(_NODES, triton.next_power_of_2(-(-capacity // _MOST_PARTS)))
        self._parts = -(-capacity // self._split)
        self._follows, self._launch = follows, launch
        shape = (self._parts, rows, w.heads)
        self._mixed = torch.empty((*shape, w.head_dim), dtype=torch.float32, device=out.device)
        self._tops, self._sums = self._mixed.new_empty(shape), self._mixed.new_empty(shape)

    def __call__(self, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, nodes: torch.Tensor) -> None:
        rows, dim, group = self._rows, self._dim, self._heads // self._kv_heads
        parts = (self._mixed, self._tops, self._sums)
        tile = max(_LEAST, triton.next_power_of_2(rows * group))
        _attend[(self._kv_heads, self._parts)](
            *(self.q, keys, values, mask, nodes, *parts, rows, self._capacity, dim**-0.5),
            *(group, self._heads, dim, tile, self._split, _NODES, self._follows),
            num_warps=4,
            num_stages=1,
            **self._launch,
        )
        each = rows * self._heads
        padded = triton.next_power_of_2(self._parts)
        _joined[(each,)](
            *(*parts, nodes, self._out, rows, each, dim, padded, self._split, self._follows),
            num_warps=1,
            **self._launch,
        )
