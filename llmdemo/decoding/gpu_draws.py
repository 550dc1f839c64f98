"""One token drawn from what temperature, top-k, top-p and min-p leave of a row of logits, on a CUDA GPU. Knows no lanes.

torch takes some forty kernels, of which a sort of the vocabulary is the longest; here it is ten or sixteen short ones.
Top-k and top-p keep all tokens above some logit, and of those at it the first: that logit is looked for by its bits. Each
round cuts the interval it lies in into 96 parts, with the sums of what lies above each edge, so five rounds find one
of 2³². Sums are integers, of which the order doesn't matter; the draw itself is float64's, as in lanes.draw.
"""

import math

import torch
import triton
import triton.language as tl

from llmdemo.decoding.filters import exact_hit_tolerance
from llmdemo.decoding.gpu_follow import begin, follows, launch
from llmdemo.decoding.gpu_rows import ordered_of, value_of

_BLOCK = 256
"""Tokens of a program."""
_EDGES, _ROUNDS = 95, 5
"""Edges of a round: (_EDGES + 1) ** _ROUNDS is more than 2 ** 32."""
_PLACES = ["top", "sums", "edges", "edge_weights", "floor", "states", "edge", "edge_weight", "top_tokens", "top_logprobs", "entropy",
           "lifts"]  # fmt: skip
"""Arguments that are parts of larger tensors: for none of their alignments is a kernel compiled anew."""
_NUMBERS = ["number", "count", "blocks"]
"""Nor for a value of these."""
_FIXED = tl.constexpr(2.0**44)
"""What weights up to 1 are multiplied by to be summed as integers: 2¹⁸ of them fit into 63 bits."""
_LOWEST = tl.constexpr(-(2**31))
_ABOVE = tl.constexpr(2**31)
_ALL = tl.constexpr(2**40)
"""As many of equal tokens as there are."""
_STATE = tl.constexpr(3)
"""Numbers of a round's state: the interval [low, high) of the edge that is looked for, and the sum above high."""


@triton.jit(do_not_specialize=_NUMBERS, do_not_specialize_on_alignment=_PLACES)
def _weigh(logits, top, keys, weights, sums, edges, edge_weights, temperature, SUMS: tl.constexpr, PADDED: tl.constexpr,
           V: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Of logits / temperature [V]: keys int32, which order as they do, and weights float64, 1 for the likeliest. All `sums`
    become 0, and the first edge one that all are above."""
    token = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.math.div_rn(tl.load(logits + token, token < V, float("-inf")), temperature)
    most = tl.math.div_rn(tl.load(top), temperature)
    tl.store(keys + token, ordered_of(x), token < V)
    tl.store(weights + token, tl.exp(x.to(tl.float64) - most.to(tl.float64)), token < V)
    if tl.program_id(0) == 0:
        number = tl.arange(0, PADDED)
        tl.store(sums + number, tl.zeros((PADDED,), tl.int64), number < SUMS)
        tl.store(edges, _LOWEST)
        tl.store(edges + 1, 0)
        tl.store(edge_weights, 0.0)


@triton.jit
def _goal(total, share, count):
    """The sum that the tokens from the edge on reach: `count` of them, or if that is 0 this share of all."""
    return tl.where(count == 0, tl.maximum(share * total.to(tl.float64), 1.0), count.to(tl.float64))


@triton.jit
def _narrowed(state, sums, share, count, EDGES: tl.constexpr, PADDED: tl.constexpr):
    """(low, high, sum above high, sum of all) after a round with this state and these sums above its edges."""
    low, high, above = tl.load(state), tl.load(state + 1), tl.load(state + 2)
    total = tl.load(sums + EDGES)
    edge = tl.arange(0, PADDED)
    found = tl.load(sums + edge, edge < EDGES, 0)
    goal = _goal(total, share, count)
    # sums fall from edge to edge, so that those that reach the goal are the first ones
    reached = tl.sum(((edge < EDGES) & (found.to(tl.float64) >= goal)).to(tl.int32), 0)
    step = (high - low + EDGES) // (EDGES + 1)
    next_above = tl.where(reached < EDGES, tl.sum(tl.where(edge == reached, found, 0), 0), above)
    lower = low + reached * step
    # the edges past `high` say nothing that is not known
    ends = lower + step >= high
    return lower, tl.minimum(lower + step, high), tl.where(ends, above, next_above), total


@triton.jit(do_not_specialize=_NUMBERS, do_not_specialize_on_alignment=_PLACES)
def _round(keys, weights, floor, states, sums, number, share, count, V: tl.constexpr, BLOCK: tl.constexpr, EDGES: tl.constexpr,
           PADDED: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """Adds this block's part to sums [EDGES + 1], of the tokens at or above each edge and of all that `floor` leaves.

    states, sums: this round's; the ones of the round before, if `number` is not 0, lie before them."""
    token = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if number == 0:  # the kernel before may have written the keys
        begin(FOLLOWS)
    key = tl.load(keys + token, token < V, _LOWEST)
    mass = (tl.load(weights + token, token < V, 0.0) * _FIXED).to(tl.int64)
    if number > 0:
        begin(FOLLOWS)
    low, high, above = tl.full((), _LOWEST, tl.int64), tl.full((), _ABOVE, tl.int64), tl.full((), 0, tl.int64)
    if number > 0:
        low, high, above, _ = _narrowed(states - _STATE, sums - EDGES - 1, share, count, EDGES, PADDED)
    if tl.program_id(0) == 0:
        tl.store(states, low)
        tl.store(states + 1, high)
        tl.store(states + 2, above)
    # which tokens are at or above which edge, times their amounts in digits of 7 bits: exact sums of bytes
    there = (token < V) & (key.to(tl.int64) >= tl.load(floor))
    amount = tl.where(there, tl.where(count == 0, mass, 1), 0)
    edge, digit = tl.arange(0, PADDED), tl.arange(0, 16)
    step = (high - low + EDGES) // (EDGES + 1)
    # the last edge is below all, for the sum of all
    at = tl.where(edge < EDGES, tl.minimum(low + (edge + 1) * step, _ABOVE - 1), _LOWEST).to(tl.int32)
    above_edge = (key[None, :] >= at[:, None]).to(tl.int8)  # [PADDED, BLOCK]
    bits = 7 * tl.minimum(digit, 8)
    digits = ((amount[:, None] >> bits[None, :]) & 127).to(tl.int8)  # [BLOCK, 16]
    found = tl.dot(above_edge, digits, out_dtype=tl.int32).to(tl.int64)  # [PADDED, 16]
    parts = tl.sum(tl.where((digit < 8)[None, :], found << bits[None, :], 0), 1)
    tl.atomic_add(sums + edge, parts, edge <= EDGES, sem="relaxed")


@triton.jit(do_not_specialize=_NUMBERS, do_not_specialize_on_alignment=_PLACES)
def _settle(top, states, sums, edge, edge_weight, temperature, share, count, EDGES: tl.constexpr, PADDED: tl.constexpr,
            FOLLOWS: tl.constexpr):  # fmt: skip
    """edge int64 [2]: the key down to which tokens are kept, and how many of those at it; edge_weight float64 [1]: of each of these."""
    begin(FOLLOWS)
    low, _, above, total = _narrowed(states, sums, share, count, EDGES, PADDED)
    most = tl.math.div_rn(tl.load(top), temperature).to(tl.float64)
    wide = tl.exp(value_of(low.to(tl.int32)).to(tl.float64) - most)
    tl.store(edge, low)
    tl.store(edge_weight, wide)
    weight = (wide * _FIXED).to(tl.int64)
    lacking = _goal(total, share, count) - above.to(tl.float64)
    equal = tl.ceil(lacking / tl.maximum(weight, 1).to(tl.float64)).to(tl.int64)
    tl.store(edge + 1, tl.where((count == 0) & (weight > 0), equal, _ALL))


@triton.jit(do_not_specialize=_NUMBERS, do_not_specialize_on_alignment=_PLACES)
def _add_up(
    keys,
    weights,
    edge,
    least,
    everything,
    above,
    counts,
    ties,
    V: tl.constexpr,
    BLOCK: tl.constexpr,
    FOLLOWS: tl.constexpr,
):
    """Of each block: the weights of all tokens, those above the edge, their number, and that of tokens at the edge.

    `least`: a weight below which no token is kept (min-p)."""
    block = tl.program_id(0)
    begin(FOLLOWS)
    token = block * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(keys + token, token < V, _LOWEST).to(tl.int64)
    weight = tl.load(weights + token, token < V, 0.0)
    low = tl.load(edge)
    drawn = (weight > 0.0) & (weight >= least)
    strict = drawn & (key > low)
    tl.store(everything + block, tl.sum(weight, 0))
    tl.store(above + block, tl.sum(tl.where(strict, weight, 0.0), 0))
    tl.store(counts + block, tl.sum(strict.to(tl.int64), 0))
    tl.store(ties + block, tl.sum((drawn & (key == low)).to(tl.int64), 0))


@triton.jit
def _last_kept_tie(keys, weights, low, most_equal, least, tied, ties_before, blocks, V: tl.constexpr, BLOCK: tl.constexpr,
                   BLOCKS: tl.constexpr):  # fmt: skip
    """The last token of those at the edge that is kept; V: all are."""
    block, inner = tl.arange(0, BLOCKS), tl.arange(0, BLOCK)
    own = tl.minimum(tl.sum(((block < blocks) & (ties_before + tied < most_equal)).to(tl.int32), 0), blocks - 1)
    used = tl.sum(tl.where(block == own, ties_before, 0), 0)
    place = own * BLOCK + inner
    key = tl.load(keys + place, place < V, _LOWEST).to(tl.int64)
    weight = tl.load(weights + place, place < V, 0.0)
    tie = (weight > 0.0) & (weight >= least) & (key == low)
    last = tl.max(tl.where(tie & (used + tl.cumsum(tie.to(tl.int64), 0) <= most_equal), place, -1), 0)
    return tl.where(most_equal >= tl.sum(tied, 0), V, last)


@triton.jit(do_not_specialize=_NUMBERS, do_not_specialize_on_alignment=_PLACES)
def _draw(logits, keys, weights, edge, edge_weight, least, everything, above, counts, ties, uniforms, t, top_tokens, top_logprobs, entropy,
          lifts, token_out, packed, blocks, TOP: tl.constexpr, PADDED_TOP: tl.constexpr, LOWEST_LOGPROB: tl.constexpr,
          V: tl.constexpr, BLOCK: tl.constexpr, BLOCKS: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """token_out int64 [1], and packed float64 [7 + 3 TOP], as lanes.TokenLane packs it, but for the rank."""
    block, inner = tl.arange(0, BLOCKS), tl.arange(0, BLOCK)
    begin(FOLLOWS)
    low, most_equal = tl.load(edge), tl.load(edge + 1)
    tied = tl.load(ties + block, block < blocks, 0)
    ties_before = tl.cumsum(tied, 0) - tied
    kept_ties = tl.minimum(tl.maximum(most_equal - ties_before, 0), tied)
    own = tl.load(above + block, block < blocks, 0.0)
    own += tl.where(kept_ties > 0, kept_ties.to(tl.float64) * tl.load(edge_weight), 0.0)
    ladder = tl.cumsum(own, 0)
    total = tl.max(tl.where(block < blocks, ladder, 0.0), 0)
    target = tl.load(uniforms + tl.load(t)) * total
    chosen = tl.minimum(tl.sum(((block < blocks) & (ladder <= target)).to(tl.int32), 0), blocks - 1)
    start = tl.sum(tl.where(block == chosen - 1, ladder, 0.0), 0)
    used = tl.sum(tl.where(block == chosen, ties_before, 0), 0)
    place = chosen * BLOCK + inner
    key = tl.load(keys + place, place < V, _LOWEST).to(tl.int64)
    weight = tl.load(weights + place, place < V, 0.0)
    drawn = (weight > 0.0) & (weight >= least)
    tie = drawn & (key == low)
    kept = (drawn & (key > low)) | (tie & (used + tl.cumsum(tie.to(tl.int64), 0) <= most_equal))
    steps = start + tl.cumsum(tl.where(kept, weight, 0.0), 0)
    at = tl.sum((steps <= target).to(tl.int32), 0)
    # sums of a block and of all blocks are rounded apart, and NaN is below nothing: never past what is kept
    token = chosen * BLOCK + tl.minimum(at, tl.maximum(tl.max(tl.where(kept, inner, -1), 0), 0))
    token = tl.minimum(token, V - 1).to(tl.int64)
    tl.store(token_out, token)

    last = _last_kept_tie(keys, weights, low, most_equal, least, tied, ties_before, blocks, V, BLOCK, BLOCKS)
    rank = tl.arange(0, PADDED_TOP)
    top = tl.load(top_tokens + rank, rank < TOP, 0)
    top_key = tl.load(keys + top).to(tl.int64)
    top_weight = tl.load(weights + top)
    # of those at the edge, the first ones are kept
    top_kept = (top_weight > 0.0) & (top_weight >= least) & ((top_key > low) | ((top_key == low) & (top <= last)))
    out = packed + 7 + rank
    tl.store(out, top.to(tl.float64), rank < TOP)
    tl.store(out + TOP, tl.load(top_logprobs + rank, rank < TOP, 0.0).to(tl.float64), rank < TOP)
    tl.store(out + 2 * TOP, tl.where(top_kept, top_weight, 0.0) / total, rank < TOP)
    logprob = tl.load(logits + token) - tl.load(lifts) - tl.load(lifts + 1)
    logprob = tl.where(logprob < LOWEST_LOGPROB, LOWEST_LOGPROB, logprob)
    tl.store(packed, token.to(tl.float64))
    tl.store(packed + 1, logprob.to(tl.float64))
    tl.store(packed + 2, tl.load(weights + token) / total)
    tl.store(packed + 3, 0.0)
    size = tl.sum(tl.load(counts + block, block < blocks, 0) + kept_ties, 0)
    tl.store(packed + 4, size.to(tl.float64))
    tl.store(packed + 5, total / tl.sum(tl.load(everything + block, block < blocks, 0.0), 0))
    tl.store(packed + 6, tl.load(entropy).to(tl.float64))


@triton.jit
def _count_above(logits, token, packed, V: tl.constexpr, BLOCK: tl.constexpr, FOLLOWS: tl.constexpr):
    """Adds to packed[3] how many of this block's logits are above that of `token` [1]."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    own = tl.load(logits + place, place < V, float("-inf"))
    begin(FOLLOWS)
    found = tl.sum((own > tl.load(logits + tl.load(token))).to(tl.int32), 0)
    if found > 0:
        tl.atomic_add(packed + 3, found.to(tl.float64), sem="relaxed")


def _narrow(
    keys, weights, top, edges, edge_weights, sums, states, temperature: float, share: float, count: int
) -> None:
    """Sets edges[1] and edge_weights[1] to what reaches `share` of the mass that edges[0] leaves, or else `count` tokens."""
    can_follow = follows(keys.device)
    sizes = (_EDGES, triton.next_power_of_2(_EDGES + 1), can_follow)
    for number in range(_ROUNDS):
        own = (edges[0], states[number], sums[number], number, share, count, len(keys), _BLOCK, *sizes)
        _round[(triton.cdiv(len(keys), _BLOCK),)](keys, weights, *own, num_warps=4, **launch(can_follow))
    last = (states[-1], sums[-1], edges[1], edge_weights[1:], temperature, share, count, *sizes)
    _settle[(1,)](top, *last, num_warps=1, **launch(can_follow))


def draw(rows, lane, uniforms: torch.Tensor, t: torch.Tensor, lowest: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(token [1] int64, what lanes.TokenLane packs [7 + 3 K] float64) for Rows of one row and a LaneSettings."""
    logits, top, device = rows.logits[0], rows.lifts[0], rows.logits.device
    can_follow = follows(device)
    after = launch(can_follow)
    size = len(logits)
    keys = torch.empty(size, dtype=torch.int32, device=device)
    weights = torch.empty(size, dtype=torch.float64, device=device)
    blocks = triton.cdiv(size, _BLOCK)
    tolerance = exact_hit_tolerance(torch.float32)
    filters = [(0.0, min(lane.top_k, size))] if lane.top_k else []
    if lane.top_p < 1:
        filters.append((lane.top_p - tolerance, 0))
    least = math.exp(math.log(lane.min_p) - tolerance) if lane.min_p else 0.0
    sums = torch.empty((len(filters), _ROUNDS, _EDGES + 1), dtype=torch.int64, device=device)
    states = sums.new_empty((len(filters), _ROUNDS, _STATE.value))
    edges, edge_weights = sums.new_empty((len(filters) + 1, 2)), weights.new_empty(len(filters) + 1)
    of_edges = (sums, edges, edge_weights, lane.temperature, sums.numel(), triton.next_power_of_2(max(sums.numel(), 1)))
    _weigh[(blocks,)](logits, top, keys, weights, *of_edges, size, _BLOCK, num_warps=2)
    for number, (share, count) in enumerate(filters):
        own = (edges[number:], edge_weights[number:], sums[number], states[number])
        _narrow(keys, weights, top, *own, lane.temperature, share, count)
    masses = weights.new_empty((2, blocks))
    counts = torch.empty((2, blocks), dtype=torch.int64, device=device)
    parts = (*masses, *counts)
    kept = (keys, weights, edges[-1], edge_weights[-1:], least)
    _add_up[(blocks,)](*kept[:3], least, *parts, size, _BLOCK, can_follow, num_warps=2, **after)
    tops = rows.top_tokens[0], rows.top_logprobs[0]
    count = len(tops[0])
    token, packed = counts.new_empty(1), weights.new_empty(7 + 3 * count)
    shapes = (count, triton.next_power_of_2(count), lowest, size, _BLOCK, triton.next_power_of_2(blocks), can_follow)
    _draw[(1,)](logits, *kept, *parts, uniforms, t, *tops, rows.entropies, rows.lifts, token, packed, blocks, *shapes, num_warps=4, **after)  # fmt: skip
    _count_above[(blocks,)](logits, token, packed, size, _BLOCK, can_follow, num_warps=2, **after)
    return token, packed
