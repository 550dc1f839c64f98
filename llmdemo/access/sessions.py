"""Whose a session, an event or an uploaded file is. Knows no HTTP and no page.

Only who made a session or an event may read it, stop it or go on with it; only who uploaded a file may name it.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

MOST_NAME = 128
"""Longest name of a session that is taken, in characters."""
_MOST_KNOWN = 20_000
_MOST_UPLOADS = 10_000


class Sessions:
    """Names of sessions and events by who used them first, and who is reading them now. Any thread may call it."""

    def __init__(self, most: int = _MOST_KNOWN):
        self._most = most
        self._whose: OrderedDict[str, str] = OrderedDict()
        self._readers: Counter[str] = Counter()
        self._left: dict[str, float] = {}
        self._lock = threading.Lock()

    def claim(self, name: str, who: str) -> bool:
        """Whether `who` may use this name: it is theirs already, or nobody's, and then theirs from now on."""
        if not 0 < len(name) <= MOST_NAME:
            return False
        with self._lock:
            owner = self._whose.setdefault(name, who)
            self._whose.move_to_end(name)
            while len(self._whose) > self._most:
                old, _ = self._whose.popitem(last=False)
                self._left.pop(old, None)
        return owner == who

    def whose(self, name: str) -> str | None:
        """Who has claimed this name; None for an unknown one."""
        with self._lock:
            return self._whose.get(name)

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """While the body runs, somebody reads what comes for this name."""
        with self._lock:
            self._readers[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers[name] -= 1
                if not self._readers[name]:
                    del self._readers[name]
                    self._left[name] = time.monotonic()

    def unread_since(self, name: str) -> float:
        """When the last reader left, on time.monotonic(); infinity while there is one, 0 where there never was."""
        with self._lock:
            return float("inf") if self._readers[name] else self._left.get(name, 0.0)


class Uploads:
    """Remembers paths by who uploaded them; the oldest are forgotten. Any thread may call it."""

    def __init__(self, most: int = _MOST_UPLOADS):
        self._most = most
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, who: str, paths: list[str]) -> None:
        """`who` has uploaded these."""
        with self._lock:
            self._known.update(dict.fromkeys((who, path) for path in paths))
            while len(self._known) > self._most:
                self._known.popitem(last=False)

    def has(self, who: str, path: str) -> bool:
        """Whether `who` has uploaded the file at `path`."""
        with self._lock:
            return (who, path) in self._known
