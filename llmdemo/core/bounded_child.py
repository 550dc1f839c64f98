"""A child process that reads what a stranger made, with little time and memory. Knows nothing of what it reads.

The app makes a `BoundedChild` and reads what it prints; the child itself calls `limit` before it opens anything. A file
that takes too much ends the child, not the app. Imports the standard library only, as some children do with little more.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

from llmdemo.core.secrets import without_secrets

_ROOT = Path(__file__).resolve().parents[2]
_LOOK_SECONDS = 0.1


class BoundedChild:
    """A Python process without input, errors and secrets, which is ended when it says nothing for `patience` seconds.

    arguments: what follows the interpreter: a file, or "-m" and a module of this app. env: variables beside those of
    this process; keep: names of secrets that the child may know. should_stop: ends it too, as soon as it is true.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        patience: float,
        *,
        env: Mapping[str, str] | None = None,
        keep: Collection[str] = (),
        should_stop: Callable[[], bool] | None = None,
    ):
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._child = subprocess.Popen(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**without_secrets(keep=keep), "PYTHONPATH": path, **(env or {})},
        )
        assert self._child.stdout is not None
        self.out: IO[bytes] = self._child.stdout
        """What the child prints."""
        self.was_silent = False
        """Whether it was ended because it said nothing."""
        self._patience, self._should_stop = patience, should_stop
        self._last: float | None = time.monotonic()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._run, name="bounded-child", daemon=True)
        self._watch.start()

    def seen(self) -> None:
        """Something came, or is waited for from now on: its time begins anew."""
        self._last = time.monotonic()

    def pause(self) -> None:
        """What is done with what came is not the child's silence: no time passes for it until `seen`."""
        self._last = None

    def answer(self, most: int) -> list[bytes]:
        """The whole lines that it prints until its end, of `most` bytes together."""
        return [line for line in self.out.read(most).splitlines(keepends=True) if line.endswith(b"\n")]

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        return self._child.wait(timeout=seconds)

    def end(self, grace: float = 0.0) -> int:
        """Ends it if it has not ended by itself within `grace` seconds; returns its exit code, negative for a signal."""
        self._over.set()
        try:
            code = self._child.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        self._watch.join()
        self.out.close()
        return code

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            last = self._last
            silent = last is not None and time.monotonic() - last > self._patience
            if silent or (self._should_stop and self._should_stop()):
                self.was_silent = silent
                self._child.kill()
                return


def limit(
    *, data_bytes: int = 0, more_address_bytes: int = 0, cpu_seconds: int = 0, file_bytes: int | None = None
) -> None:
    """Limits this process, for good: its data, its address space beyond what it has now, its processor time from now on,
    the files that it writes. 0: no such limit. Does nothing but on Linux, where the parent's patience is left.
    """
    if not sys.platform.startswith("linux"):
        return
    import resource

    wanted = {}
    if data_bytes:
        wanted[resource.RLIMIT_DATA] = data_bytes
    if more_address_bytes:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        wanted[resource.RLIMIT_AS] = pages * os.sysconf("SC_PAGE_SIZE") + more_address_bytes
    if cpu_seconds:
        used = resource.getrusage(resource.RUSAGE_SELF)
        wanted[resource.RLIMIT_CPU] = int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds
    if file_bytes is not None:
        wanted[resource.RLIMIT_FSIZE] = file_bytes
        wanted[resource.RLIMIT_CORE] = 0
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))
