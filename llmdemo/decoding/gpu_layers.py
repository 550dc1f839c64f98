"""The layers of a fused Llama on a CUDA GPU, for the few rows of a captured step: six kernels a layer. Knows no lanes.

A small model's step is bound by the number of its kernels, not by their work: torch takes some nineteen a layer, and its
attention under a mask, without cuDNN's plans, longer than all else. Here a norm has no kernel: what adds to the hidden states
also scales them by the next norm's weight and says its part of their squares' sum, and the product that follows multiplies
its sums by the norm's scale. Rotation and the cache's writes are part of the projection, the activation is part of gate
and up, and gpu_attention.py has the attention.

Each kernel starts before the one before it has ended, where the GPU can (gpu_follow.py). What no kernel of a step writes,
such as where the new nodes lie and a narrow model's weights, it reads or asks for at once.

Sums are fp32's, and what torch rounds to 16 bits between two operations is rounded here too, but for the norm's scale.
Triton comes with torch where there is CUDA; it compiles these once a machine.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from llmdemo.decoding.gpu_attention import Attention
from llmdemo.decoding.gpu_follow import ask, begin, follows, launch, let_next

_ROUND = 64
"""What the sizes of matrices are multiples of."""
_LEAST = 16
"""Rows of a tile at least: what the hardware multiplies at once."""
_MASKED = 128
"""Nodes of a program that brings the mask up to date."""
_SIZES = ["rows", "parts"]
"""Arguments for whose values, such as 1, no kernel is compiled anew."""


class Tile(NamedTuple):
    """How a product is computed: columns of a program, elements of the inner size a round, warps, rounds that are loaded
    ahead, programs that share the inner size of one column, and elements of each row of the weight that are asked for
    before the kernel before has ended."""

    columns: int
    step: int
    warps: int
    stages: int
    split: int = 1
    asked: int = 0


_WIDE = 1024
_TILES = {
    False: {"project": Tile(16, 64, 1, 6, asked=256), "out": Tile(16, 128, 2, 5, asked=256), "gated": Tile(32, 64, 4, 5, asked=256), "down": Tile(16, 128, 2, 5, 4, 256)},
    True: {"project": Tile(32, 128, 2, 6), "out": Tile(64, 128, 4, 4, 4), "gated": Tile(32, 128, 2, 4), "down": Tile(64, 128, 4, 4, 4)},
}  # fmt: skip
"""By whether the model's width is at least _WIDE; the fastest of some forty for each on an H200, 30 November 2026."""
_SMALL_TILES = {"project": Tile(16, 128, 2, 4), "out": Tile(16, 128, 2, 5), "gated": Tile(32, 128, 2, 4), "down": Tile(16, 128, 2, 5, 2)}  # fmt: skip
"""For GPUs whose processors have less shared memory than _SHARED bytes for a program."""
_SHARED = 160 * 2**10


@triton.jit
def _enter(tokens, embedding, norm, hidden, scaled, squares, arrived, mask, parents, nodes, rows, capacity, blocks,
           K: tl.constexpr, PADDED: tl.constexpr, M: tl.constexpr, COLUMNS: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """hidden [rows, K], as _added leaves them, of the tokens' embeddings; arrived [PADDED] = 0; and mask [rows, capacity] of
    the rows' parents, in which each row sees its own node. Follows no kernel of this module."""
    let_next(FOLLOWS)
    part, row = tl.program_id(0), tl.arange(0, M)
    if part == 0:
        tl.store(arrived + tl.arange(0, PADDED), tl.zeros((PADDED,), tl.int32))
        tl.store(squares + row, tl.zeros((M,), tl.float32), row >= rows)
    if part < blocks:
        column = part * COLUMNS + tl.arange(0, COLUMNS)
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


@triton.jit
def _product(x, weight, begin, columns, rows, SIZE: tl.constexpr, K: tl.constexpr, M: tl.constexpr, STEP: tl.constexpr,
             EVEN: tl.constexpr):  # fmt: skip
    """x [rows, begin to begin + SIZE] · weightᵀ for the rows `columns` of weight [·, K]. EVEN: no round goes past K."""
    row, inner = tl.arange(0, M), tl.arange(0, STEP)
    there = (row < rows)[:, None]
    found = tl.zeros((M, columns.shape[0]), tl.float32)
    for first in range(0, SIZE, STEP):
        k = begin + first + inner
        of_x, of_weight = x + row[:, None] * K + k[None, :], weight + columns[:, None] * K + k[None, :]
        if EVEN:
            found = tl.dot(tl.load(of_x, there, 0.0), tl.trans(tl.load(of_weight)), found)
        else:
            inside = (k < K)[None, :]
            found = tl.dot(tl.load(of_x, there & inside, 0.0), tl.trans(tl.load(of_weight, inside, 0.0)), found)
    return found


@triton.jit
def _squares_of(squares, parts, M: tl.constexpr, PARTS: tl.constexpr):
    """[PARTS, M] of squares [parts, M], 0 past their end."""
    part, row = tl.arange(0, PARTS), tl.arange(0, M)
    return tl.load(squares + part[:, None] * M + row[None, :], (part < parts)[:, None], 0.0)


@triton.jit
def _scale(squares, eps, K: tl.constexpr):
    """What makes of rows of K scaled by the norm's weight the norm [M, 1]; squares [parts, M]."""
    return tl.rsqrt(tl.sum(squares, 0) / K + eps)[:, None]


@triton.jit(do_not_specialize=_SIZES)
def _project(x, squares, weight, q, keys, values, rotation, place, nodes, rows, parts, eps, capacity, Q: tl.constexpr,
             KV: tl.constexpr, D: tl.constexpr, K: tl.constexpr, M: tl.constexpr, PARTS: tl.constexpr, N: tl.constexpr,
             STEP: tl.constexpr, ASKED: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """q [rows, Q] rotated, and the new nodes' keys and values [KV / D, capacity, D], keys rotated; weight [Q + 2 KV, K]."""
    column, row = tl.program_id(0) * N + tl.arange(0, N), tl.arange(0, M)
    there = (row < rows)[:, None]
    ask(weight, 0, column, K, ASKED)
    node = tl.load(nodes + row, row < rows, 0)
    # a pair of the rotation lies side by side; cosine and sine of it too
    pair = (tl.program_id(0) * N + 2 * tl.arange(0, N // 2)) % D
    turn = rotation + tl.load(place) * D + pair
    cosine, sine = tl.load(turn)[None, :], tl.load(turn + 1)[None, :]
    begin(FOLLOWS)
    of_norm = _squares_of(squares, parts, M, PARTS)
    kind = weight.dtype.element_ty
    found = _product(x, weight, 0, column, rows, K, K, M, STEP, K % STEP == 0)
    found = (found * _scale(of_norm, eps, K)).to(kind)
    first, second = tl.split(found.to(tl.float32).reshape(M, N // 2, 2))
    turned = tl.join(first * cosine - second * sine, first * sine + second * cosine).reshape(M, N)
    result = tl.where((column < Q + KV)[None, :], turned.to(kind), found)
    tl.store(q + row[:, None] * Q + column[None, :], result, there & (column < Q)[None, :])
    cached = (column - Q) % KV
    at = (cached // D)[None, :] * capacity * D + node[:, None] * D + (cached % D)[None, :]
    tl.store(keys + at, result, there & ((column >= Q) & (column < Q + KV))[None, :])
    tl.store(values + at, result, there & (column >= Q + KV)[None, :])


@triton.jit(do_not_specialize=_SIZES)
def _gated(x, squares, weight, out, rows, parts, eps, WIDTH: tl.constexpr, K: tl.constexpr, M: tl.constexpr, PARTS: tl.constexpr,
           N: tl.constexpr, STEP: tl.constexpr, ASKED: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """out [rows, WIDTH] = silu(gate) · up of weight [2 WIDTH, K]."""
    column, row, inner = tl.program_id(0) * N + tl.arange(0, N), tl.arange(0, M), tl.arange(0, STEP)
    there = (row < rows)[:, None]
    ask(weight, 0, column, K, ASKED)
    ask(weight, 0, WIDTH + column, K, ASKED)
    begin(FOLLOWS)
    of_norm = _squares_of(squares, parts, M, PARTS)
    gate, up = tl.zeros((M, N), tl.float32), tl.zeros((M, N), tl.float32)
    for first in range(0, K, STEP):
        k = first + inner
        at = weight + column[:, None] * K + k[None, :]
        if K % STEP == 0:
            own = tl.load(x + row[:, None] * K + k[None, :], there, 0.0)
            gate = tl.dot(own, tl.trans(tl.load(at)), gate)
            up = tl.dot(own, tl.trans(tl.load(at + WIDTH * K)), up)
        else:
            inside = (k < K)[None, :]
            own = tl.load(x + row[:, None] * K + k[None, :], there & inside, 0.0)
            gate = tl.dot(own, tl.trans(tl.load(at, inside, 0.0)), gate)
            up = tl.dot(own, tl.trans(tl.load(at + WIDTH * K, inside, 0.0)), up)
    scale = _scale(of_norm, eps, K)
    kind = weight.dtype.element_ty
    gate = (gate * scale).to(kind).to(tl.float32)
    active = (gate / (1.0 + tl.exp(-gate))).to(kind).to(tl.float32)
    result = (active * (up * scale).to(kind).to(tl.float32)).to(kind)
    tl.store(out + row[:, None] * WIDTH + column[None, :], result, there)


@triton.jit(do_not_specialize=_SIZES)
def _added(base, x, weight, norm, scaled, squares, partial, arrived, rows, WIDTH: tl.constexpr, K: tl.constexpr, M: tl.constexpr,
           N: tl.constexpr, STEP: tl.constexpr, SPLIT: tl.constexpr, ASKED: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """base [rows, WIDTH] += x [rows, K] · weightᵀ [K, WIDTH], in place; and what a norm of it needs: scaled [rows, WIDTH] by the
    norm's weight, and squares [WIDTH / N, M], N columns' part of the rows' sums of squares.

    Of the SPLIT programs of N columns the last to end adds up what each left in partial [WIDTH / N, SPLIT, M, N], always
    in the same order; arrived [WIDTH / N], how many have ended, is 0 before and after."""
    block, part = tl.program_id(0) // SPLIT, tl.program_id(0) % SPLIT
    column, row = block * N + tl.arange(0, N), tl.arange(0, M)
    there, at = (row < rows)[:, None], row[:, None] * WIDTH + column[None, :]
    kind = weight.dtype.element_ty
    share: tl.constexpr = (K + SPLIT * STEP - 1) // (SPLIT * STEP) * STEP
    ask(weight, part * share, column, K, ASKED)
    of_norm = tl.load(norm + column).to(tl.float32)[None, :]
    begin(FOLLOWS)
    before = tl.load(base + at, there, 0.0).to(tl.float32)
    found = _product(x, weight, part * share, column, rows, share, K, M, STEP, K % (SPLIT * STEP) == 0)
    is_last = True
    if SPLIT > 1:
        parts = partial + block * SPLIT * M * N + row[:, None] * N + tl.arange(0, N)[None, :]
        tl.store(parts + part * M * N, found)
        tl.debug_barrier()  # what all threads of this program wrote, before one says so
        is_last = tl.atomic_add(arrived + block, 1) == SPLIT - 1
        if is_last:
            tl.debug_barrier()
            found = tl.zeros((M, N), tl.float32)
            for each in tl.static_range(SPLIT):
                found += tl.load(parts + each * M * N, cache_modifier=".cg")
            tl.store(arrived + block, 0)
    if is_last:
        result = (found + before).to(kind)
        wide = result.to(tl.float32)
        tl.store(base + at, result, there)
        tl.store(scaled + at, (wide * of_norm).to(kind), there)
        tl.store(squares + block * M + row, tl.sum(wide * wide, 1))


@triton.jit
def _leave(hidden, norm, out, place, nodes, rows, eps, K: tl.constexpr, PADDED: tl.constexpr, M: tl.constexpr,
           FOLLOWS: tl.constexpr):  # fmt: skip
    """out [rows, K] = the norm of hidden; place and nodes are the next step's then."""
    own, k, row = tl.program_id(0), tl.arange(0, PADDED), tl.arange(0, M)
    weight = tl.load(norm + k, k < K, 0.0).to(tl.float32)
    begin(FOLLOWS)
    wide = tl.load(hidden + own * K + k, k < K, 0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, 0) / K + eps)
    tl.store(out + own * K + k, (wide * scale * weight).to(out.dtype.element_ty), k < K)
    if own == 0:
        tl.store(place, tl.load(place) + 1)
        tl.store(nodes + row, tl.load(nodes + row, row < rows, 0) + rows, row < rows)


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


class _Products:
    """The products of a model of this width, as this device computes them."""

    def __init__(self, device: torch.device, width: int):
        self.can_follow, self._width = follows(device), width
        roomy = device.type == "cuda" and (
            getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0) >= _SHARED
        )
        self._tiles = _TILES[width >= _WIDE] if roomy else _SMALL_TILES
        adding = [self._tiles[name] for name in ("out", "down")]
        self.most_parts = max(width // tile.columns for tile in adding)
        self.most_split = max(tile.split for tile in adding)

    def parts(self, name: str) -> int:
        """Into how many parts of columns this one's squares are."""
        return self._width // self._tiles[name].columns

    def __call__(self, kernel, name: str, outputs: int, *given) -> None:
        tile = self._tiles[name]
        split = (tile.split,) if kernel is _added else ()
        kernel[(outputs // tile.columns * tile.split,)](
            *(*given, tile.columns, tile.step, *split, tile.asked if self.can_follow else 0, self.can_follow),
            num_warps=tile.warps,
            num_stages=tile.stages,
            **launch(self.can_follow),
        )


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
    """The last norm [R, hidden] of R new nodes, whose keys and values it keeps at `nodes` [R]; `nodes` and `place` are the next
    step's then.

    w: FusedLlamaWeights that `fits`; keys, values [layers, kv heads, capacity, D]; mask [R, capacity]: 0 where a node is seen, −inf
    elsewhere; of the nodes before, row i sees what row parents[i] saw. rotation [positions, D/2] complex, of which `place` [1] is
    taken.
    """
    rows, capacity, dim = len(tokens), keys.shape[2], w.head_dim
    width, heads, inner = w.embedding.shape[1], w.heads, w.layers[0][5].weight.shape[1]
    hidden = torch.empty((rows, width), dtype=w.dtype, device=w.device)
    scaled, attended = torch.empty_like(hidden), hidden.new_empty((rows, heads * dim))
    active = hidden.new_empty((rows, inner))
    row_tile, padded = max(_LEAST, triton.next_power_of_2(rows)), triton.next_power_of_2(width)
    multiply = _Products(hidden.device, width)
    can_follow = multiply.can_follow
    tile_of = (row_tile, triton.next_power_of_2(multiply.most_parts))
    squares, partial = (
        hidden.new_empty(size * row_tile, dtype=torch.float32)
        for size in (multiply.most_parts, width * multiply.most_split)
    )
    arrived = hidden.new_empty(padded, dtype=torch.int32)
    blocks = triton.cdiv(capacity, _MASKED)
    of_mask = (mask, parents, nodes, rows, capacity, blocks)
    entered = (tokens, w.embedding, w.layers[0][0], hidden, scaled, squares, arrived)
    _enter[(blocks + rows,)](*entered, *of_mask, width, padded, row_tile, _MASKED, can_follow, num_warps=4)
    attention = Attention(w, rows, capacity, attended, can_follow)
    turns = torch.view_as_real(rotation)
    parts = 1
    norms = [*(layer[0] for layer in w.layers[1:]), w.norm]
    for i, (_, qkv, output, norm2, gate_up, down) in enumerate(w.layers):
        of_norm = (rows, parts, w.eps)
        cache = (attention.q, keys[i], values[i], turns, place, nodes, *of_norm, capacity)
        heads_of = (heads * dim, w.kv_heads * dim, dim)
        multiply(_project, "project", len(qkv.weight), scaled, squares, qkv.weight, *cache, *heads_of, width, *tile_of)
        attention(keys[i], values[i], mask, nodes)
        of_out, of_down = ((norm, scaled, squares, partial, arrived, rows, width) for norm in (norm2, norms[i]))
        multiply(_added, "out", width, hidden, attended, output.weight, *of_out, heads * dim, row_tile)
        of_gated = (active, rows, multiply.parts("out"), w.eps, inner, width)
        multiply(_gated, "gated", inner, scaled, squares, gate_up.weight, *of_gated, *tile_of)
        multiply(_added, "down", width, hidden, active, down.weight, *of_down, inner, row_tile)
        parts = multiply.parts("down")
    left = (hidden, w.norm, scaled, place, nodes, rows, w.eps, width, padded, row_tile, can_follow)
    _leave[(rows,)](*left, num_warps=4, **launch(can_follow))
    return scaled
