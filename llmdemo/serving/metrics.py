"""What happened to the requests of served models: counts, tokens, latencies, by model version. Kept in memory, bounded.

Knows no HTTP and no texts: a `Record` holds figures only.
"""

import math
import threading
import time
from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llmdemo.serving.registry import Served

if TYPE_CHECKING:
    from llmdemo.serving.errors import ApiError
    from llmdemo.serving.generation import Generation, Timing

MOST_RECORDS = 20_000
"""The last so many requests are remembered one by one, for percentiles; Prometheus' counters count all since the start."""
PERCENTILES = (50, 95, 99)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SECONDS_A_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


@dataclass(frozen=True)
class Record:
    """One request of a served model."""

    at: float
    """When it ended, in seconds since 1970."""
    name: str
    model_id: str
    outcome: str
    """answered, left (by its reader), refused (the caller's mistake), failed (ours), or shadow: answered a second time by
    the model on trial, which no caller sees."""
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

    def __init__(self, running: Callable[[], int] = lambda: 0, queued: Callable[[], int] = lambda: 0) -> None:
        """`running` and `queued` say how many requests are being answered now, and how many wait."""
        self._records: deque[Record] = deque(maxlen=MOST_RECORDS)
        self._lock = threading.Lock()
        self._series = _Series(running, queued)

    def finished(self, served: Served, generation: "Generation") -> None:
        """A generation has ended, in whatever way."""
        error = generation.error
        outcome = "answered" if error is None else "failed" if error.status >= 500 else "refused"
        self.timed(served, "left" if generation.was_left else outcome, generation.timing, error)

    def timed(self, served: Served, outcome: str, timing: "Timing", error: "ApiError | None") -> None:
        """A request has ended in this way, with these times."""
        ended = timing.ended or time.monotonic()
        self.add(
            Record(
                time.time(),
                served.name,
                served.model_id,
                outcome,
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
        self._series.add(record)

    def opinion(self, name: str, model_id: str, thumb: str) -> None:
        """Somebody found an answer good (up) or bad (down)."""
        self._series.thumbs.labels(name, model_id, thumb).inc()

    def prometheus(self) -> bytes:
        """All since the app's start in Prometheus' text format."""
        return generate_latest(self._series.registry)

    def summary(self, since: float = 0.0) -> list[dict[str, Any]]:
        """Figures of each model version, the latest used first: {name, model_id, requests, outcomes {outcome: number},
        codes {code: number}, prompt_tokens, tokens, waited, first, each {p50, p95, p99} in seconds, from, to}.
        """
        by_model: dict[tuple[str, str], list[Record]] = {}
        for record in self.records(since):
            by_model.setdefault((record.name, record.model_id), []).append(record)
        found = [_summed(*key, records) for key, records in by_model.items()]
        return sorted(found, key=lambda one: one["to"], reverse=True)

    def records(self, since: float = 0.0) -> list[Record]:
        """Those that ended after `since` (seconds since 1970), the oldest first."""
        with self._lock:
            return [record for record in self._records if record.at > since]


def _summed(name: str, model_id: str, records: list[Record]) -> dict[str, Any]:
    answered = [record for record in records if record.outcome in ("answered", "left", "shadow")]
    return {
        "name": name,
        "model_id": model_id,
        "requests": len(records),
        "outcomes": dict(Counts(record.outcome for record in records)),
        "codes": dict(Counts(record.code for record in records if record.code)),
        "prompt_tokens": sum(record.prompt_tokens for record in records),
        "tokens": sum(record.tokens for record in records),
        **{key: percentiles(getattr(record, key) for record in answered) for key in ("waited", "first", "each")},
        "from": records[0].at,
        "to": records[-1].at,
    }


def percentiles(values: Iterable[float | None]) -> dict[str, float] | None:
    """{p50, p95, p99} by the nearest rank, of the values that are known; None where none is."""
    ranked = sorted(value for value in values if value is not None)
    if not ranked:
        return None
    return {f"p{each}": round(ranked[math.ceil(each / 100 * len(ranked)) - 1], 5) for each in PERCENTILES}


class _Series:
    """The time series that Prometheus collects. Labels are served names and model ids, never what a caller sent."""

    def __init__(self, running: Callable[[], int], queued: Callable[[], int]):
        self.registry = registry = CollectorRegistry()
        model = ("name", "model_id")
        self._requests = Counter(
            "llmdemo_requests", "Requests of served models", (*model, "outcome", "code"), registry=registry
        )
        self._prompt = Counter("llmdemo_prompt_tokens", "Tokens read", model, registry=registry)
        self._tokens = Counter("llmdemo_generated_tokens", "Tokens generated", model, registry=registry)
        self._first = Histogram(
            "llmdemo_first_token_seconds", "From request to first token", model, registry=registry, buckets=_SECONDS
        )
        self._each = Histogram(
            "llmdemo_token_seconds", "A token after the first", model, registry=registry, buckets=_SECONDS_A_TOKEN
        )
        self.thumbs = Counter("llmdemo_thumbs", "Opinions of answers", (*model, "thumb"), registry=registry)
        Gauge("llmdemo_running", "Requests that are being answered", registry=registry).set_function(running)
        Gauge("llmdemo_queued", "Requests that wait", registry=registry).set_function(queued)

    def add(self, record: Record) -> None:
        labels = (record.name, record.model_id)
        self._requests.labels(*labels, record.outcome, record.code).inc()
        self._prompt.labels(*labels).inc(record.prompt_tokens)
        self._tokens.labels(*labels).inc(record.tokens)
        if record.first is not None:
            self._first.labels(*labels).observe(record.first)
        if record.each is not None:
            self._each.labels(*labels).observe(record.each)
