"""What was made so far, kept or not: records.jsonl of a job's folder, and its figures. Knows no model."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from llmdemo.core.events import EventWriter, every_event

RECORDS = "records.jsonl"


class Log:
    """Reads what is there, and adds to it. Lines are Made.to_dict's."""

    def __init__(self, path: Path):
        self._path = path
        self.kept: list[dict] = []
        """The lines of the records that are kept."""
        self.reasons: Counter[str] = Counter()
        self.cut = 0
        self.done: set[int] = set()
        """Numbers that were made."""
        for line in read_lines(path):
            self._count(line)
        self._made_before = self.made
        self._writer = EventWriter(path)
        self.begin()

    def begin(self) -> None:
        """From now on the time counts."""
        self._began = self._until = time.monotonic()

    @property
    def seconds_each(self) -> float | None:
        """Of the time from `begin` to the newest record for one that is kept, what is left out included; None before one is."""
        fresh = self.made - self._made_before
        if not fresh or not self.kept:
            return None
        return (self._until - self._began) / fresh * self.made / len(self.kept)

    def add(self, record: dict) -> None:
        """On disk when this returns. Raises OSError."""
        self._writer.write("record", **record)
        self._count(record)
        self._until = time.monotonic()

    def _count(self, line: dict) -> None:
        self.done.add(line["number"])
        if line["reason"]:
            self.reasons[line["reason"]] += 1
        else:
            self.kept.append(line)
            self.cut += bool(line.get("cut"))

    @property
    def made(self) -> int:
        return len(self.kept) + self.reasons.total()

    def close(self) -> None:
        self._writer.close()


def read_lines(path: Path) -> Iterator[dict]:
    """The records' lines, in the order of being made; what is torn or damaged is passed over."""
    for event in every_event(path):
        if event["type"] == "record" and isinstance(event.get("number"), int):
            yield event


def highest(lines: list[dict], share: float) -> set[int]:
    """The numbers of the `share` of these with the highest perplexity, rounded down; those without one stay."""
    known = sorted((line["perplexity"], line["number"]) for line in lines if line.get("perplexity") is not None)
    return {number for _, number in known[len(known) - int(share * len(lines)) :]} if known else set()
