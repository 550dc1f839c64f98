"""Calls to an endpoint, several at a time, until all are done, one fails or a stop comes. Knows no endpoint."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Event
from typing import Generic, TypeVar

Lane = TypeVar("Lane")
Item = TypeVar("Item")
Result = TypeVar("Result")
_LOOK_SECONDS = 0.1


class Calls(Generic[Lane]):
    """`map` does one call an item, each on a lane that nobody else uses meanwhile.

    `failure`: what ended the work early; nothing can be asked after it. tell(share) is called between the calls, in the
    thread of `map`; what it raises is a failure too. `close(lane)` ends the call that a lane is at.
    """

    def __init__(self, lanes: Sequence[Lane], tell: Callable[[float], None], close: Callable[[Lane], None]):
        self._lanes, self._tell, self._close = list(lanes), tell, close
        self.failure: BaseException | None = None

    def map(self, call: Callable[[Lane, Item], Result], items: Sequence[Item]) -> list[Result | None]:
        """What each call gave, in order; None for those that were not done."""
        free: SimpleQueue[Lane] = SimpleQueue()
        for lane in self._lanes:
            free.put(lane)
        over = Event()

        def one(item: Item) -> Result | None:
            if over.is_set():
                return None
            lane = free.get()
            try:
                return call(lane, item)
            except BaseException:
                over.set()
                raise
            finally:
                free.put(lane)

        with ThreadPoolExecutor(len(self._lanes)) as pool:
            futures = [pool.submit(one, item) for item in items]
            waiting = set(futures)
            while waiting:
                _, waiting = wait(waiting, _LOOK_SECONDS)
                if self.failure is None:
                    self._look(1 - len(waiting) / len(futures), over)
        problems = [future.exception() for future in futures]
        self.failure = self.failure or next((each for each in problems if each), None)
        return [None if problem else future.result() for future, problem in zip(futures, problems, strict=True)]

    def _look(self, share: float, over: Event) -> None:
        try:
            self._tell(share)
        except BaseException as stopped:
            self.failure = stopped
            over.set()
            for lane in self._lanes:
                self._close(lane)
