"""Digests of job folders, kept up to date by reading only what was added. Knows nothing of processes or queues."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmdemo.core.events import read_events
from llmdemo.jobs.digest import Digest

_MOST_JOBS = 16


class Reader:
    """The digest of one events.jsonl."""

    def __init__(self, path: Path, digest: type[Digest] = Digest):
        self._path, self._make = path, digest
        self._lock = threading.RLock()
        self._offset = 0
        self._file: int | None = None
        self._digest = digest()
        self._heard = time.monotonic()

    @contextmanager
    def digest(self) -> Iterator[Digest]:
        """The digest up to date, for as long as the block lasts."""
        with self._lock:
            self._catch_up()
            yield self._digest

    def seconds_quiet(self) -> float:
        """Time since an event was last seen to arrive, in seconds; clock changes do not count."""
        return time.monotonic() - self._heard

    def _catch_up(self) -> None:
        try:
            status = self._path.stat()
        except OSError:
            return
        if status.st_size < self._offset or self._file not in (None, status.st_ino):
            self._offset, self._digest = 0, self._make()  # another file: begin again
        self._file = status.st_ino
        while self._offset < status.st_size:
            events, offset = read_events(self._path, self._offset)
            if offset == self._offset:
                return
            self._offset = offset
            for event in events:
                self._digest.feed(event)
            self._heard = time.monotonic()


class Readers:
    """Readers by job folder; the least recently used ones are let go."""

    def __init__(self, most: int = _MOST_JOBS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._readers: OrderedDict[Path, Reader] = OrderedDict()

    def of(self, folder: Path, digest: type[Digest] = Digest) -> Reader:
        """`digest` reads the events of this kind of job."""
        with self._lock:
            reader = self._readers.pop(folder, None) or Reader(folder / "events.jsonl", digest)
            self._readers[folder] = reader
            while len(self._readers) > self._most:
                self._readers.popitem(last=False)
            return reader

    def drop(self, folder: Path) -> None:
        with self._lock:
            self._readers.pop(folder, None)
