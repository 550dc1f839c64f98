"""Counts the arena's comparisons as they pass: tokens, the time to the first token and of each, how they end. Keeps no text
beyond a comparison's end. Knows the arena's events, not the arena.
"""

import time
from collections.abc import Callable
from typing import Any

from llmdemo.serving.monitor import Monitor
from llmdemo.serving.thumbs import Thumbs

_OUTCOMES = {"done": "answered", "stopped": "left", "failed": "refused"}


def watcher(monitor: Monitor, thumbs: Thumbs) -> Callable[[Any, Callable[[dict], None]], Callable[[dict], None]]:
    """What Arena.watch wants: (request, put) → a `put` that counts too."""

    def watch(request: Any, put: Callable[[dict], None]) -> Callable[[dict], None]:
        comparison = Comparison(monitor, request, thumbs)

        def passed(event: dict) -> None:
            if event["type"] != "end":
                put(event)
                return comparison.add(event)
            try:
                comparison.add(event)  # before who asked knows that it has ended, and may ask for the figures
            finally:
                put(event)

        return passed

    return watch


class Comparison:
    """One on its way; `add` each of its events (arena/events.py)."""

    def __init__(self, monitor: Monitor, request: Any, thumbs: Thumbs):
        self._monitor, self._request, self._thumbs = monitor, request, thumbs
        self._asked, self._began, self._first = time.monotonic(), 0.0, 0.0
        self._prompt_tokens = self._steps = 0
        self._tokens: dict[str, int] = {}
        self._answers: list[str] = []

    def add(self, event: dict) -> None:
        kind = event["type"]
        if kind == "step":
            self._first = self._first or time.monotonic()
            self._steps += 1
        elif kind == "token":
            self._tokens[event["lane"]] = self._tokens.get(event["lane"], 0) + 1
        elif kind == "lane":
            self._tokens[event["lane"]] = event["generated"]
            self._answers.append(event["text"])
            whole = self._request.model_ids[int(event["lane"].partition(":")[0])].partition("@")[0]
            self._thumbs.answered(self._request.run_id, event["lane"], whole)
        elif kind == "begin":
            self._began = time.monotonic()
            self._prompt_tokens = sum(event["prompt_tokens"])
        elif kind == "end":
            self._end(event["state"], bool(event.get("shared")))

    def _end(self, state: str, is_shared: bool) -> None:
        """`is_shared`: most of it was not computed for this one, so that how fast it came says nothing of the model."""
        now = time.monotonic()
        record = {
            "at": time.time(),
            "outcome": _OUTCOMES.get(state, "failed"),
            "prompt_tokens": self._prompt_tokens,
            "tokens": sum(self._tokens.values()),
            "waited": self._began - self._asked if self._began and not is_shared else None,
            "first": self._first - self._asked if self._first and not is_shared else None,
            "each": (now - self._first) / (self._steps - 1) if self._steps > 1 and not is_shared else None,
        }
        self._monitor.compared(self._request.model_ids, record, self._request.prompt, self._answers)
