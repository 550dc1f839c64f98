"""PDF and Word documents as raw text, read by a process of its own with little memory and time.

A record is a page of a PDF, or some paragraphs of a Word document. Pages of pictures have no text: nothing is recognised.
Knows nothing of what the text says.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson

from llmdemo.core.bounded_child import BoundedChild
from llmdemo.core.errors import UserError
from llmdemo.data.format_detection import shown_name
from llmdemo.data.rows import MAX_RECORD, Batch, Gather

MAX_PAGES = 5000
MOST_CHARACTERS = 64 * 2**20
CHILD_BYTES = 2**30
"""Memory that the child may take, in bytes."""
UNPACKED_BYTES = 256 * 2**20
"""Most that the parts of a Word document, which is a ZIP archive, may say they unpack to."""
PATIENCE = 30.0
"""Seconds without a page after which the child is ended."""
_REASONS = {3: "damaged", 4: "encrypted", 6: "pages", 7: "long", 8: "bomb"}
"""Exit codes of the child that have a sentence, err_document_<name>."""


def read_document(path: Path, kind: str) -> Iterator[Batch]:
    """Batches of rows {"text"} of a file of this kind, pdf or docx. Raises UserError where it is damaged, encrypted, too
    long, or holds no text."""
    name, size = shown_name(path.name), path.stat().st_size
    limits = (MAX_PAGES, MOST_CHARACTERS, CHILD_BYTES, UNPACKED_BYTES)
    arguments = [str(Path(__file__).with_name("document_child.py")), str(path.resolve()), kind, *map(str, limits)]
    child = BoundedChild(arguments, PATIENCE)
    gather, pages, texts = Gather(), 0, 0
    try:
        while line := child.out.readline(6 * MAX_RECORD):
            child.pause()  # what the reader of the batch takes is not the child's silence
            value = orjson.loads(line)
            pages += 1
            text = value["text"].encode("utf-8", "replace").decode().strip()[:MAX_RECORD]
            if text:
                texts += 1
                done = size * pages // (pages + 1)  # how many there are is not known before the last
                if batch := gather.add({"text": text}, int(value["place"]), len(text), done):
                    yield batch
            child.seen()
        if (code := child.wait(PATIENCE)) != 0:
            raise _refused(name, code)
    except (orjson.JSONDecodeError, subprocess.TimeoutExpired) as error:
        raise _refused(name, child.end(0.5)) from error
    finally:
        child.end()
    if not texts:
        raise UserError("err_document_pictures", name=name, n=pages)
    yield from gather.rest()


def _refused(name: str, code: int) -> UserError:
    reason = _REASONS.get(code, "limit")
    mb, characters = UNPACKED_BYTES // 2**20, MOST_CHARACTERS // 2**20
    return UserError(f"err_document_{reason}", name=name, pages=MAX_PAGES, mb=mb, characters=characters)
