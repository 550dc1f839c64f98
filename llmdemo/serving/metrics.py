"""What happened to the requests of served models: counts, tokens, latencies, by model version.

The last requests are kept in memory, bounded, all of them as Prometheus' counters, and figures over time by timeline.py.
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

from llmdemo.serving.cells import bin_of
from llmdemo.serving.registry import Served
from llmdemo.serving.timeline import Timeline

if TYPE_CHECKING:
    from llmdemo.serving.errors import ApiError
    from llmdemo.serving.generation import Generation, Timing

ARENA = "arena"
"""The name under which the arena's comparisons are counted; a served model cannot be told from it by its key, as keys
open served names only."""
MOST_RECORDS = 20_000
"""The last so many requests are remembered one by one, for percentiles; Prometheus' counters count all since the start."""
PERCENTILES = (50, 95, 99)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKENS = (1, 4, 16, 32, 64, 128, 256, 512, 1024, 4096)
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9)
_CONFIDENCES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_NATS = (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8)
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

    def __init__(
        self,
        running: Callable[[], int] = lambda: 0,
        queued: Callable[[], int] = lambda: 0,
        timeline: Timeline | None = None,
    ) -> None:
        """`running` and `queued` say how many requests are being answered now, and how many wait. `timeline` keeps the
        figures over time."""
        self._timeline, self._queued = timeline, queued
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
        self._over_time(record.name, record.model_id, {**_cell_of(record), "queued": self._queued()})

    def opinion(self, name: str, model_id: str, thumb: str, before: str = "", at: float | None = None) -> None:
        """Somebody finds an answer good (up) or bad (down), or nothing any more (""), and found it so `before`, said at the
        time `at`, where it counts no longer. The same again does not count; a counter that may only grow counts what was
        taken back too."""
        for said, label, by, when in ((before, f"{before}_withdrawn", -1, at), (thumb, thumb, 1, None)):
            if said and thumb != before:
                self._series.thumbs.labels(name, model_id, label).inc()
                self._over_time(name, model_id, {said: by}, when)

    def labelled(
        self, name: str, model_id: str, right: bool, before: bool | None = None, at: float | None = None
    ) -> None:
        """The right class of a classifier's text has come: whether the classifier was right, and by the class that it was given
        `before`, None for none, at the time `at`, where it counts no longer."""
        if before is not None:
            self._over_time(name, model_id, {"labelled": -1, "right": -int(before)}, at)
        self._over_time(name, model_id, {"labelled": 1, "right": int(right)})

    def surprised(self, name: str, model_id: str, surprise: float) -> None:
        """The model's surprise at a prompt, in nats a token."""
        self._series.surprise.labels(name, model_id).observe(surprise)
        self._over_time(name, model_id, {"surprise": surprise, "surprises": 1})

    def about(self, name: str, model_id: str, language: str, topic: str | None, repetitions: list[float]) -> None:
        """What a prompt was about, and how repetitive each answer was, from 0 to 1."""
        self._series.languages.labels(name, model_id, language).inc()
        cell: dict[str, Any] = {"languages": {language: 1}}
        if topic is not None:
            self._series.topics.labels(name, model_id, topic).inc()
            cell["topics"] = {topic: 1}
        for repetition in repetitions:
            self._series.repetition.labels(name, model_id).observe(repetition)
        if repetitions:
            cell |= {"repetition": sum(repetitions), "looked": len(repetitions)}
        self._over_time(name, model_id, cell)

    def classified(self, name: str, model_id: str, label: str, confidence: float) -> None:
        """A classifier's answer to one text."""
        self._series.classes.labels(name, model_id, label).inc()
        self._series.confidence.labels(name, model_id).observe(confidence)
        cell = {"classes": {label: 1}, "confidence": confidence, "confidences": 1}
        self._over_time(name, model_id, cell)

    def gauges(self, name: str, model_id: str, told: dict[str, Any]) -> None:
        """The state of drift and of the training data (Monitor.told), for the next `prometheus`."""
        training = told["training"] or {}
        if training.get("surprise") is not None:
            self._series.training.labels(name, model_id).set(training["surprise"])
        for kind in ("drift", "class_drift", "confidence_drift"):
            if told[kind] is not None:
                self._series.drift.labels(name, model_id, kind).set(told[kind]["alarm_at"] is not None)

    def _over_time(self, name: str, model_id: str, cell: dict[str, Any], at: float | None = None) -> None:
        if self._timeline is not None:
            self._timeline.add(name, model_id, cell, at)

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


def _cell_of(record: Record) -> dict[str, Any]:
    """What a request adds to its cell (cells.py)."""
    cell: dict[str, Any] = {"outcomes": {record.outcome: 1}, "prompt_tokens": record.prompt_tokens}
    cell["tokens"] = record.tokens
    for key in ("waited", "first", "each"):
        seconds = getattr(record, key)
        if seconds is not None:
            cell[key] = {bin_of(seconds): 1}
    if record.tokens and record.outcome in ("answered", "left", "shadow"):
        cell |= {"length": record.tokens, "answers": 1}
    return cell


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
        self._length = Histogram(
            "llmdemo_answer_tokens", "Tokens of an answer", model, registry=registry, buckets=_TOKENS
        )
        self.repetition = Histogram(
            "llmdemo_repetition", "Repeated phrases of an answer, a share", model, registry=registry, buckets=_SHARES
        )
        self.surprise = Histogram(
            "llmdemo_prompt_surprise_nats", "Mean -log p a token of prompts", model, registry=registry, buckets=_NATS
        )
        self.training = Gauge(
            "llmdemo_training_surprise_nats", "The same of the training data's prompts", model, registry=registry
        )
        self.drift = Gauge("llmdemo_drift_alarm", "1: the alarm is raised", (*model, "kind"), registry=registry)
        self.languages = Counter("llmdemo_prompts_language", "Prompts", (*model, "language"), registry=registry)
        self.topics = Counter("llmdemo_prompts_topic", "Prompts", (*model, "topic"), registry=registry)
        self.classes = Counter("llmdemo_classes", "Texts that got a class", (*model, "class"), registry=registry)
        self.confidence = Histogram(
            "llmdemo_confidence", "Probability of the class", model, registry=registry, buckets=_CONFIDENCES
        )
        self.thumbs = Counter("llmdemo_thumbs", "Opinions of answers", (*model, "thumb"), registry=registry)
        Gauge("llmdemo_running", "Requests that are being answered", registry=registry).set_function(running)
        Gauge("llmdemo_queued", "Requests that wait", registry=registry).set_function(queued)

    def add(self, record: Record) -> None:
        labels = (record.name, record.model_id)
        self._requests.labels(*labels, record.outcome, record.code).inc()
        self._prompt.labels(*labels).inc(record.prompt_tokens)
        self._tokens.labels(*labels).inc(record.tokens)
        if record.tokens:
            self._length.labels(*labels).observe(record.tokens)
        if record.first is not None:
            self._first.labels(*labels).observe(record.first)
        if record.each is not None:
            self._each.labels(*labels).observe(record.each)
