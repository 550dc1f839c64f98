"""What lanes share of a step's logits, on a CUDA GPU: two kernels for torch's twenty. Knows no lanes but their Rows.

A first kernel reads the logits once and says of each block of the vocabulary its highest logit, the sums that the
softmax and its entropy need, and its likeliest tokens; a second joins the blocks of a row. A token is a key: its logit's
bits in an order of integers, then its number, so that the largest key is the likeliest token, the first of equal ones.
Log-probabilities of all tokens are made only where somebody asks for them.
"""

import torch
import triton
import triton.language as tl

from llmdemo.decoding.gpu_follow import begin, follows, launch
from llmdemo.decoding.lanes import LOWEST, Rows

_BLOCK = 1024
"""Tokens of a program of the first kernel."""
MOST_WIDE = 32
"""Likeliest tokens that are worth a round each."""
_NUMBERS = tl.constexpr(3)
"""Of a block: the highest logit m, Σ exp(x − m), and Σ exp(x − m) · (x − m)."""
NO_KEY = tl.constexpr(-(2**63))
_LOW = tl.constexpr(0xFFFFFFFF)


@triton.jit
def ordered_of(x):
    """int32 in the order of x float32; NaN is above all."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(x != x, 0x7FFFFFFF, tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits))


@triton.jit
def value_of(ordered):
    """The float32 of which this int32 is the place in the order."""
    return tl.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).to(tl.float32, bitcast=True)


@triton.jit
def key_of(x, index):
    """int64 in the order of x float32, of equal ones in that of the index downwards."""
    return (ordered_of(x).to(tl.int64) << 32) | (_LOW - index.to(tl.int64))


@triton.jit
def _value(key):
    """(logit float32, index int64) of a key."""
    return value_of((key >> 32).to(tl.int32)), _LOW - (key & _LOW)


@triton.jit(do_not_specialize=["blocks"])
def _blocks(logits, wide, numbers, keys, blocks, V: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """wide [R, V] float32 = logits; numbers [R, blocks, _NUMBERS] and keys [R, blocks, WIDTH] of each block."""
    row, block = tl.program_id(0), tl.program_id(1)
    token = block * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(logits + row * V + token, token < V, float("-inf")).to(tl.float32)
    tl.store(wide + row * V + token, x, token < V)
    key = tl.where(token < V, key_of(x, token), NO_KEY)
    at = row * blocks + block
    most, _ = _value(tl.max(key, 0))
    finite = tl.where(most == float("-inf"), 0.0, most)
    share = tl.exp(x - finite)
    tl.store(numbers + at * _NUMBERS, most)
    tl.store(numbers + at * _NUMBERS + 1, tl.sum(share, 0))
    tl.store(numbers + at * _NUMBERS + 2, tl.sum(tl.where(share == 0.0, 0.0, share * (x - finite)), 0))
    for rank in range(WIDTH):
        best = tl.max(key, 0)
        tl.store(keys + at * WIDTH + rank, best)
        key = tl.where(key == best, NO_KEY, key)


@triton.jit(do_not_specialize=["blocks"])
def _join(numbers, keys, top_logprobs, top_tokens, entropies, lifts, blocks, LOWEST: tl.constexpr, WIDTH: tl.constexpr,
          BLOCKS: tl.constexpr, KEYS: tl.constexpr, FOLLOWS: tl.constexpr):  # fmt: skip
    """Of a row's blocks: its likeliest tokens and their log-probabilities [R, WIDTH], its entropy in nats [R], and lifts [R, 2],
    which logits lack to be log-probabilities: the highest one and the logarithm of the sum."""
    row = tl.program_id(0)
    begin(FOLLOWS)
    block, number = tl.arange(0, BLOCKS), tl.arange(0, KEYS)
    key = tl.load(keys + row * blocks * WIDTH + number, number < blocks * WIDTH, NO_KEY)
    at = numbers + (row * blocks + block) * _NUMBERS
    most = tl.load(at, block < blocks, float("-inf"))
    sums = tl.load(at + 1, block < blocks, 0.0)
    lifted = tl.load(at + 2, block < blocks, 0.0)
    top, _ = _value(tl.max(key, 0))
    apart = tl.where(most == float("-inf"), 0.0, most - top)
    shrink = tl.where(most == float("-inf"), 0.0, tl.exp(apart))
    total = tl.sum(sums * shrink, 0)
    log_sum = tl.log(total)
    tl.store(entropies + row, log_sum - tl.sum(shrink * (lifted + sums * apart), 0) / total)
    tl.store(lifts + row * 2, top)
    tl.store(lifts + row * 2 + 1, log_sum)
    for rank in range(WIDTH):
        best = tl.max(key, 0)
        logit, token = _value(best)
        logprob = (logit - top) - log_sum
        tl.store(top_logprobs + row * WIDTH + rank, tl.where(logprob < LOWEST, LOWEST, logprob))
        tl.store(top_tokens + row * WIDTH + rank, token)
        key = tl.where(key == best, NO_KEY, key)


def rows_of(logits: torch.Tensor, width: int) -> Rows:
    """As Rows.of, of `logits` [R, V] on a GPU."""
    count, vocabulary = logits.shape
    width = min(width, vocabulary)
    if width > MOST_WIDE:
        return Rows.of(logits, width)
    logits = logits.contiguous()
    blocks = -(-vocabulary // _BLOCK)
    wide = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    numbers, keys = wide.new_empty((count, blocks, 3)), wide.new_empty((count, blocks, width), dtype=torch.int64)
    top_logprobs, top_tokens = wide.new_empty((count, width)), keys.new_empty((count, width))
    entropies, lifts = wide.new_empty(count), wide.new_empty((count, 2))
    _blocks[(count, blocks)](logits, wide, numbers, keys, blocks, vocabulary, width, _BLOCK, num_warps=4)
    can_follow = follows(logits.device)
    padded = triton.next_power_of_2(blocks), triton.next_power_of_2(blocks * width)
    tops = (top_logprobs, top_tokens, entropies, lifts)
    _join[(count,)](numbers, keys, *tops, blocks, LOWEST, width, *padded, can_follow, num_warps=4, **launch(can_follow))
    return Rows(wide, None, top_logprobs, top_tokens, entropies, lifts=lifts)
