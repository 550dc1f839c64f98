"""Sums in the computer's memory, with a stand-in for CUDA's streams: what is added, in which order, and what waits."""

from types import SimpleNamespace

import pytest
import torch

from llmdemo.training import build_optimizer, offload
from llmdemo.training.offload import HostSums

WAITED = []
"""One entry for each sum that was waited for."""


class Stream:
    """A stream of a machine without GPUs: everything is done when it is asked for."""

    def __init__(self, device):
        pass

    def record_event(self):
        return SimpleNamespace(synchronize=lambda: WAITED.append(1))

    def wait_event(self, event):
        pass

    def wait_stream(self, other):
        pass


@pytest.fixture
def waited(monkeypatch):
    empty = torch.empty
    WAITED.clear()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: torch.no_grad())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    monkeypatch.setattr(torch, "empty", lambda *a, pin_memory=False, **given: empty(*a, **given))
    return WAITED


def test_parts_are_summed_and_their_norms_told(waited):
    sums, parts = HostSums(torch.device("cpu")), [torch.full((2, 3), float(n)) for n in (1, 2, 4)]
    for part in parts:
        sums.add("a", part.clone())
    sums.add("b", parts[0].clone())
    assert "a" in sums and "c" not in sums
    assert [norm.item() for norm in sums.norms()] == pytest.approx([7 * 6**0.5, 6**0.5])
    assert torch.equal(sums.take("a"), torch.full((2, 3), 7.0))


def test_clipping_reaches_every_sum_and_ends_with_the_step(waited):
    sums = HostSums(torch.device("cpu"))
    sums.add("a", torch.ones(2))
    sums.factor = 0.5
    assert torch.equal(sums.take("a"), torch.full((2,), 0.5))
    sums.clear()
    assert "a" not in sums and sums.factor == 1.0 and sums.norms() == []
    sums.add("a", torch.ones(2))
    assert torch.equal(sums.take("a"), torch.ones(2)), "what was there before is not added to"


def test_no_more_sums_are_under_way_than_have_room(waited):
    sums = HostSums(torch.device("cpu"))
    for key in range(offload.IN_FLIGHT):
        sums.add(key, torch.ones(1))
    assert not waited
    sums.add("one more", torch.ones(1))
    assert len(waited) == 1


def test_the_optimizer_steps_alike_with_its_gradients_in_the_computers_memory(waited, llama64, tools):
    plain, offloaded, config = llama64().float(), llama64().float(), tools.make_config(update_proj_gap=3)
    ours, theirs = build_optimizer(plain, config), build_optimizer(offloaded, config)
    theirs._host = HostSums(torch.device("cpu"))
    for slot in theirs.slots:
        slot.host = theirs._host
    for ids in tools.token_batches(8):
        norms = []
        for model, optimizer in ((plain, ours), (offloaded, theirs)):
            tools.backward(model, ids, 0.5)
            tools.backward(model, ids.flip(1), 0.5)
            optimizer.refresh()
            norms.append(optimizer.clip(0.1))
            optimizer.step()
        assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    assert tools.distance(plain, offloaded) < 1e-6
    assert tools.distance(plain, llama64().float()) > 1e-3
