"""Processes of a job: start them detached, know them again, signal them and nobody else.

Knows nothing of states or of what the processes do. A process is known by its pid and its identity (which
boot of the machine, and when in it the process started), because pids are used again; the identity does not
depend on the clock. The process group of a job is wider than the system's: it is found by the session of its launcher,
by descent, and by a token in the environment, which also finds what has left the session or lost its parent.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

TOKEN_VARIABLE = "LLMDEMO_RUN_TOKEN"

_LINUX = sys.platform.startswith("linux")
# Children of this process that have not been waited for. Kept here, so that a supervisor that comes after
# another one in the same process still learns their exit status.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    group: int
    session: int
    identity: str
    zombie: bool


def launch(
    argv: list[str], folder: Path, env: dict[str, str], log: Path, token: str, secret: str = ""
) -> tuple[int, str]:
    """Starts `argv` in a session of its own and returns (pid, identity). It outlives this process.

    Output goes to the end of `log`: no pipe that somebody must read. `secret` goes to its standard input, where no list
    of processes shows it (see worker.read_secret). Raises OSError.
    """
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)  # append: survives being cut short
    try:
        stdin = subprocess.PIPE if secret else subprocess.DEVNULL
        child = start(argv, folder, {**env, TOKEN_VARIABLE: token}, output, stdin)
    finally:
        os.close(output)
    if child.stdin:
        with contextlib.suppress(OSError), child.stdin:  # it may have ended at once
            child.stdin.write(json.dumps(secret).encode() + b"\n")
    return child.pid, identity(child.pid)


def start(
    argv: list[str], folder: Path | None, env: dict[str, str], output: int, stdin: int
) -> subprocess.Popen[bytes]:
    """Starts `argv` in a session of its own, as a child whose exit status is kept. Raises OSError."""
    child = subprocess.Popen(
        argv, cwd=folder, env=env, stdin=stdin, stdout=output, stderr=output, start_new_session=True
    )
    _children[child.pid] = child
    _prefer_for_oom_killer(child.pid)
    return child


def _prefer_for_oom_killer(pid: int) -> None:
    """If memory runs out the kernel should take the job, which can be resumed, and not the app."""
    if _LINUX:
        try:
            Path(f"/proc/{pid}/oom_score_adj").write_text("500")
        except OSError:
            return  # a container may forbid it


def identity(pid: int) -> str:
    """What tells this process from others that have had or will have its pid; "" if there is none."""
    process = _look(pid)
    return process.identity if process else ""


def is_alive(pid: int | None, known: str) -> bool:
    """Whether the process `pid` runs and is the one with the identity `known`."""
    if not pid or not known:
        return False
    exit_status(pid)
    process = _look(pid)
    return process is not None and not process.zombie and process.identity == known


def exit_status(pid: int) -> int | None:
    """The exit status of a child of this app that has ended (negative: the signal), else None."""
    child = _children.get(pid)
    return child.poll() if child else None


def forget(pid: int | None) -> None:
    """No longer remembers the exit status of a child that has ended."""
    if pid is not None and (child := _children.get(pid)) and child.poll() is not None:
        _children.pop(pid, None)


def group(pid: int | None, known: str, token: str, members: dict[int, str] | None = None) -> dict[int, str]:
    """All living processes of a job, as {pid: identity}.

    `pid`, `known`: the launcher. `token`: in the environment of what it started. `members`: the group as
    it was found earlier; those that are still the same count, whatever they have done to hide.
    """
    processes = [process for process in _all() if process.pid != os.getpid()]
    members = members or {}
    # While the launcher is there, even as a zombie, the number of its session cannot be anybody else's.
    session = pid if pid and any(each.pid == pid and each.identity == known for each in processes) else None
    found = {
        each.pid: each
        for each in processes
        if (session and session in (each.session, each.group))
        or members.get(each.pid) == each.identity
        or _has_token(each.pid, token)
    }
    grew = True
    while grew:
        new = {each.pid: each for each in processes if each.parent in found and each.pid not in found}
        grew = bool(new)
        found |= new
    return {each.pid: each.identity for each in found.values() if not each.zombie}


def eldest(members: dict[int, str]) -> int:
    """The pid of the member that started first: the launcher, as far as it is still there."""
    return min(members, key=lambda pid: (float(members[pid].rpartition(":")[2]), pid))


def send(members: dict[int, str], number: int) -> None:
    """Sends the signal to those of `members` {pid: identity} that are still who they were."""
    for pid, known in members.items():
        _send(pid, known, number)


def _send(pid: int, known: str, number: int) -> None:
    try:
        if hasattr(os, "pidfd_open"):
            # The handle stays with this process even if it ends and its pid is given to another one.
            handle = os.pidfd_open(pid)
            try:
                if identity(pid) == known:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
        elif is_alive(pid, known):
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # gone; or no longer ours (a set-user-id program)


def _all() -> Iterator[Process]:
    names = os.listdir("/proc") if _LINUX else map(str, psutil.pids())
    for name in names:
        if name.isdigit() and (process := _look(int(name))):
            yield process


def _look(pid: int) -> Process | None:
    return _look_in_proc(pid) if _LINUX else _look_with_psutil(pid)


def _look_in_proc(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold anything
    return Process(
        pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        identity=f"{_boot()}:{int(fields[19])}",
        zombie=fields[0] in (b"Z", b"X"),
    )


def _look_with_psutil(pid: int) -> Process | None:
    try:
        process = psutil.Process(pid)
        return Process(
            pid,
            parent=process.ppid(),
            group=os.getpgid(pid) if hasattr(os, "getpgid") else 0,
            session=os.getsid(pid) if hasattr(os, "getsid") else 0,
            identity=f"{process.create_time():.2f}",
            zombie=process.status() == psutil.STATUS_ZOMBIE,
        )
    except (psutil.Error, OSError):
        return None


@cache
def _boot() -> str:
    """Which boot of the machine this is: start times are counted from it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "boot"


def _has_token(pid: int, token: str) -> bool:
    if not token:
        return False
    try:
        if _LINUX:
            return f"{TOKEN_VARIABLE}={token}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return bool(psutil.Process(pid).environ().get(TOKEN_VARIABLE) == token)
    except (OSError, psutil.Error):
        return False  # gone, or another user's
