"""How often somebody may ask: so many times in any minute. Knows no HTTP and no page."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

MINUTE = 60.0
_MOST_KNOWN = 20_000


class Rates:
    """`wait(key)` is 0 when `key` may go on, which then counts; else the seconds until it may. `forgive(key)` takes the
    last one back. Any thread may call it."""

    def __init__(self, most: int, seconds: float = MINUTE, clock: Callable[[], float] = time.monotonic):
        self._most, self._seconds, self._clock = most, seconds, clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """Seconds until `key` may ask again; 0 now, and then this counts as asked."""
        now = self._clock()
        with self._lock:
            times = self._times.setdefault(key, deque())
            self._times.move_to_end(key)
            while times and times[0] <= now - self._seconds:
                times.popleft()
            if len(times) >= self._most:
                return times[0] + self._seconds - now if times else self._seconds
            times.append(now)
            while len(self._times) > _MOST_KNOWN:
                self._times.popitem(last=False)
        return 0.0

    def forgive(self, key: str) -> None:
        """The last time that `key` went on does not count after all."""
        with self._lock:
            if times := self._times.get(key):
                times.pop()
