"""Which files a visitor has uploaded: the only ones that their requests may name. Knows no HTTP and no page."""

import threading
from collections import OrderedDict

_MOST_KNOWN = 10_000


class Uploads:
    """Remembers paths by who uploaded them; the oldest are forgotten. Any thread may call it."""

    def __init__(self, most: int = _MOST_KNOWN):
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
