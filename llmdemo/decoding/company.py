"""Runs that decode at the same time with the same weights take their steps in one forward. Knows no lanes and no model.

On a CPU a step mostly waits for the weights to be read, and they are read once for all rows, whoever they belong to.
Nobody is appointed to compute: the run that finds all its companions waiting does it for all of them, in its own thread.
"""

import threading
import time
from collections.abc import Callable

import torch

from llmdemo.decoding.crew import Crew

_PATIENCE_SECONDS = 0.02
"""How long a run waits for a companion of the step before that has not come to this one: it may be at its end."""


class Company:
    """Of one set of weights; `together(orders)` gives the logits of several orders in one forward."""

    def __init__(self, crew: Crew):
        self._crew = crew
        self._condition = threading.Condition()
        self._waiting: list[_Place] = []
        self._companions: set[int] = set()  # the threads that were in the latest forward
        self._computing = False

    def step(self, order, together: Callable[[list], list[torch.Tensor]]) -> torch.Tensor:
        """The logits of `order`, computed with the orders of all threads that come in time. Blocks; raises what computing raises."""
        place = _Place(order)
        with self._condition:
            self._waiting.append(place)
            self._condition.notify_all()
            self._await(place)
            if place.done:
                return place.result()
            batch, self._waiting, self._computing = self._waiting, [], True
            self._companions = {other.thread for other in batch}
        try:
            with self._crew.at_work():
                logits = together([other.order for other in batch])
        except BaseException as error:
            logits = [error] * len(batch)
        with self._condition:
            for other, found in zip(batch, logits, strict=True):
                other.found = found
            self._computing = False
            self._condition.notify_all()
        return place.result()

    def _await(self, place: "_Place") -> None:
        """Until `place` is done or it is its turn to compute for all that wait."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not place.done:
            if self._computing:
                self._condition.wait()
                end = time.monotonic() + _PATIENCE_SECONDS
                continue
            missing = self._companions - {other.thread for other in self._waiting}
            left = end - time.monotonic()
            if not missing or left <= 0:
                return
            self._condition.wait(left)


class _Place:
    """One run's step in the queue for the next forward. A thread has one run, or several in turn."""

    def __init__(self, order):
        self.thread, self.order = threading.get_ident(), order
        self.found: torch.Tensor | BaseException | None = None

    @property
    def done(self) -> bool:
        return self.found is not None

    def result(self) -> torch.Tensor:
        if isinstance(self.found, BaseException):
            raise self.found
        return self.found
