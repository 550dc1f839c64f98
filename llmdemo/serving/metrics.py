"""What happened to the requests of served models: counts, tokens, latencies, by model version. Kept in memory, bounded.

Knows no HTTP and no texts: a `Record` holds figures only.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmdemo.serving.registry import Served

if TYPE_CHECKING:
    from llmdemo.serving.generation import Generation

MOST_RECORDS = 20_000


@dataclass(frozen=True)
class Record:
    """One request of a served model."""

    at: float
    """When it ended, in seconds since 1970."""
    name: str
    model_id: str
    outcome: str
    """answered, left (by its reader), refused (the caller's mistake) or failed (ours)."""
    code: str = ""
    """Of a refusal or failure: ApiError.code."""
    prompt_tokens: int = 0
    tokens: int = 0
    waited: float | None = None
    """Seconds from the request to its place in the engine: the line, and loading the model."""
    first: float | None = None
    """Seconds from the request to its first token."""
    each: float | None = None
    """Seconds a token after the first."""


class Metrics:
    """The last requests. Any thread may call it."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=MOST_RECORDS)
        self._lock = threading.Lock()

    def finished(self, served: Served, generation: "Generation") -> None:
        """A generation has ended, in whatever way."""
        timing, error = generation.timing, generation.error
        outcome = "answered" if error is None else "failed" if error.status >= 500 else "refused"
        ended = timing.ended or time.monotonic()
        self.add(
            Record(
                time.time(),
                served.name,
                served.model_id,
                "left" if generation.was_left else outcome,
                error.code if error else "",
                timing.prompt_tokens,
                timing.tokens,
                timing.began - timing.asked if timing.began else None,
                timing.first - timing.asked if timing.first else None,
                (ended - timing.first) / (timing.tokens - 1) if timing.first and timing.tokens > 1 else None,
            )
        )

    def refused(self, name: str, model_id: str, code: str, failed: bool = False) -> None:
        """A request that never reached the engine; "" for a model or id that is not known."""
        self.add(Record(time.time(), name, model_id, "failed" if failed else "refused", code))

    def add(self, record: Record) -> None:
        with self._lock:
            self._records.append(record)

    def records(self, since: float = 0.0) -> list[Record]:
        """Those that ended after `since` (seconds since 1970), the oldest first."""
        with self._lock:
            return [record for record in self._records if record.at > since]
