"""The number of threads for a decoding step on a shared CPU: all on an idle machine, fewer beside other programs.

A step is some two hundred matrix products, and after each the threads synchronise. A thread that shares its core with
another program, such as a training run, delays the others each time: two threads on two busy cores are tens of times
slower than one. Knows no models and no lanes.
"""

import os
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress

import torch

from llmdemo.core import threads

_REMEMBERED = 8
_FIRST_LOOKS = 4
_PAUSE_SECONDS = 0.0005


def runnable() -> int | None:
    """How many threads of the whole machine want to compute at this moment, this one among them; None if unknown.

    OpenMP's threads of this process are not counted: they run for milliseconds after each product, in wait of the next.
    """
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            running = int(file.read().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return None
    return max(1, running - _waiting_for_products()) if running > 1 else running


def _waiting_for_products() -> int:
    """How many running threads of this process are not Python's."""
    python, found = {thread.native_id for thread in threading.enumerate()}, 0
    for number in os.listdir("/proc/self/task"):
        if int(number) not in python:
            with suppress(OSError), open(f"/proc/self/task/{number}/stat", "rb") as file:
                found += file.read().rpartition(b") ")[2][:1] == b"R"
    return found


class ThreadBudget:
    """Reads the machine's load before each step; `with budget.limited():` computes with as many threads as cores are free."""

    def __init__(self, device: torch.device, look=runnable, cores: int | None = None):
        self.full = threads.FULL if device.type == "cpu" else 1
        self._on_cpu = device.type == "cpu"
        self.cores = cores or os.cpu_count() or 1
        self._look = look
        self._others: deque[int] = deque(maxlen=_REMEMBERED)

    @contextmanager
    def limited(self):
        """Sets torch's number of threads for this thread, and sets it back."""
        count, before = self.count(), torch.get_num_threads()
        if count == before:
            yield
            return
        torch.set_num_threads(count)
        try:
            yield
        finally:
            # What this thread began with may be what another was held back to.
            torch.set_num_threads(threads.FULL if self._on_cpu else before)

    def count(self) -> int:
        """From 1 to `full`, by what was seen before the latest steps."""
        if self.full < 2:
            return self.full
        for more in range(1 if self._others else _FIRST_LOOKS):
            if more:
                time.sleep(_PAUSE_SECONDS)
            running = self._look()
            if running is None:
                return self.full
            self._others.append(max(0, running - 1))
        free = self.cores - sum(self._others) / len(self._others)
        return max(1, min(self.full, round(free)))
