"""CSV and TSV: which delimiter, whether cells are quoted, whether there is a header. Knows no record shapes.

A table's cells are strings; a row with another number of cells than the table is a BadRow, never shifted.
"""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.data.columns import KNOWN
from llmdemo.data.format_detection import shown_name
from llmdemo.data.rows import MAX_COLUMNS, MAX_RECORD, BadRow

_SAMPLE_LINES = 2000
_SAMPLE_SIZE = 2**20

_Quoting = Literal[0, 3]
"""csv.QUOTE_MINIMAL or csv.QUOTE_NONE."""

csv.field_size_limit(MAX_RECORD)
_QUOTED = re.compile(r'(?:^|\t)"(?:[^"]|"")*("(?=\t|$))?')
_SEPARATOR = re.compile(r'"?sep=([,;\t|:])"?', re.IGNORECASE)
_NAME = re.compile(r"[^\W\d][\w .\-]{0,39}")


def read_table(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[object, int, int, int]]:
    """(row, line, size, done) for each record: a dict of cells by column, or a BadRow. Raises UserError."""
    source = _Lines(lines)
    sample = source.peek()
    if told := _SEPARATOR.fullmatch(sample[0].strip("\ufeff\r\n")) if sample else None:
        next(source)  # Excel's own first line; no part of the table
        sample = sample[1:]
    delimiter: str
    quoting: _Quoting
    delimiter, quoting = (told[1], csv.QUOTE_MINIMAL) if told else _dialect(sample, path)
    reader = csv.reader(source, delimiter=delimiter, quoting=quoting, strict=quoting == csv.QUOTE_MINIMAL)
    rows = _rows(reader, source, path)
    head = list(itertools.islice(rows, 200))
    if not head:
        raise UserError("err_table_without_rows", name=shown_name(path.name))
    width = Counter(len(cells) for cells, *_ in head).most_common(1)[0][0]
    columns = _columns(head, width, path)
    if columns is None:
        columns = [f"column {number}" for number in range(1, width + 1)]
    else:
        head = head[1:]
    for cells, line, size in (*head, *rows):
        yield _row(cells, columns), line, size, source.done


class _Lines:
    """Lines for csv.reader, with a look ahead, the number of the last line given, and the characters given."""

    def __init__(self, lines: Iterator[tuple[int, str]]):
        self._lines = lines
        self._ahead: list[tuple[int, str]] = []
        self.number = self.done = 0

    def peek(self) -> list[str]:
        size = 0
        for number, line in self._lines:
            self._ahead.append((number, line))
            size += len(line)
            if len(self._ahead) >= _SAMPLE_LINES or size >= _SAMPLE_SIZE:
                break
        self._ahead.reverse()
        return [line for _, line in reversed(self._ahead)]

    def __iter__(self):
        return self

    def __next__(self) -> str:
        self.number, line = self._ahead.pop() if self._ahead else next(self._lines)
        self.done += len(line)
        return line


def _rows(reader, source: _Lines, path: Path) -> Iterator[tuple[list[str], int, int]]:
    while True:
        begins, before = source.number + 1, source.done
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError("err_quote_left_open", name=shown_name(path.name), begins=begins, error=error) from error
        if cells is None:
            return
        if len(cells) > MAX_COLUMNS:
            raise UserError(
                "err_too_many_columns", begins=begins, name=shown_name(path.name), n=len(cells), most=MAX_COLUMNS
            )
        if any(cell.strip() for cell in cells):
            yield cells, begins, source.done - before


def _dialect(sample: list[str], path: Path) -> tuple[str, _Quoting]:
    """The delimiter that cuts most lines alike, and whether quotes mean anything."""
    tab = path.suffix.lower() in (".tsv", ".tab")
    best = max("\t,;|" if tab else ",;\t|", key=lambda delimiter: _agreement(sample, delimiter))
    if _agreement(sample, best) == 0:
        best = "\t" if tab else ","
    return best, csv.QUOTE_NONE if best == "\t" and _quotes_mean_nothing(sample) else csv.QUOTE_MINIMAL


def _agreement(sample: list[str], delimiter: str) -> float:
    widths = Counter(_widths(sample, delimiter, csv.QUOTE_MINIMAL))
    width, count = widths.most_common(1)[0] if widths else (1, 0)
    return count / widths.total() if width > 1 else 0.0


def _widths(sample: list[str], delimiter: str, quoting: _Quoting) -> list[int]:
    widths: list[int] = []
    try:
        widths += (len(cells) for cells in csv.reader(sample, delimiter=delimiter, quoting=quoting) if cells)
    except csv.Error:
        return widths
    return widths


def _quotes_mean_nothing(sample: list[str]) -> bool:
    """Whether a tab-separated file has quotes as characters like any other, since no CSV program wrote it.

    Quotes mean something only if the sample parses strictly with them and most cells that begin with one end
    with one on their line.
    """
    cells = [match[1] for line in sample for match in _QUOTED.finditer(line.rstrip("\r\n"))]
    if sum(map(bool, cells)) * 2 <= len(cells):
        return True
    try:
        for _ in csv.reader(sample[: -1 if len(sample) > 1 else None], delimiter="\t", strict=True):
            pass
    except csv.Error as error:
        return "unexpected end" not in str(error)  # the sample may end inside a cell of several lines
    return False


def _columns(head: list[tuple], width: int, path: Path) -> list[str] | None:
    """The names in the first row, or None where it is a record already."""
    first = [cell.strip().lstrip("\ufeff") for cell in head[0][0]]
    if len(first) == width - 1 and all(first):
        first = ["", *first]  # R's row names have no name
    if len(first) != width or not any(first):
        return None
    if not all(first):  # an index without a name, as pandas and R write it
        whole = all(_NAME.fullmatch(cell) for cell in first if cell)
        if not whole or not any(cell.lower() in KNOWN for cell in first) and first.count("") > 1:
            return None
        first = [cell or f"Unnamed: {number}" for number, cell in enumerate(first)]
    names = [cell.lower() for cell in first]
    known = any(name in KNOWN for name in names)
    later = [cells for cells, *_ in head[1:] if len(cells) == width]
    if not known and (
        not all(_NAME.fullmatch(cell) or cell.startswith("Unnamed: ") for cell in first)
        or any(any(cells[i].strip() == first[i] for cells in later) for i in range(width))
        or not any(sum(len(cells[i]) for cells in later) > 1.5 * len(first[i]) * len(later) for i in range(width))
    ):
        return None
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise UserError("err_two_columns", name=shown_name(path.name), column=repr(twice[:40]))
    return first


def _row(cells: list[str], columns: list[str]):
    if len(cells) == len(columns):
        return dict(zip(columns, cells, strict=True))
    return BadRow(say("reason_cells", n=len(cells), columns=len(columns)), " | ".join(cells)[:200])
