"""Comparisons that are asked for several times, computed once: who asks while one is under way joins it, who asks later
gets what was kept of it. Knows no model, no prompt and no visitor: a key says which are the same.

There is no worker thread. The viewer who needs the next batch of events computes it for all; the others wait for it.
"""

import json
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterator
from contextlib import contextmanager

from llmdemo.core.sentences import pack, unpack

_POLL_SECONDS = 0.1
"""How often a waiting viewer looks whether it has been stopped."""
_PATIENCE_SECONDS = 1.0
"""After this long without a new batch another viewer computes, as who did has stopped reading. Changing without need
costs time: batched decoding waits a moment for a thread that was there in the last step."""
_MOST_KEPT, _MOST_BYTES, _MOST_EVENTS = 64, 32 * 2**20, 20_000
"""Of finished comparisons: how many are kept, their bytes together, and the events of one."""

Batches = Generator[list[dict], None, None]
Leaving = Callable[[], bool]


class SharedComparisons:
    """The comparisons that are under way, and the latest that have ended whole. Any thread may call it."""

    def __init__(self, most_kept: int = _MOST_KEPT, most_bytes: int = _MOST_BYTES):
        self._most_kept, self._most_bytes = most_kept, most_bytes
        self._running: dict[Hashable, _Computation] = {}
        self._kept: OrderedDict[Hashable, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @contextmanager
    def watch(self, key: Hashable | None, compute: Callable[[Leaving], Batches], left: Leaving) -> Iterator["View"]:
        """The comparison called `key` (None: it is this viewer's alone), for one viewer, who goes when `left` says so; the
        others go on.

        `compute(leaving)` makes the events, in batches, in the thread of whichever viewer asks next; `leaving` says
        whether that viewer wants to go: then it gives an empty batch soon. It is closed when the last viewer has left.
        """
        kept, run, first = None, None, False
        with self._lock:
            if key is None:
                run, first = _Computation(compute), True
                run.viewers += 1
            elif key in self._kept:
                self._kept.move_to_end(key)
                kept = self._kept[key]
            else:
                first = key not in self._running
                run = self._running.setdefault(key, _Computation(compute)) if first else self._running[key]
                run.viewers += 1
        if run is None:
            assert kept is not None
            yield View(_unpacked(kept[1], left), True, kept[0])
            return
        view = View(run.events(left), not first, 0.0)
        try:
            yield view
            view.seconds = run.seconds
        finally:
            self._leave(key, run)

    def _leave(self, key: Hashable | None, run: "_Computation") -> None:
        packed = (
            run.pack() if run.is_whole and key is not None else None
        )  # before it leaves `running`: who asks now finds one or the other
        with self._lock:
            run.viewers -= 1
            if not run.viewers and key is not None:
                self._running.pop(key, None)
            if packed and key not in self._kept:
                self._kept[key] = run.seconds, packed
                self._bytes += len(packed)
                while len(self._kept) > self._most_kept or self._bytes > self._most_bytes:
                    self._bytes -= len(self._kept.popitem(last=False)[1][1])
            is_last = not run.viewers
        if is_last:
            run.close()


class View:
    """What one viewer gets: `events`, whether somebody else asked first, and the seconds that the computation took, known
    once the events have ended."""

    def __init__(self, events: Iterator[dict], is_shared: bool, seconds: float):
        self.events, self.is_shared, self.seconds = events, is_shared, seconds


class _Computation:
    """One comparison under way, with all events so far."""

    def __init__(self, compute: Callable[[Leaving], Batches]):
        self.viewers = 0
        self._batches: list[list[dict]] = []
        self._ended = False
        self._error: BaseException | None = None
        self._condition = threading.Condition()
        self._computing = False
        self._computer: object | None = None
        self._computer_left: Leaving = lambda: False
        self._began = self._latest = time.monotonic()
        self._packed: bytes | None = None
        self._steps = compute(lambda: self._computer_left())

    @property
    def seconds(self) -> float:
        """From its beginning to its latest batch."""
        return self._latest - self._began

    @property
    def is_whole(self) -> bool:
        return self._ended and self._error is None

    def events(self, left: Leaving) -> Iterator[dict]:
        """All events for one viewer, who gets whole batches only. Raises what computing raised."""
        me, at = object(), 0
        try:
            while (batch := self._batch(at, me, left)) is not None:
                at += 1
                yield from batch
        finally:
            with self._condition:
                if self._computer is me:
                    self._computer = None
                self._condition.notify_all()

    def _batch(self, at: int, me: object, left: Leaving) -> list[dict] | None:
        """Batch `at`, computed here if nobody else does; None when there is none, or the viewer has left."""
        while True:
            with self._condition:
                while at >= len(self._batches) and not self._ended and not left() and not self._may_compute(me):
                    self._condition.wait(_POLL_SECONDS)
                if left():
                    return None
                if at < len(self._batches):
                    return self._batches[at]
                if self._ended:
                    if self._error:
                        raise self._error
                    return None
                self._computing, self._computer, self._computer_left = True, me, left
            self._compute()

    def _may_compute(self, me: object) -> bool:
        is_free = self._computer in (None, me) or time.monotonic() - self._latest > _PATIENCE_SECONDS
        return is_free and not self._computing

    def _compute(self) -> None:
        batch, error = None, None
        try:
            batch = next(self._steps, None)
        except BaseException as raised:  # every viewer is told
            error = raised
        with self._condition:
            self._computing = False
            self._latest = time.monotonic()
            if batch is None:
                self._ended, self._error = True, error
            elif batch:
                self._batches.append(batch)
            self._condition.notify_all()

    def pack(self) -> bytes | None:
        """The events as they are kept, without those that were about waiting; None where they are too many."""
        with self._condition:
            if self._packed is None:
                batches = [batch for batch in self._batches if batch[0]["type"] != "waiting"]
                if sum(map(len, batches)) > _MOST_EVENTS:
                    return None
                self._packed = zlib.compress(json.dumps(pack(batches), separators=(",", ":")).encode(), 1)
            return self._packed

    def close(self) -> None:
        self._steps.close()


def _unpacked(packed: bytes, left: Leaving) -> Iterator[dict]:
    for batch in unpack(json.loads(zlib.decompress(packed))):
        if left():
            return
        for event in batch:
            if event["type"] == "names":  # JSON has no numbers as keys
                event["names"] = {int(token): name for token, name in event["names"].items()}
            yield event
