"""Weights in pages of 2 MB: what came into use is moved, and stays what it was."""

import builtins

import pytest
import torch

from llmdemo.decoding import huge_pages
from llmdemo.decoding.huge_pages import blocks_in_use, in_huge_pages

MB = 2**20


def huge_bytes() -> int:
    with open("/proc/self/smaps", encoding="utf-8") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("AnonHugePages"))


@pytest.fixture
def can_move():
    before = huge_bytes() if blocks_in_use() is not None else 0
    with in_huge_pages():
        some = [torch.ones(MB) for _ in range(4)]
    if blocks_in_use() is None or huge_bytes() <= before:
        pytest.skip("this kernel gives no huge pages on request")
    return some


def test_what_was_allocated_is_in_huge_pages_and_unchanged(can_move):
    before = huge_bytes()
    with in_huge_pages():
        tensors = [torch.full((MB,), float(number)) for number in range(20)]  # 4 MB each
    assert huge_bytes() - before > 60 * MB
    assert all(bool((tensor == number).all()) for number, tensor in enumerate(tensors))


def test_a_block_that_is_partly_in_use_is_left_alone_since_it_would_take_memory(can_move, monkeypatch):
    asked = set()
    monkeypatch.setattr(huge_pages, "collapse", lambda blocks: asked.update(blocks))
    with in_huge_pages():
        room = torch.empty(16 * MB)  # 64 MB that nobody has written to
        room[: 2 * MB] = 1
    first, end = room.data_ptr() + 8 * MB, room.data_ptr() + 64 * MB - huge_pages._BLOCK
    assert asked and not any(first + huge_pages._BLOCK < block < end for block in asked)


def test_without_such_a_kernel_nothing_happens(monkeypatch):
    def closed(path, *given, **named):
        if str(path).startswith("/proc/self/"):
            raise PermissionError(path)
        return builtins_open(path, *given, **named)

    builtins_open = builtins.open
    monkeypatch.setattr(builtins, "open", closed)
    monkeypatch.setattr(huge_pages, "collapse", lambda blocks: pytest.fail("it was asked to move memory"))
    assert blocks_in_use() is None
    with in_huge_pages():
        assert torch.ones(3).sum() == 3
