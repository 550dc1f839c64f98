"""A batch of raw rows, as every reader hands them on. Knows no file format."""

from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_RECORD = 8 * 2**20
"""Longest record or line, in characters (bytes for JSON Lines): a longer one is no record of a data set."""
MAX_COLUMNS = 1000

_BATCH_ROWS = 1000
_BATCH_SIZE = 4 * 2**20


@dataclass(slots=True)
class BadRow:
    """A row that is no record, and why, as the end of a sentence that begins with "Row 3"."""

    reason: str
    excerpt: str = ""


@dataclass(slots=True)
class Batch:
    """Rows that follow each other in the file."""

    first_row: int
    """Number of the first, counted from 1 as a person counts the records."""
    rows: list = field(default_factory=list)
    """Each a dict, a str (a JSON array of texts) or a BadRow."""
    lines: list[int] | None = None
    """The line on which each begins, counted from 1."""
    done: int = 0
    """Bytes or characters of the file read so far, for the progress."""


def batches_of(rows: list[dict]) -> Iterator[Batch]:
    """Rows that come from no file, a thousand at a time; `done` counts them."""
    for start in range(0, len(rows), 1000):
        part = rows[start : start + 1000]
        yield Batch(first_row=start + 1, rows=part, done=start + len(part))


class Gather:
    """Collects rows into batches of bounded size."""

    def __init__(self):
        self.row, self.batch, self.size = 1, Batch(1, [], []), 0

    def add(self, value, line: int, size: int, done: int) -> Batch | None:
        """Takes a row; returns the batch once it is full."""
        assert self.batch.lines is not None, "this class makes its batches with them"
        self.batch.rows.append(value)
        self.batch.lines.append(line)
        self.batch.done = done
        self.row += 1
        self.size += size
        return self.take() if len(self.batch.rows) >= _BATCH_ROWS or self.size >= _BATCH_SIZE else None

    def take(self) -> Batch:
        batch, self.batch, self.size = self.batch, Batch(self.row, [], []), 0
        return batch

    def rest(self):
        """The last batch, if it has rows."""
        return [self.take()] if self.batch.rows else []
