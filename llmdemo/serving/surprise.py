"""Measures, beside the requests and only while the model is idle, how surprised it is at their prompts; tells of drift.

A prompt is kept until then in memory, in a short line, and no longer: what comes faster than it can be measured is left
out. Imports torch when the first prompt comes.
"""

import collections
import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.serving.drift import Drift
from llmdemo.serving.registry import Served

MOST_WAITING = 64
MOST_TOKENS = 256
"""Of a prompt's end, which is where the last turn stands; each after all that stands before it."""
_IDLE_SECONDS = 20.0
"""How long a prompt waits for a moment in which nobody uses the model."""
MEASURED_AT_ONCE = 4
"""Where more requests are being answered at once, about so many of them have their prompts measured: then a request costs
little, and reading how likely each token of its prompt was would be the twentieth part of it."""
REST_SECONDS = 3.0
"""After a visitor's comparison, so long without another request: who asks again at once shall not wait for a measurement."""
log = logging.getLogger(__name__)


class Surprise:
    """One for the app; a `Drift` for each served model version. `measure(model_id, prompt, most)` gives nats a token, or
    None where the model is being used."""

    def __init__(
        self,
        measure: Callable[[str, Any, int], float | None],
        told: Callable[[tuple[str, str], float], None] = lambda key, surprise: None,
        training: Callable[[str, bool], float | None] = lambda model_id, writes: None,
        idle_seconds: float = _IDLE_SECONDS,
        running: Callable[[], int] = lambda: 0,
    ):
        """`running`: how many requests are being answered. `told(key, surprise)` gets each; `training(model_id, writes)` measures one training prompt of a model (baselines.step),
        called while no request's prompt waits."""
        self._measure, self._told, self._training, self._idle_seconds = measure, told, training, idle_seconds
        self._running = running
        self._wanted: dict[str, bool | None] = {}
        """By model id: whether it writes; None once it is measured, or cannot be."""
        self._waiting: queue.Queue[tuple[tuple[str, str], Any]] = queue.Queue(MOST_WAITING)
        self._at_rest: collections.deque[tuple[tuple[str, str], Any]] = collections.deque(maxlen=MOST_WAITING)
        """Prompts that are measured once nobody has asked anything for REST_SECONDS; the latest."""
        self._latest = 0.0
        self._drifts: dict[tuple[str, str], Drift] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._joining = False

    def note(self, served: Served, prompt: Any, at_rest: bool = False) -> None:
        """A request with this prompt was answered; returns at once. at_rest: it is measured only after REST_SECONDS without
        another."""
        self._latest = time.monotonic()
        key = served.name, served.model_id
        if at_rest:
            self._at_rest.append((key, prompt))
        try:
            self._waiting.put_nowait((key, None if at_rest else prompt))  # None only wakes the thread
        except queue.Full:
            return
        self.want(served.model_id)

    def tokens(self) -> int:
        """Of how many of the next request's last prompt tokens it is wanted how likely they are."""
        return MOST_TOKENS if random.random() * self._running() < MEASURED_AT_ONCE else 0

    def told(self, key: tuple[str, str], surprise: float) -> None:
        """A request's prompt was measured while it was answered; `key`: the served name, the model's id."""
        self._latest = time.monotonic()
        self._took(key, surprise)
        self.want(key[1])

    def want(self, model_id: str, writes: bool = True) -> None:
        """What a model's training data is like shall be measured, once there is time; returns at once."""
        with self._lock:
            news = model_id not in self._wanted
            self._wanted.setdefault(model_id, writes)
            if news and self._waiting.empty():
                self._waiting.put_nowait((("", model_id), None))  # wakes the thread
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="surprise", daemon=True)
                self._thread.start()

    def drift(self, name: str, model_id: str) -> Drift:
        """What is known of one served model version."""
        with self._lock:
            return self._drifts.setdefault((name, model_id), Drift())

    def join(self) -> None:
        """Returns once all that was noted is measured, or left out where its model is not at hand right now. For tests."""
        self._joining = True
        try:
            self._waiting.join()
            while self._at_rest:
                self._waiting.put((("", ""), None))
                self._waiting.join()
        finally:
            self._joining = False

    def _work(self) -> None:
        pause: float | None = 0.0
        while True:
            try:
                key, prompt = self._waiting.get(timeout=pause)
            except queue.Empty:
                pause = self._beside()
                continue
            pause = 0.0
            try:
                if prompt is not None:
                    self._one(key, prompt)
                elif self._joining and self._at_rest:
                    self._one(*self._at_rest.popleft())
            except UserError:
                pass  # the model is gone: said to who asks it
            except Exception:
                log.exception("a prompt's surprise could not be measured")
            finally:
                self._waiting.task_done()

    def _beside(self) -> float | None:
        """Measures what waits for a time of rest; seconds until the next, None where nothing waits."""
        rest = self._latest + REST_SECONDS - time.monotonic()
        if rest > 0:
            return rest
        if not self._at_rest:
            return self._train()
        key, prompt = self._at_rest.popleft()
        try:
            surprise = self._measure(key[1], prompt, MOST_TOKENS)  # of a model in use: left out
            if surprise is not None:
                self._took(key, surprise)
        except UserError:
            pass  # the model is gone: said to who asks it
        except Exception:
            log.exception("a prompt's surprise could not be measured")
        return 0.0

    def _train(self) -> float | None:
        """Measures one training prompt of a model that is waiting for it; seconds until the next, None where none waits."""
        with self._lock:
            wanted = next(((model_id, writes) for model_id, writes in self._wanted.items() if writes is not None), None)
        if wanted is None:
            return None
        try:
            pause = self._training(*wanted)
        except Exception as error:
            log.info("what %s was trained on cannot be measured: %s", wanted[0], error)
            pause = None
        if pause is not None:
            return pause
        with self._lock:
            self._wanted[wanted[0]] = None
        return 0.0

    def _one(self, key: tuple[str, str], prompt: Any) -> None:
        until = time.monotonic() + self._idle_seconds
        while True:
            surprise = self._measure(key[1], prompt, MOST_TOKENS)
            if surprise is not None:
                self._took(key, surprise)
                return
            if self._joining or time.monotonic() > until:
                return
            time.sleep(0.2)

    def _took(self, key: tuple[str, str], surprise: float) -> None:
        self._told(key, surprise)
        drift = self.drift(*key)
        if drift.add(surprise) and drift.to_dict()["seen"] == drift.alarm_at:
            log.warning("%s is asked other things than before: %s", key[0], drift.to_dict())
