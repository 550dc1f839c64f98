"""Prints the text of a PDF or a Word document as JSON lines {"text", "place"}, with limited memory. Run by documents.py.

A PDF's place is its page, a Word document's the number of the piece. Imports no more than the two readers; runs nothing
that a document holds, and fetches nothing that it links to.
"""

import json
import sys
import zipfile
from collections.abc import Iterator

from llmdemo.core.bounded_child import limit

PIECE = 4000
"""Characters from which on the next heading or paragraph of a Word document begins another piece."""
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_AROUND = {f"{_W}{name}" for name in ("sdt", "sdtContent", "customXml", "ins", "moveTo")}
_MARKS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_UNSAID = {f"{_W}{name}" for name in ("pPr", "rPr", "tblPr", "tblGrid", "trPr", "tcPr", "sdtPr", "del", "moveFrom")}
_UNSAID.add(
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
)  # the same once more, for old readers
_MOST_PARTS = 20_000
_CPU_SECONDS = 240


class _Refused(Exception):
    """With the exit code that says why."""


def main(path: str, kind: str, max_pages: int, most_characters: int, memory_bytes: int, unpacked_bytes: int) -> int:
    """Reads; returns the exit code, which documents.py turns into a sentence."""
    try:
        limit(more_address_bytes=memory_bytes, cpu_seconds=_CPU_SECONDS)
        pieces = _pages(path, max_pages) if kind == "pdf" else _pieces(path, unpacked_bytes)
        written = 0
        for place, text in pieces:
            written += len(text)
            if written > most_characters:
                return 7
            print(json.dumps({"text": text.replace("\0", ""), "place": place}), flush=True)
    except _Refused as refused:
        return int(refused.args[0])
    except (MemoryError, RecursionError):
        return 5
    except BrokenPipeError:
        return 9
    except Exception:  # what the readers raise at damaged files is of no one kind
        return 3
    return 0


def _pages(path: str, max_pages: int) -> Iterator[tuple[int, str]]:
    from pypdf import PdfReader

    reader = PdfReader(path)
    if reader.is_encrypted:
        try:
            opened = reader.decrypt("")  # most "protected" files open without a password
        except Exception as error:  # an algorithm that is not here
            raise _Refused(4) from error
        if not opened:
            raise _Refused(4)
    if len(reader.pages) > max_pages:
        raise _Refused(6)
    for number, page in enumerate(reader.pages, 1):
        yield number, page.extract_text() or ""


def _pieces(path: str, unpacked_bytes: int) -> Iterator[tuple[int, str]]:
    with zipfile.ZipFile(path) as packed:
        parts = packed.infolist()
        if len(parts) > _MOST_PARTS or sum(part.file_size for part in parts) > unpacked_bytes:
            raise _Refused(8)
        if any(part.flag_bits & 1 for part in parts):
            raise _Refused(4)
    from docx import Document
    from docx.table import Table
    from docx.text.paragraph import Paragraph

    waiting: list[str] = []
    size = number = 0
    document = Document(path)
    for element in _blocks(document.element.body):
        if element.tag == f"{_W}tbl":
            text, heading = _table(Table(element, document)), False
        else:
            style = Paragraph(element, document).style
            text, heading = (
                _text(element).strip(),
                ((style.name if style else "") or "").startswith(("Heading", "Title")),
            )
        if not text:
            continue
        if waiting and (size >= PIECE or (heading and size >= PIECE // 4)):
            number += 1
            yield number, "\n\n".join(waiting)
            waiting, size = [], 0
        waiting.append(text)
        size += len(text)
    if waiting:
        yield number + 1, "\n\n".join(waiting)


def _blocks(parent) -> Iterator:
    """The paragraphs and tables in an element, those in content controls and custom XML too, which python-docx leaves out."""
    for element in parent:
        if element.tag in (f"{_W}p", f"{_W}tbl"):
            yield element
        elif element.tag in _AROUND:
            yield from _blocks(element)


def _text(element) -> str:
    """What a paragraph, or a table in a cell, says: with what was inserted while changes were tracked, without what was deleted."""
    said = []
    for each in element:
        if each.tag == f"{_W}t":
            said.append(each.text or "")
        elif each.tag in _MARKS:
            said.append(_MARKS[each.tag])
        elif each.tag not in _UNSAID:
            said.append(_text(each))
            if each.tag in (f"{_W}tc", f"{_W}tr"):
                said.append("\t" if each.tag == f"{_W}tc" else "\n")
    return "".join(said)


def _table(table) -> str:
    """Its rows, with tabs between cells. What several places of the grid share is said at the first of them."""
    said: set = set()
    rows = []
    for row in table.rows:
        cells = dict.fromkeys(cell._tc for cell in row.cells)
        rows.append("\t".join("" if cell in said else "\n".join(map(_text, _blocks(cell))).strip() for cell in cells))
        said |= set(cells)
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
