"""Why a run ends before its last step: it cannot go on, there is nothing (more) to learn, it went astray, or it was stopped.

`Interrupt` lets a stop end what has no steps of its own: a trial pass, an evaluation.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.nn.modules.module import register_module_forward_pre_hook

_EVERY_SECONDS = 0.25


class NonFinite(Exception):
    """The loss or the gradients stayed infinite or NaN."""


class Halt(Exception):
    """Nothing broke. `good`: whether the weights as they are may be published; else those of the best evaluation."""

    def __init__(self, message: str, hint: str, good: bool):
        super().__init__(message)
        self.message, self.hint, self.good = message, hint, good


class Stopped(Exception):
    """It was asked to stop."""


class Interrupt:
    """`check` raises Stopped where that was asked for, inside `watching`; elsewhere it does nothing."""

    def __init__(self) -> None:
        self._should_stop: Callable[[], bool] | None = None
        self._next = 0.0

    def check(self, *_) -> None:
        """Cheap enough for every module of a forward pass: it looks a few times a second."""
        if self._should_stop is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_SECONDS
        if self._should_stop():
            raise Stopped

    @contextmanager
    def watching(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Meanwhile every module of every model checks before its forward."""
        self._should_stop, self._next = should_stop, 0.0
        hook = register_module_forward_pre_hook(lambda module, inputs: self.check())
        try:
            yield
        finally:
            hook.remove()
            self._should_stop = None
