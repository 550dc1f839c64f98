"""Batches of events on their way to a page. Knows nothing of what the events mean.

A page is told {run, from, events} as JSON text: what is new and, once more, what came just before it, because a browser
that is busy may skip an update. If it finds a gap all the same, it asks for what it missed.
"""

import json
import threading
from collections import OrderedDict

_KEPT_RUNS = 16


class Frames:
    """Remembers the events of the latest runs. Any thread may call it."""

    def __init__(self, kept_runs: int = _KEPT_RUNS):
        self._kept = kept_runs
        self._runs: OrderedDict[str, list[str]] = OrderedDict()
        self._last: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, run_id: str, events: list[dict]) -> str:
        """The frame that tells a page of `events`, and again of the batch before them."""
        with self._lock:
            known = self._runs.setdefault(run_id, [])
            start = self._last.get(run_id, 0)
            self._last[run_id] = len(known)
            known += [_json(event) for event in events]
            self._forget()
            return _frame(run_id, start, known[start:])

    def since(self, run_id: str, start: int) -> str | None:
        """A frame of all events from number `start` on; None when there are none."""
        with self._lock:
            events = self._runs.get(run_id, [])[max(0, start) :]
            return _frame(run_id, max(0, start), events) if events else None

    def _forget(self) -> None:
        while len(self._runs) > self._kept:
            run_id, _ = self._runs.popitem(last=False)
            self._last.pop(run_id, None)


def _frame(run_id: str, start: int, events: list[str]) -> str:
    return f'{{"run":{_json(run_id)},"from":{start},"events":[{",".join(events)}]}}'


def _json(value) -> str:
    """Compact JSON without "<", so that nothing on its way takes it for markup."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
