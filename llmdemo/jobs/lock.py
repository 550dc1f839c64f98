"""One supervisor a home folder: whoever holds the lock on a file. Knows nothing of jobs.

The kernel gives the lock back when its holder dies, however it dies, so it can never be stale.
"""

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class LeaderLock:
    """An exclusive lock on `path` that is taken without waiting. Two objects exclude each other, in one process too."""

    def __init__(self, path: Path):
        self._path = path
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        return self._handle is not None

    def acquire(self) -> bool:
        """True if this object holds the lock now. Raises OSError if the file cannot be opened."""
        if self.held:
            return True
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            if sys.platform == "win32":
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
