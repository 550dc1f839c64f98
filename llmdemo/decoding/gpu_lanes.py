"""What the usual lanes choose from a step's logits, on a CUDA GPU: a few kernels a lane. Any other lane chooses by torch.

Greedy and sampling lanes without penalties, forms, XTC or mirostat, whose filters are top-k, top-p and min-p, and beam
search without penalties and stop strings. What each packs for the host is what its own `choose` packs.
"""

import torch
import triton
import triton.language as tl

from llmdemo.decoding.beams import JUNK, NEVER, BeamLane
from llmdemo.decoding.gpu_draws import draw
from llmdemo.decoding.gpu_rows import MOST_WIDE, NO_KEY, key_of
from llmdemo.decoding.lanes import LOWEST, TRACE_TOP, Rows, TokenLane
from llmdemo.settings.lane import OFF, ORDER, LaneSettings

_FILTERS = ("top_k", "top_p", "min_p")
_PLACES = ["top_tokens", "top_logprobs", "entropy", "entropies"]
"""Arguments that are parts of larger tensors: for none of their alignments is a kernel compiled anew."""

Chosen = tuple[torch.Tensor, torch.Tensor | None, list[torch.Tensor]]
"""As of a lane's `choose`: tokens, their parents, and what is packed."""


def choose(lane, rows: Rows, t: torch.Tensor) -> Chosen:
    """What `lane` chooses from its rows at step t [1]."""
    kind = type(lane)
    if rows.lifts is None or kind not in (TokenLane, BeamLane) or lane.penalties is not None:
        return lane.choose(rows, t)
    if kind is BeamLane:
        fits = lane.texts is None and max(lane.candidates, rows.top_tokens.shape[1]) <= MOST_WIDE
        return _beams(lane, rows, t) if fits else lane.choose(rows, t)
    if not lane.lane.samples:
        return _greedy(rows)
    if not _draws_plainly(lane.lane):
        return lane.choose(rows, t)
    narrow = Rows(rows.every_logits, None, *_top(rows), rows.entropies, lifts=rows.lifts)
    token, packed = draw(narrow, lane.lane, lane.uniforms, t, LOWEST)
    return token, None, [packed]


def _draws_plainly(lane: LaneSettings) -> bool:
    others = (getattr(lane, key) == value for key, value in OFF.items() if key not in _FILTERS)
    return lane.strategy not in ("xtc", "mirostat") and lane.filter_order == ORDER["filter_order"] and all(others)


def _top(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    return rows.top_logprobs[:, :TRACE_TOP], rows.top_tokens[:, :TRACE_TOP]


@triton.jit(do_not_specialize_on_alignment=_PLACES)
def _say_likeliest(top_tokens, top_logprobs, entropy, token, packed, TOP: tl.constexpr, PADDED: tl.constexpr):
    """token [1] and what lanes.TokenLane packs [7 + 3 TOP] of the likeliest token."""
    rank = tl.arange(0, PADDED)
    tops = tl.load(top_tokens + rank, rank < TOP, 0)
    tl.store(token, tl.load(top_tokens))
    head = tl.where(rank == 0, tl.load(top_tokens).to(tl.float64), 1.0)
    head = tl.where(rank == 1, tl.load(top_logprobs).to(tl.float64), head)
    head = tl.where(rank == 3, 0.0, head)  # no logit is above its own
    head = tl.where(rank == 6, tl.load(entropy).to(tl.float64), head)
    tl.store(packed + rank, head, rank < 7)
    out = packed + 7 + rank
    tl.store(out, tops.to(tl.float64), rank < TOP)
    tl.store(out + TOP, tl.load(top_logprobs + rank, rank < TOP, 0.0).to(tl.float64), rank < TOP)
    tl.store(out + 2 * TOP, tl.where(rank == 0, 1.0, 0.0).to(tl.float64), rank < TOP)


def _greedy(rows: Rows) -> Chosen:
    logprobs, tokens = (each[0] for each in _top(rows))
    count = len(tokens)
    token, packed = tokens.new_empty(1), torch.empty(7 + 3 * count, dtype=torch.float64, device=tokens.device)
    padded = max(8, triton.next_power_of_2(count))
    _say_likeliest[(1,)](tokens, logprobs, rows.entropies, token, packed, count, padded, num_warps=1)
    return token, None, [packed]


@triton.jit
def _candidates(top_tokens, top_logprobs, running, eos, is_last, stride, ENDS: tl.constexpr, B: tl.constexpr, C: tl.constexpr,
                WIDTH: tl.constexpr, POOL: tl.constexpr, CP: tl.constexpr):  # fmt: skip
    """(tokens, their rows, log-probabilities, scores, whether each ends) [CP] of the C best of all rows' likeliest, by score."""
    flat = tl.arange(0, POOL)
    row, column = flat // WIDTH, flat % WIDTH
    there = flat < B * WIDTH
    score = tl.load(top_logprobs + row * stride + column, there, 0.0) + tl.load(running + row, there, 0.0)
    left = tl.where(there, key_of(score, flat), NO_KEY)
    slot = tl.arange(0, CP)
    real = slot < C
    at = tl.zeros((CP,), tl.int32)
    for rank in range(C):
        top = tl.max(left, 0)
        at = tl.where(slot == rank, tl.sum(tl.where(left == top, flat, 0), 0), at)
        left = tl.where(left == top, NO_KEY, left)
    parent, place = at // WIDTH, (at // WIDTH) * stride + at % WIDTH
    token = tl.load(top_tokens + place, real, 0)
    logprob = tl.load(top_logprobs + place, real, 0.0)
    hit = is_last & real
    for number in range(ENDS):
        hit = hit | (real & (token == tl.load(eos + number)))
    return token, parent, logprob, logprob + tl.load(running + parent, real, 0.0), hit


@triton.jit
def _sorted_in(going, final, was_best, ended, was_sent, B: tl.constexpr, C: tl.constexpr, CP: tl.constexpr):
    """(the live candidates and their scores; of the finished and the candidates that ended the best, their scores, and which
    are real) [CP], of which B count."""
    slot = tl.arange(0, CP)
    old = tl.where(slot < B, key_of(was_best, slot), NO_KEY)
    new = tl.where(slot < C, key_of(final, slot + B), NO_KEY)
    ahead = tl.where(slot < C, key_of(going, slot), NO_KEY)
    live, merged = tl.zeros((CP,), tl.int32), tl.zeros((CP,), tl.int32)
    running, best, sent = tl.zeros((CP,), tl.float32), tl.zeros((CP,), tl.float32), tl.zeros((CP,), tl.int32)
    for rank in range(B):
        own = slot == rank
        top = tl.max(ahead, 0)
        live = tl.where(own, tl.sum(tl.where(ahead == top, slot, 0), 0), live)
        running = tl.where(own, tl.sum(tl.where(ahead == top, going, 0.0), 0), running)
        ahead = tl.where(ahead == top, NO_KEY, ahead)
        top = tl.maximum(tl.max(old, 0), tl.max(new, 0))
        one, other = old == top, new == top
        merged = tl.where(own, tl.sum(tl.where(one, slot, 0) + tl.where(other, slot + B, 0), 0), merged)
        best = tl.where(own, tl.sum(tl.where(one, was_best, 0.0) + tl.where(other, final, 0.0), 0), best)
        sent = tl.where(own, tl.sum((one & was_sent).to(tl.int32) + (other & ended).to(tl.int32), 0), sent)
        old, new = tl.where(one, NO_KEY, old), tl.where(other, NO_KEY, new)
    return live, running, merged, best, sent


@triton.jit
def _pack_trace(packed, top_tokens, top_logprobs, entropies, stride, B: tl.constexpr, TOP: tl.constexpr, TP: tl.constexpr,
                CP: tl.constexpr):  # fmt: skip
    """packed: of each row its TOP likeliest tokens, their log-probabilities [B, TOP] and the entropy [B]."""
    index, slot = tl.arange(0, TP), tl.arange(0, CP)
    place = (index // TOP) * stride + index % TOP
    shown = index < B * TOP
    tl.store(packed + index, tl.load(top_tokens + place, shown, 0).to(tl.float64), shown)
    tl.store(packed + B * TOP + index, tl.load(top_logprobs + place, shown, 0.0).to(tl.float64), shown)
    tl.store(packed + 2 * B * TOP + slot, tl.load(entropies + slot, slot < B, 0.0).to(tl.float64), slot < B)


@triton.jit(do_not_specialize_on_alignment=_PLACES)
def _extend(top_tokens, top_logprobs, entropies, running, best, sent, open, over, eos, norms, hoped, t, tokens_out, parents_out,
            packed, max_new, stride, ENDS: tl.constexpr, NEVER: tl.constexpr, JUNK: tl.constexpr, EARLY: tl.constexpr,
            B: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr, TOP: tl.constexpr, POOL: tl.constexpr, CP: tl.constexpr,
            TP: tl.constexpr):  # fmt: skip
    """A step of beams.BeamLane.choose: B beams, C candidates, of each row its WIDTH likeliest tokens (rows of `stride`)."""
    step, slot = tl.load(t), tl.arange(0, CP)
    beam, real = slot < B, slot < C
    is_last = step + 1 >= max_new
    token, parent, logprob, scores, hit = _candidates(
        top_tokens, top_logprobs, running, eos, is_last, stride, ENDS, B, C, WIDTH, POOL, CP)  # fmt: skip
    going = scores + tl.where(hit, NEVER, 0.0)
    # the candidates that ended among the finished
    ended = hit & beam
    was_best = tl.load(best + slot, beam, 0.0)
    was_sent = tl.load(sent + slot, beam, 0) != 0
    is_open = tl.load(open) != 0
    final = scores / tl.load(norms + step)
    if EARLY:
        final = final + tl.where(tl.sum((beam & ~was_sent).to(tl.int32), 0) == 0, NEVER, 0.0)
    final = final + tl.where(is_open, 0.0, NEVER) + tl.where(ended, 0.0, NEVER)
    live, now_running, merged, now_best, now_sent = _sorted_in(going, final, was_best, ended, was_sent, B, C, CP)
    # is the search over?
    first = tl.sum(tl.where(slot == 0, now_running, 0.0), 0)
    worst = tl.where(now_sent != 0, tl.min(tl.where(beam, now_best, float("inf")), 0), NEVER)
    possible = first / tl.load(hoped + step)
    is_open = is_open & (tl.sum((beam & (possible > worst)).to(tl.int32), 0) > 0)
    stop = (~is_open) | (tl.sum((real & ~hit).to(tl.int32), 0) == 0) | (first < JUNK)
    if EARLY:
        stop = stop | (tl.sum((beam & (now_sent == 0)).to(tl.int32), 0) == 0)

    tl.store(packed, stop.to(tl.float64))
    out = packed + 1 + slot
    tl.store(out, live.to(tl.float64), beam)
    tl.store(out + B, merged.to(tl.float64), beam)
    tl.store(out + 2 * B, now_best.to(tl.float64), beam)
    tl.store(out + 3 * B, now_sent.to(tl.float64), beam)
    tl.store(out + 4 * B, token.to(tl.float64), real)
    tl.store(out + 4 * B + C, parent.to(tl.float64), real)
    tl.store(out + 4 * B + 2 * C, logprob.to(tl.float64), real)
    tl.store(out + 4 * B + 3 * C, scores.to(tl.float64), real)
    tl.store(out + 4 * B + 4 * C, hit.to(tl.float64), real)
    _pack_trace(packed + 1 + 4 * B + 5 * C, top_tokens, top_logprobs, entropies, stride, B, TOP, TP, CP)
    tl.debug_barrier()  # the state is written only after all threads have read it
    tl.store(running + slot, now_running, beam)
    tl.store(best + slot, now_best, beam)
    tl.store(sent + slot, now_sent != 0, beam)
    tl.store(open, is_open)
    tl.store(over, (tl.load(over) != 0) | stop)
    picked = slot[:, None] == live[None, :]  # [candidate, beam]
    tl.store(tokens_out + slot, tl.sum(tl.where(picked, token[:, None], 0), 0), beam)
    tl.store(parents_out + slot, tl.sum(tl.where(picked, parent[:, None], 0), 0).to(tl.int64), beam)


def _beams(lane: BeamLane, rows: Rows, t: torch.Tensor) -> Chosen:
    beams, stride = lane.rows, rows.top_tokens.shape[1]
    candidates, top = lane.candidates, min(TRACE_TOP, stride)
    width = min(candidates, stride)
    tokens, parents = rows.top_tokens.new_empty((2, beams))
    size = 1 + 4 * beams + 5 * candidates + beams * (2 * top + 1)
    packed = torch.empty(size, dtype=torch.float64, device=t.device)
    state = (lane.running, lane.best, lane.sent, lane.open, lane.over, lane.eos_ids, lane.norms, lane.hoped_norms)
    padded = (triton.next_power_of_2(n) for n in (beams * width, candidates, beams * top))
    _extend[(1,)](
        *(rows.top_tokens, rows.top_logprobs, rows.entropies, *state, t, tokens, parents, packed),
        *(lane.max_new, stride, len(lane.eos_ids), NEVER, JUNK, lane.early, beams, candidates, width, top, *padded),
        num_warps=1,
    )
    return tokens, parents, [packed]
