import gc

import pytest
import torch

from llmdemo.decoding import DecodeSettings
from llmdemo.decoding.engine import run_of
from llmdemo.decoding.kv_slots import SlotPart, Slots, beside, merged

LAYERS, HEADS, KV_HEADS, DIM = 2, 6, 3, 8


def slots() -> Slots:
    return Slots(LAYERS, KV_HEADS, DIM, torch.float32, torch.device("cpu"))


def part(slot, used: int, rows: int) -> tuple[SlotPart, torch.Tensor]:
    """(a part of `rows` nodes after `used` of random keys and values, its mask)."""
    slot.keys[:, :, :used], slot.values[:, :, :used] = torch.randn(2, LAYERS, KV_HEADS, used, DIM)
    mask = torch.zeros(rows, used + rows).masked_fill_(torch.rand(rows, used + rows) < 0.3, -torch.inf)
    mask[:, 0] = 0
    return SlotPart(slot.keys, slot.values, torch.ones(1, DIM // 2), mask, slice(used, used + rows), slot), mask


def by_hand(slot, mask, q, keys, values, used, layer) -> torch.Tensor:
    """(R, Hq·D): softmax(q·k/√D + mask)·v in float64, head by head."""
    every = torch.cat([slot.keys[layer, :, :used], keys.transpose(0, 1)], dim=1).double()
    values = torch.cat([slot.values[layer, :, :used], values.transpose(0, 1)], dim=1).double()
    heads = []
    for head in range(HEADS):
        own = head // (HEADS // KV_HEADS)
        weights = (q[:, head].double() @ every[own].T / DIM**0.5 + mask).softmax(-1)
        heads.append(weights @ values[own])
    return torch.cat(heads, dim=1)


def test_one_attention_serves_runs_of_unlike_lengths_and_leaves_gaps_alone():
    torch.manual_seed(0)
    room = slots()
    held = [room.take(20) for _ in range(6)]
    used, sizes = [3, 17, 9, 5, 12, 6], [1, 1, 2, 1, 2, 1]
    going = [0, 2, 3, 4, 5]  # the run in slot 1 takes no part
    made = {at: part(held[at], used[at], sizes[at]) for at in going}
    assert len({id(slot.chunk) for slot in held}) == 1
    order = sorted(going, key=lambda at: beside(made[at][0]))
    parts = list(merged([made[at][0] for at in order]))
    assert sorted(each.rows for each in parts) == [3, 4], "those of one new node together, those of two together"
    before = held[1].keys.clone()
    for layer in range(LAYERS):
        q, k, v = (torch.randn(7, heads, DIM) for heads in (HEADS, KV_HEADS, KV_HEADS))
        each = [part.rows for part in parts]
        own = zip(parts, q.split(each), k.split(each), v.split(each), strict=True)
        got = torch.cat([part.attend(layer, *rows) for part, *rows in own])
        first = 0
        for at in order:
            rows = slice(first, first + sizes[at])
            want = by_hand(held[at], made[at][1], q[rows], k[rows], v[rows], used[at], layer)
            assert torch.allclose(got[rows].double(), want, atol=1e-5)
            assert torch.equal(held[at].keys[layer, :, used[at] : used[at] + sizes[at]], k[rows].transpose(0, 1))
            first += sizes[at]
    assert torch.equal(held[1].keys, before)


def test_a_slot_that_nobody_holds_any_more_is_given_again_and_is_clean():
    room = slots()
    first, second = room.take(100), room.take(128)
    first.keys.fill_(torch.nan)
    number, chunk = first.number, first.chunk
    del first
    gc.collect()
    again = room.take(90)
    assert (again.number, again.chunk) == (number, chunk) and again.number != second.number
    assert not again.keys.any()


def test_room_that_was_made_in_inference_mode_serves_runs_outside_of_it():
    given = slots()
    with torch.inference_mode():
        first = given.take(20)
        first.keys[0, :, :2] = 1.0
    chunk = first.chunk
    del first
    second = given.take(20)
    assert second.chunk is chunk and not second.keys.any()
    second.values[1, :, 3:5] = 1.0


def test_long_runs_have_room_of_their_own(monkeypatch):
    room = slots()
    monkeypatch.setattr("llmdemo.decoding.kv_slots._CHUNK_BYTES", 4 * 2**17)
    assert room.take(200).chunk.slots > 1
    long = room.take(2000)
    assert long.chunk.slots == 1 and long.keys.shape[2] >= 2000
    mask = torch.zeros(1, 5)
    parts = [
        SlotPart(each.keys, each.values, torch.ones(1, 4), mask, slice(4, 5), each) for each in (long, room.take(2000))
    ]
    assert list(merged(sorted(parts, key=beside))) == sorted(parts, key=beside), "each attends for itself"


@pytest.mark.parametrize("strategy", ["greedy", "speculative"])
def test_a_runs_slot_is_free_as_soon_as_the_run_is_dropped(tiny_llama, strategy):
    settings = DecodeSettings.from_dict({"max_new_tokens": 6, "lanes": [strategy]})
    run = run_of(tiny_llama(3), [5, 6, 7, 5, 6], settings)
    gc.collect()
    gc.disable()  # what refers to itself in a circle stays until garbage is collected
    try:
        list(run.steps())
        chunk = run.forward.slot.chunk
        assert len(chunk.free) == chunk.slots - 1
        del run
        assert len(chunk.free) == chunk.slots
    finally:
        gc.enable()
