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

    waiting: list[str] = []
    size = number = 0
    for block in Document(path).iter_inner_content():
        if isinstance(block, Table):
            text = _table(block)
            heading = False
        else:
            style = (block.style.name or "") if block.style else ""
            text, heading = block.text.strip(), style.startswith(("Heading", "Title"))
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


def _table(table) -> str:
    """Its rows, with tabs between cells. What several places of the grid share is said at the first of them."""
    said: set = set()
    rows = []
    for row in table.rows:
        cells = {cell._tc: cell for cell in row.cells}
        rows.append("\t".join("" if place in said else cell.text.strip() for place, cell in cells.items()))
        said |= set(cells)
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
