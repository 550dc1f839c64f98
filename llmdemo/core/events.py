"""A run's events.jsonl: append only, one JSON object a line. Knows nothing of what the events mean.

The writer is the run's worker, the readers are any number of pages. A reader keeps a byte offset and
asks for what came after it, so that nothing is ever read twice; a torn last line (a worker killed while
writing) is left for the next read, and skipped once another line follows it.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from llmdemo.core.sentences import beside, restored

_LARGEST_READ = 8 * 2**20


class EventWriter:
    """Appends events to `path`; every event gets the time `t` (seconds since the epoch)."""

    def __init__(self, path: Path):
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._torn = self._ends_inside_a_line()

    def _ends_inside_a_line(self) -> bool:
        """After a kill it may: then the next event must begin on a line of its own."""
        size = os.fstat(self._handle).st_size
        return size > 0 and os.pread(self._handle, 1, size - 1) != b"\n"

    def write(self, kind: str, **fields: Any) -> None:
        """One event {"type": kind, "t": now, **fields}. Raises ValueError for NaN or infinity, OSError if full.

        Of fields that are sentences, key and values are kept in "said", which readers of the file may ignore.
        """
        said = {"said": found} if (found := beside(fields)) else {}
        event = {"type": kind, "t": round(time.time(), 3), **fields, **said}
        line = json.dumps(event, ensure_ascii=False, allow_nan=False)
        data = (b"\n" if self._torn else b"") + line.encode("utf-8", "replace") + b"\n"
        while data:
            # A disk may fill up in the middle: what follows the torn line must not become part of it.
            self._torn = True
            data = data[os.write(self._handle, data) :]
        self._torn = False

    def end_line(self) -> None:
        """Ends a last line that lacks its end; if it is whole otherwise, it becomes an event by that."""
        if self._torn:
            os.write(self._handle, b"\n")
            self._torn = False

    def sync(self) -> None:
        """What was written is on the disk after this, also if the power fails then."""
        os.fsync(self._handle)

    def close(self) -> None:
        os.close(self._handle)


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole events after byte `offset`, and the offset to go on from.

    Lines that are not JSON objects are skipped, halves of surrogate pairs become question marks; a last line without
    its end is left for the next read. At most 8 MiB are read a call: call again while the offset grows.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(_LARGEST_READ)
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) == _LARGEST_READ:
        end = len(data)  # a line longer than a read is no event of ours
    return [event for line in data[:end].split(b"\n") if (event := _parse(line))], offset + end


def every_event(path: Path) -> Iterator[dict[str, Any]]:
    """All whole events of the file, in bounded memory; none where there is no file."""
    offset = 0
    while True:
        events, end = read_events(path, offset)
        yield from events
        if end == offset:
            return
        offset = end


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        event = _DECODER.decode(line.decode())
        if b"\\ud" in line or b"\\uD" in line:
            # Perhaps half of a surrogate pair, which neither SQLite nor a page takes.
            whole = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace")
            event = _DECODER.decode(whole.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        return None
    return restored(event, event.pop("said")) if "said" in event else event


def _refuse(constant: str) -> NoReturn:
    """NaN and infinities are no JSON: a page that is given them cannot read the rest either."""
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_constant=_refuse)  # made once: json.loads would make one for each line
