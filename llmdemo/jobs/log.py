"""A job's log.txt: what its processes print. Kept small in place, read from its end. Knows nothing else."""

import os
from pathlib import Path

_HEAD_BYTES = 16 * 1024
_TAIL_BYTES = 256 * 1024
_CUT = b"\n[... the log grew too long: the middle part was removed ...]\n"
_ATTEMPT = "===== attempt "


def begin_attempt(path: Path, attempt: int) -> None:
    """A line that parts what follows from what earlier attempts printed. Raises OSError."""
    with open(path, "ab") as file:
        file.write(f"{_ATTEMPT}{attempt} =====\n".encode())


def trim(path: Path, max_bytes: int) -> bool:
    """Cuts a log of more than `max_bytes` down to its beginning and its end; True if it did.

    Works while others write to it: they append, so that they go on at the new end. What they write
    between the read and the cut is lost, which for a flood is no loss.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
        with open(path, "r+b") as file:
            head = file.read(_HEAD_BYTES)
            head = head.split(_CUT)[0]
            file.seek(-min(_TAIL_BYTES, max_bytes // 2), os.SEEK_END)
            tail = file.read(_TAIL_BYTES)
            file.truncate(0)
        with open(path, "ab") as file:
            file.write(head + _CUT + tail)
    except FileNotFoundError:
        return False
    return True


def tail(path: Path, lines: int = 200, max_bytes: int = 256 * 1024) -> str:
    """The last `lines` lines, at most `max_bytes`, whatever the bytes are; "" without a log.

    A progress bar that redraws its line with carriage returns shows its last state.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            data = file.read(max_bytes)
    except FileNotFoundError:
        return ""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\0", "")
    rows = [
        row.rsplit("\r", 1)[-1] if not row.endswith("\r") else row[:-1].rsplit("\r", 1)[-1] for row in text.split("\n")
    ]
    if rows and rows[-1] == "":
        rows.pop()
    return "\n".join(rows[-lines:] if lines > 0 else [])


def last_attempt(path: Path) -> str:
    """The end of what the last attempt printed."""
    text = tail(path, lines=10_000)
    return text.rsplit(_ATTEMPT, 1)[-1].partition("\n")[2] if _ATTEMPT in text else text
