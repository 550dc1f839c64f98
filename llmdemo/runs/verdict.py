"""Why did a run end that did not say so itself? Judged by its exit status, its log and the kernel's counters.

Knows nothing of states or queues. Out of memory is claimed only on evidence, never guessed.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from llmdemo import memory
from llmdemo.runs.states import DISK_FULL, LOST, OUT_OF_MEMORY, WORKER_ERROR

LOST_MESSAGE = "The process of the run is gone and left no word."
RESUME_HINT = memory.RESUME
_MORE_SPACE = f"Free some space, for example by deleting old runs. {RESUME_HINT}"
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


@dataclass(frozen=True)
class Verdict:
    reason: str
    message: str
    hint: str


def judge(
    exit_status: int | None,
    log: str,
    oom_kills: int = 0,
    free: int | None = None,
    peak: int | None = None,
    ledger: dict | None = None,
    config: dict | None = None,
) -> Verdict:
    """The reason for an end without a word.

    `exit_status`: of the launcher, negative for a signal, None when unknown. `log`: the end of what the
    attempt printed. `oom_kills`: how many processes the kernel killed for memory meanwhile.
    `free`: bytes left on the disk; on a full one neither an event nor the log could be written.
    `peak`: the most memory that the run told of, in bytes. `ledger`: what it was predicted to take. `config`: its settings.
    """
    number = _signal(exit_status, log)
    if number == 9 and oom_kills > 0:
        facts = memory.needed(ledger, peak=peak, there=memory_there())
        what = f"The system ran out of memory and ended the run. {facts}".strip()
        return Verdict(OUT_OF_MEMORY, what, memory.smaller(ledger, config))
    if number:
        return Verdict(LOST, f"The run was ended from outside (signal {number}).", RESUME_HINT)
    if match := memory.MESSAGES.search(log):
        line = _line_at(log, match.start())
        facts = memory.needed(ledger, said=line, peak=peak) or line
        return Verdict(OUT_OF_MEMORY, f"The run ran out of memory. {facts}", memory.smaller(ledger, config))
    if match := _NO_SPACE.search(log):
        return Verdict(DISK_FULL, f"The disk is full: {_line_at(log, match.start())}", _MORE_SPACE)
    if free is not None and free < _FULL_BYTES and exit_status != 0:
        return Verdict(DISK_FULL, f"The disk is full: {free // 1024} KiB are left.", _MORE_SPACE)
    if exit_status:
        what = _last_error(log) or f"it ended with exit status {exit_status}"
        return Verdict(WORKER_ERROR, f"The run failed: {what}", f"The log has the details. {RESUME_HINT}")
    return Verdict(LOST, LOST_MESSAGE, RESUME_HINT)


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
    return min(psutil.virtual_memory().total, *(limit for limit in limits if limit), 2**62)


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
