"""Why did a job end that did not say so itself? Told by its exit status, its log and the kernel's counters.

Knows nothing of states or queues. Out of memory is claimed only on evidence, never guessed.
"""

import re
from pathlib import Path

import psutil

from llmdemo.core.out_of_memory import MESSAGES
from llmdemo.core.sentences import say, together
from llmdemo.jobs.digest import End
from llmdemo.jobs.kinds import Advice
from llmdemo.jobs.states import DISK_FULL, FAILED, LOST, OUT_OF_MEMORY, WORKER_ERROR

_FULL_BYTES = 2**20
# How accelerate's and torch's launchers report that a worker was ended by a signal.
_SIGNAL_REPORTS = (
    re.compile(r"died with <Signals\.SIG\w+: (\d+)>"),
    re.compile(r"exitcode\s*:\s*-(\d+)"),
)
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|os error 28\b|database or disk is full")
_LAUNCHERS_ERROR = re.compile(r"CalledProcessError|ChildFailedError|SignalException")
_ERROR_LINE = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Warning)(?::.*)?$", re.MULTILINE
)


def lost(noun: str, resume: str) -> End:
    """The end of a job of which nothing else is known."""
    return End(FAILED, LOST, say("end_lost", noun=noun), resume)


def diagnose(
    exit_status: int | None,
    log: str,
    oom_kills: int = 0,
    free: int | None = None,
    *,
    noun: str = say("noun_job"),
    resume: str = say("resume_tries_again"),
    advice: Advice | None = None,
) -> End:
    """How it ended, for an end without a word.

    `exit_status`: of the launcher, negative for a signal, None when unknown. `log`: the end of what the
    attempt printed. `oom_kills`: how many processes the kernel killed for memory meanwhile.
    `free`: bytes left on the disk; on a full one neither an event nor the log could be written.
    `resume`: what a resume means. `advice`: what to say where the memory ran out.
    """
    ran_out = advice or _plain_advice(resume)
    number = _signal(exit_status, log)
    if number == 9 and oom_kills > 0:
        facts, hint = ran_out("", memory_there())
        return End(FAILED, OUT_OF_MEMORY, together(say("end_oom_killed", noun=noun), facts), hint)
    if number:
        return End(FAILED, LOST, say("end_signal", noun=noun, number=number), resume)
    if match := MESSAGES.search(log):
        line = _line_at(log, match.start())
        facts, hint = ran_out(line, None)
        return End(FAILED, OUT_OF_MEMORY, together(say("end_oom", noun=noun), facts or line), hint)
    more_space = together(say("hint_more_space"), resume)
    if match := _NO_SPACE.search(log):
        return End(FAILED, DISK_FULL, say("end_disk_full", line=_line_at(log, match.start())), more_space)
    if free is not None and free < _FULL_BYTES and exit_status != 0:
        return End(FAILED, DISK_FULL, say("end_disk_left", n=free // 1024), more_space)
    if exit_status:
        what = _last_error(log) or say("end_exit_status", exit_status=exit_status)
        return End(FAILED, WORKER_ERROR, say("end_failed", noun=noun, what=what), together(say("hint_log"), resume))
    return lost(noun, resume)


def _plain_advice(resume: str) -> Advice:
    def advice(said: str, there: int | None) -> tuple[str, str]:
        facts = said or (say("oom_machine", size=f"{there / 2**30:.2f} GiB") if there else "")
        return facts, together(say("hint_smaller_model"), resume)

    return advice


def _signal(exit_status: int | None, log: str) -> int:
    if exit_status is not None and exit_status < 0:
        return -exit_status
    found = [match for pattern in _SIGNAL_REPORTS for match in pattern.finditer(log)]
    return int(found[-1][1]) if found else 0


def _last_error(log: str) -> str:
    """The last line of the worker's own traceback; what the launcher says about it comes after it."""
    lines = [match[0] for match in _ERROR_LINE.finditer(log) if not _LAUNCHERS_ERROR.search(match[0])]
    return _short(lines[-1]) if lines else ""


def _line_at(text: str, index: int) -> str:
    start = text.rfind("\n", 0, index) + 1
    return _short(text[start:].partition("\n")[0])


def _short(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= 300 else f"{line[:299]}…"


def oom_kills_so_far() -> int:
    """A number that grows when the kernel kills for want of memory, on this machine or in our control group."""
    return sum(map(_counter, [Path("/proc/vmstat"), *_group_files()]))


def memory_there() -> int:
    """Memory that processes of this machine, or of our control group, may take together, in bytes."""
    limits = [
        _limit(file.with_name(name)) for file in _group_files() for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return min(int(psutil.virtual_memory().total), *(limit for limit in limits if limit), 2**62)


def _limit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None  # not there, or "max"


def _group_files() -> list[Path]:
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in groups:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            files.append(Path("/sys/fs/cgroup" + path) / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(Path("/sys/fs/cgroup/memory" + path) / "memory.oom_control")
    return files


def _counter(path: Path) -> int:
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(line[1]) for line in words if len(line) == 2 and line[0] == "oom_kill" and line[1].isdigit())
