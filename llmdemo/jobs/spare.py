"""A worker that is started before there is a job: what it imports is there when somebody presses Start.

For a small model, imports are most of the time until the first step. `Spare.get_ready` starts the worker's command with
the word WAIT in the place of the job's folder; the worker imports what it needs and calls `wait_for_job`, which reads the
folder, the log and what else its environment should hold from standard input. `Spare.launch` stands where
process.launch does: it hands the job to the waiting worker where the command and the environment are the same, and else
starts one. A worker that nobody asks for ends after some time, and when this app does.

Knows nothing of what the worker does.
"""

import contextlib
import ctypes
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from llmdemo.jobs import process

WAIT = "--wait"
"""The last word of a waiting worker's argv."""
LEAST_FREE_BYTES = 2 * 2**30
"""Available memory below which none is kept waiting: it takes some 350 MB."""
_MOST_MESSAGE = 1 << 20
_ALSO_LATER = ("CUDA_VISIBLE_DEVICES", process.TOKEN_VARIABLE)
"""What may be set when the job is known: it is read after the imports."""


class Spare:
    """At most one waiting worker. Safe to use from any thread."""

    def __init__(self, start: Callable[..., tuple[int, str]] = process.launch):
        self._start = start
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._argv: list[str] = []
        self._env: dict[str, str] = {}
        self._until = 0.0
        """When its patience may end, by time.monotonic; from then on it takes no job, as it may be ending."""
        self._gone: list[subprocess.Popen[bytes]] = []
        """Those that were let go of and may still run."""

    def get_ready(self, argv: list[str], env: dict[str, str], seconds: float) -> bool:
        """Starts a worker that waits for at most `seconds`, unless one does; whether one is there now.

        argv: the worker's command without its last word, the job's folder.
        """
        with self._lock:
            self._reap()
            if self._child is not None and self._child.poll() is None:
                if time.monotonic() < self._until:
                    return True
                self._let_go(self._child)
            self._child = None
            if not sys.platform.startswith("linux") or psutil.virtual_memory().available < LEAST_FREE_BYTES:
                return False
            self._argv, self._env, self._until = list(argv), _fixed(env), time.monotonic() + seconds
            own = {**self._env, process.TOKEN_VARIABLE: "-" * 32, "LLMDEMO_WAIT_SECONDS": str(seconds)}
            try:
                self._child = process.start([*argv, WAIT], None, own, subprocess.DEVNULL, subprocess.PIPE)
            except OSError:
                return False
            return True

    def launch(
        self, argv: list[str], folder: Path, env: dict[str, str], log: Path, token: str, secret: str = ""
    ) -> tuple[int, str]:
        """As process.launch, by the waiting worker where that is of use."""
        with self._lock:
            self._reap()
            child, self._child = self._child, None
        if child is None:
            return self._start(argv, folder, env, log, token, secret)
        same = argv[:-1] == self._argv and argv[-1] == str(folder) and _fixed(env) == self._env
        waits = time.monotonic() < self._until and child.poll() is None
        if same and waits and not secret and len(token) == 32:
            later = {name: env[name] for name in _ALSO_LATER if name in env} | {process.TOKEN_VARIABLE: token}
            known = process.identity(child.pid)
            if known and _tell(child, {"folder": str(folder), "log": str(log), "env": later}):
                return child.pid, known
        with self._lock:
            self._let_go(child)
        return self._start(argv, folder, env, log, token, secret)

    def close(self) -> None:
        """Ends the waiting worker."""
        with self._lock:
            child, self._child = self._child, None
            if child is not None:
                self._let_go(child)

    def _let_go(self, child: subprocess.Popen[bytes]) -> None:
        """Without anybody at the other end of the pipe it ends by itself, once its imports are done."""
        assert child.stdin is not None, "a waiting worker has a pipe"
        self._gone.append(child)
        with contextlib.suppress(OSError):
            child.stdin.close()

    def _reap(self) -> None:
        """Takes the exit status of those that have ended: until somebody does, the system keeps them."""
        self._gone = [child for child in self._gone if child.poll() is None]


def wait_for_job() -> str | None:
    """In a waiting worker: the folder of the job that it is to do, once there is one; None if nobody asked for it.

    From then on it is as if it had been started for that job: in its folder, with its log and its environment.
    """
    seconds = float(os.environ.pop("LLMDEMO_WAIT_SECONDS", "600"))
    if not select.select([sys.stdin], [], [], seconds)[0]:
        return None
    line = sys.stdin.readline(_MOST_MESSAGE)
    if not line.endswith("\n"):
        return None  # the app has ended
    told = json.loads(line)
    log = os.open(told["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    os.chdir(told["folder"])
    _take_token(told["env"][process.TOKEN_VARIABLE])
    os.environ.update(told["env"])
    return str(told["folder"])


def _take_token(token: str) -> None:
    """Writes the job's token into the environment that the system shows of this process, where others look for it.

    That is the memory in which the process got its environment, which os.environ never changes.
    """
    strings = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    name = f"{process.TOKEN_VARIABLE}=".encode()
    number = 0
    while address := strings[number]:
        if ctypes.string_at(address).startswith(name):
            if len(ctypes.string_at(address)) == len(name) + len(token):
                ctypes.memmove(address + len(name), token.encode(), len(token))
            return
        number += 1


def _fixed(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in _ALSO_LATER}


def _tell(child: subprocess.Popen[bytes], job: dict[str, object]) -> bool:
    assert child.stdin is not None, "a waiting worker has a pipe"
    try:
        with child.stdin:
            child.stdin.write(json.dumps(job).encode() + b"\n")
    except OSError:
        return False
    return True
