"""The worker's side of a job: it tells how far it is, learns that it should stop, and has its last word.

Runs in the worker's own process, which outlives the page and the app. Knows nothing of what the work is.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from llmdemo.core.errors import UserError, first_line, is_disk_full
from llmdemo.core.events import EventWriter
from llmdemo.core.leaving import leave
from llmdemo.core.out_of_memory import MESSAGES
from llmdemo.core.sentences import say, together
from llmdemo.core.store import Home
from llmdemo.jobs.digest import End
from llmdemo.jobs.folder import JobFolder
from llmdemo.jobs.states import BAD_CONFIG, COMPLETED, DISK_FULL, FAILED, OUT_OF_MEMORY, STOPPED, WORKER_ERROR

_EVERY_SECONDS = 0.5
_LOOK_SECONDS = 0.1


class Stopped(Exception):
    """Somebody asked the job to stop."""


class Worker:
    """What the work itself calls. Not for several threads at a time."""

    def __init__(self, folder: JobFolder):
        self.folder = folder
        self._events = EventWriter(folder.events)
        self._written, self._looked = 0.0, (0.0, False)

    def write(self, kind: str, **fields: Any) -> None:
        """An event, at once. Raises OSError."""
        self._events.write(kind, **fields)

    def progress(self, force: bool = False, **fields: Any) -> None:
        """An event "progress" unless the last one is less than half a second old. Raises Stopped, OSError."""
        self.check()
        now = time.monotonic()
        if force or now - self._written >= _EVERY_SECONDS:
            self._written = now
            self.write("progress", **fields)

    def should_stop(self) -> bool:
        """Whether a stop was asked for; looks at the disk a few times a second at most."""
        now = time.monotonic()
        if not self._looked[1] and now - self._looked[0] > _LOOK_SECONDS:
            self._looked = (now, self.folder.stop.exists())
        return self._looked[1]

    def check(self) -> None:
        """Raises Stopped once a stop was asked for."""
        if self.should_stop():
            raise Stopped

    def close(self) -> None:
        self._events.close()


W = TypeVar("W", bound=Worker)


def perform(worker: W, work: Callable[[W], None], resume: str = say("resume_tries_again")) -> int:
    """Does the work and writes its events "start" and "end"; returns the exit status: 0 unless a mistake of ours ended it.

    `resume`: what a resume means, for those ends after which it helps. Closes the worker.
    """
    try:
        worker.write("start", pid=os.getpid())
        end, status = _perform(worker, work, resume)
        worker.write("end", state=end.state, reason=end.reason, message=end.message, hint=end.hint)
    finally:
        worker.close()
    return status


def _perform(worker: W, work: Callable[[W], None], resume: str) -> tuple[End, int]:
    try:
        work(worker)
        return End(COMPLETED), 0
    except Stopped:
        return End(STOPPED, "", say("end_stopped"), resume), 0
    except UserError as error:
        return End(FAILED, BAD_CONFIG, error.message, error.hint), 0
    except OSError as error:
        full = is_disk_full(error)
        traceback.print_exc()
        what = say("end_file", reason=error.strerror or error)
        hint = together(say("hint_space") if full else say("hint_log"), resume)
        return End(FAILED, DISK_FULL if full else WORKER_ERROR, what, hint), 0
    except Exception as error:  # the process's last word: the page must learn that, and of what, it ended
        traceback.print_exc()
        said = f"{type(error).__module__}.{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or MESSAGES.search(said):
            hint = together(say("hint_smaller_model"), resume)
            return End(FAILED, OUT_OF_MEMORY, together(say("end_memory_full"), first_line(error)), hint), 0
        what = say("end_mistake", kind=type(error).__name__)
        return End(FAILED, WORKER_ERROR, what, together(say("hint_log"), resume)), 1


def run_process(work: Callable[..., int], *, has_secret: bool = False) -> NoReturn:
    """The whole of a worker's process: `work(folder, home)` for the folder that the command line names, and its exit status.

    has_secret: `work` is also given what comes on standard input, see read_secret.
    """
    folder, home = JobFolder(Path(sys.argv[1])), Home(Path(os.environ["LLMDEMO_HOME"]))
    leave(work(folder, home, read_secret(sys.stdin)) if has_secret else work(folder, home))


def read_secret(stream: TextIO) -> str:
    """What was passed on beside the config and is kept nowhere: a line of JSON on standard input; "" without one."""
    try:
        value = json.loads(stream.readline() or '""')
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""
