"""Watches what is served, and the arena: joins the counts (metrics.py), the timeline, what prompts are about, and drift.

A request's own thread only counts. Languages, topics and repetition are taken in a thread beside it, from texts that stay
in memory until then: what comes faster than it can be looked at is left out, and no text is written anywhere.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.models import catalog
from llmdemo.serving.baselines import Baselines
from llmdemo.serving.drift import Drift, classes_p_value, ks_p_value
from llmdemo.serving.metrics import ARENA, Metrics, Record
from llmdemo.serving.mix import language_of, repetition_of
from llmdemo.serving.registry import Served
from llmdemo.serving.surprise import MOST_TOKENS, Surprise
from llmdemo.serving.timeline import Timeline

MOST_WAITING = 1024
_MOST_ANSWERS = 4
Key = tuple[str, str]
log = logging.getLogger(__name__)


class Monitor:
    """One for the app. Any thread may call it. `measure(model_id, prompt, most)`: arena.surprise."""

    def __init__(
        self,
        home: Home,
        measure: Callable[[str, Any, int], float | None],
        running: Callable[[], int],
        queued: Callable[[], int],
    ):
        self._home = home
        self.timeline = Timeline(home.serving / "monitor.sqlite")
        self.metrics = Metrics(running, queued, self.timeline)
        self.baselines = Baselines(home, lambda model_id, prompt: measure(model_id, _prompt(prompt), MOST_TOKENS))
        self.surprise = Surprise(measure, self._measured, self.baselines.step, running=running)
        self._classes: dict[Key, Drift] = {}
        self._confidence: dict[Key, Drift] = {}
        self._waiting: queue.Queue[tuple[Key, str, Sequence[str]]] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def answered(self, served: Served, request: Any, answers: Sequence[str], surprise: float | None = None) -> None:
        """A request (arena.service.Request) was answered: its prompt is looked at beside the next ones, and where its `surprise`
        was wanted and did not come with the answer, measured then."""
        key = served.name, served.model_id
        if surprise is not None:
            self.surprise.told(key, surprise)
        elif request.surprise_of:
            self.surprise.note(served, request.prompt)
        self._look(key, _text_of(request.prompt), answers)

    def compared(self, model_ids: Sequence[str], record: dict[str, Any], prompt: Any, answers: Sequence[str]) -> None:
        """A comparison in the arena has ended; `record`: the fields of a Record but for name and model."""
        for model_id in model_ids:
            whole = model_id.partition("@")[0]  # a run's kept steps are one: a slider would make hundreds of versions
            if not answers and not self._is_model(whole):
                continue  # anything may be asked for: each name would be a version for ever
            self.metrics.add(Record(name=ARENA, model_id=whole, **record))
            if answers and whole == model_id:
                self.surprise.note(Served(ARENA, model_id, {}, 0.0), prompt, at_rest=True)
                self._look((ARENA, model_id), _text_of(prompt), answers)
            elif answers:
                self._look((ARENA, whole), _text_of(prompt), answers)

    def classified(self, served: Served, text: str, label: str, confidence: float) -> None:
        """A classifier has answered one text."""
        key = served.name, served.model_id
        with self._lock:
            classes = self._classes.setdefault(key, Drift(classes_p_value))
            confidences = self._confidence.setdefault(key, Drift(ks_p_value))
        classes.add(label)
        confidences.add(confidence)
        self.surprise.want(served.model_id, writes=False)
        self.metrics.classified(*key, label, confidence)
        self._look(key, text, ())

    def told(self, name: str, model_id: str) -> dict[str, Any]:
        """{"drift": of the surprise, "class_drift", "confidence_drift": Drift.to_dict or None, "training": what the training
        data is like, with `p`: how likely the latest prompts' surprise is among the training prompts'}."""
        key, drift = (name, model_id), self.surprise.drift(name, model_id)
        baseline = self.baselines.of(model_id)
        if baseline is not None:
            p = drift.against(baseline["surprises"])
            baseline = {part: value for part, value in baseline.items() if part != "surprises"} | {"p": p}
        with self._lock:
            both = self._classes.get(key), self._confidence.get(key)
        classes, confidence = (each.to_dict() if each else None for each in both)
        return {
            "drift": drift.to_dict(),
            "class_drift": classes,
            "confidence_drift": confidence,
            "training": baseline,
        }

    def over_time(self, since: float = 0.0) -> list[dict[str, Any]]:
        """[{name, model_id, points: [Timeline.points]}] of each version, the latest used first; "", what was asked for and is not
        served, last."""
        found = self.timeline.points(since)
        told = [{"name": name, "model_id": model_id, "points": points} for (name, model_id), points in found.items()]
        return sorted(told, key=lambda one: (one["name"] != "", one["points"][-1]["at"]), reverse=True)

    def prometheus(self) -> bytes:
        """Metrics.prometheus, with the state of drift and of the training data as it is now."""
        for one in (each for each in self.metrics.summary() if each["name"]):  # "": asked for what is not served
            self.metrics.gauges(one["name"], one["model_id"], self.told(one["name"], one["model_id"]))
        return self.metrics.prometheus()

    def join(self) -> None:
        """Waits until all that was noted is looked at and measured. For tests."""
        self._waiting.join()
        self.surprise.join()

    def close(self) -> None:
        """Writes what is not written yet."""
        self.timeline.flush()

    # ---- beside the requests ----

    def _is_model(self, model_id: str) -> bool:
        return any(entry.id == model_id for entry in catalog.list_models(self._home))

    def _measured(self, key: Key, surprise: float) -> None:
        self.metrics.surprised(*key, surprise)

    def _look(self, key: Key, text: str, answers: Sequence[str]) -> None:
        try:
            self._waiting.put_nowait((key, text, tuple(answers)[:_MOST_ANSWERS]))
        except queue.Full:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="monitor", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            key, text, answers = self._waiting.get()
            try:
                topics = self.baselines.topics(key[1])
                topic = topics.of([text])[0] if topics else None
                repetitions = [repetition_of(answer) for answer in answers]
                self.metrics.about(*key, language_of(text), topic, repetitions)
            except UserError:
                pass  # the model is gone: said to who asks it
            except Exception:
                log.exception("a request could not be looked at")
            finally:
                self._waiting.task_done()


def _text_of(prompt: Any) -> str:
    """What was said last, of an arena.prompt.Prompt."""
    return prompt.raw if prompt.raw is not None else prompt.messages[-1]["content"]


def _prompt(value: Any) -> Any:
    from llmdemo.arena.prompt import Prompt  # imports torch

    return Prompt.from_value({"raw": value} if isinstance(value, str) else value)
