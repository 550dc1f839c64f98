"""What a file is, from its first bytes: format and text encoding, or a sentence that says what it is instead.

Knows nothing of records. The name's ending decides only where the content leaves a choice.
"""

import codecs
import json
import stat
from pathlib import Path

from charset_normalizer import from_bytes

from llmdemo.core.errors import UserError

FORMATS = {
    "json": "JSON",
    "jsonl": "JSON Lines",
    "csv": "CSV",
    "tsv": "TSV",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "text": "plain text",
}
TAKES = "Give a JSON, JSON Lines, CSV, TSV, Parquet or plain text file in UTF-8."

_HEAD_BYTES = 65536
_SUFFIXES = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".txt": "text", ".text": "text", ".md": "text", ".parquet": "parquet",
}  # fmt: skip
_MAGIC = [
    (b"\x1f\x8b", "is compressed with gzip", "Unpack it first."),
    (b"BZh", "is compressed with bzip2", "Unpack it first."),
    (b"\xfd7zXZ\x00", "is compressed with xz", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "Unpack it first."),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", "Unpack it first."),
    (b"PK\x03\x04", "is a ZIP archive or an Excel workbook", "Unpack it, or save the sheet as CSV (UTF-8)."),
    (b"PK\x05\x06", "is an empty ZIP archive or Excel workbook", "Is it the right file?"),
    (b"PK\x07\x08", "is a part of a ZIP archive", "Unpack it first, or save the sheet as CSV (UTF-8)."),
    (b"%PDF-", "is a PDF", "Save its text as a .txt file."),
    (b"\xd0\xcf\x11\xe0", "is an old Excel or Word file", "Save the sheet as CSV (UTF-8)."),
    (b"FEA1", "is a Feather file of the first version", "Save it as Parquet."),
    (b"SQLite format 3", "is an SQLite database", "Export the table as CSV."),
    (b"\x89PNG", "is a picture", TAKES),
    (b"\xff\xd8\xff", "is a picture", TAKES),
    (b"\x00\x00\xfe\xff", "is text in UTF-32", "Save it as UTF-8."),
    (b"\xff\xfe\x00\x00", "is text in UTF-32", "Save it as UTF-8."),
]
ENCODINGS = {
    "cp950": "Big5",
    "big5hkscs": "Big5-HKSCS",
    "gb18030": "GB18030",
    "cp932": "Shift JIS",
    "cp949": "EUC-KR",
}
"""Encodings other than UTF-8 and UTF-16 that are read, as spreadsheets of East Asia write them; by Python's names."""
_FAMILIES = {
    "big5": ("cp950", "big5hkscs"), "big5hkscs": ("cp950", "big5hkscs"), "cp950": ("cp950", "big5hkscs"),
    "gb18030": ("gb18030",), "cp932": ("cp932",), "cp949": ("cp949",),
}  # fmt: skip
_ARROW = (".arrow", ".feather", ".ipc", ".arrows")
"""Endings of files of Arrow's stream format, which has no mark of its own; `datasets` keeps its data so."""
_MARKUP = ("<!doctype", "<html", "<?xml", "<svg")


def sniff(path: Path, max_bytes: int) -> tuple[str, str]:
    """(format, encoding) of the file: a key of FORMATS, and "utf-8-sig", "utf-16", a key of ENCODINGS or "binary".

    Raises UserError when it is no regular file, empty, larger than `max_bytes`, or of a kind that is not read.
    """
    name = shown_name(path.name)
    head = _head(path, name, max_bytes)
    if head.startswith(b"PAR1"):
        return "parquet", "binary"
    if head.startswith(b"ARROW1") or (head.startswith(b"\xff\xff\xff\xff") and path.suffix.lower() in _ARROW):
        return "arrow", "binary"
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            raise UserError(f"{name} {what}.", hint)
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    if encoding != "utf-16" and b"\0" in head:
        raise UserError(f"{name} is not text: byte {head.index(0) + 1} is NUL.", TAKES)
    if encoding != "utf-16":
        encoding = _east_asian(path) or encoding
    text = _decoded(head, encoding, path)
    if not text.strip():
        if path.stat().st_size <= _HEAD_BYTES:
            raise UserError(f"{name} holds nothing but blanks.", TAKES)
        raise UserError(
            f"{name} begins with {_HEAD_BYTES:,} blanks.", "Remove them, or check that it is the right file."
        )
    return _text_format(text, path, name), encoding


def _east_asian(path: Path) -> str | None:
    """The encoding of a text that is not UTF-8, a key of ENCODINGS; None where it is UTF-8 or not certain.

    charset-normalizer guesses from the first 64 KB that are not ASCII; what it guesses must then decode the whole file.
    """
    with open(path, "rb") as file:
        block = file.read(_HEAD_BYTES)
        while block and block.isascii():
            block = file.read(1 << 20)
    first = next((place for place, byte in enumerate(block) if byte > 127), 0)
    start = block.rfind(b"\n", 0, first) + 1
    sample = block[start : start + _HEAD_BYTES]
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
        return None
    except UnicodeDecodeError:
        pass
    sample = sample[: sample.rfind(b"\n") + 1] or sample
    found = from_bytes(sample, cp_isolation=[*_FAMILIES, "cp1252", "cp1250", "latin_1"]).best()
    families = _FAMILIES.get(found.encoding, ()) if found else ()
    return next((encoding for encoding in families if _decodes(path, encoding)), None)


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with open(path, "rb") as file:
        try:
            while block := file.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def shown_name(name: str) -> str:
    """A file's name as it may stand in a sentence: printable, one line, at most 80 characters."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c if c.isprintable() else "�" for c in name)[:80] or "the file"


def not_utf8(path: Path, encoding: str) -> UserError:
    """The sentence for a file that does not decode, with the line of its first bad byte."""
    decoder = codecs.getincrementaldecoder("utf-8" if encoding == "utf-8-sig" else encoding)()
    line, byte = 1, None
    with open(path, "rb") as file:
        while byte is None:
            block = file.read(1 << 20)
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                line += error.object[: error.start].count(b"\n")
            if not block:
                break
    shown = {"utf-16": "UTF-16", **ENCODINGS}.get(encoding, "UTF-8")
    what = "ends inside a character" if byte is None else f"has the byte 0x{byte:02X}"
    return UserError(f"Line {line} of {shown_name(path.name)} {what}, which is not {shown}.", "Save the file as UTF-8.")


def _head(path: Path, name: str, max_bytes: int) -> bytes:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise UserError(f"{name} is not a file.", TAKES)
        if info.st_size > max_bytes:
            raise UserError(
                f"{name} has {info.st_size / 1e6:,.0f} MB; at most {max_bytes / 1e6:,.0f} MB are taken.",
                "Split it, or raise LLMDEMO_MAX_UPLOAD_BYTES.",
            )
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not valid"
        raise UserError(f"{name} cannot be read ({reason}).", TAKES) from error
    if not head:
        raise UserError(f"{name} is empty.", TAKES)
    return head


def _decoded(head: bytes, encoding: str, path: Path) -> str:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError as error:
        raise not_utf8(path, encoding) from error


def _text_format(text: str, path: Path, name: str) -> str:
    start = text.lstrip()
    suffix = _SUFFIXES.get(path.suffix.lower())
    if suffix == "parquet":
        raise UserError(
            f"{name} is no Parquet file: it does not begin with PAR1.", "Is it cut off, or a page of an error?"
        )
    if start.lower().startswith(_MARKUP) and suffix != "text":
        raise UserError(f"{name} is a page of HTML or XML, not data.", TAKES)
    if suffix in ("csv", "tsv", "text"):
        return suffix
    if start[0] == "[":
        return "json"
    if start[0] == "{":
        return "jsonl" if suffix == "jsonl" or _is_lines(start) else "json"
    if suffix in ("json", "jsonl"):
        line = text[: len(text) - len(start)].count("\n") + 1
        raise UserError(
            f"{name} is not JSON: line {line} begins with {start[:20]!r}.",
            "JSON begins with [ or {; rename it if it is another format.",
        )
    if path.suffix and len(path.suffix) <= 6:
        raise UserError(f"{name} is not a data file that is known here.", TAKES)
    return "tsv" if "\t" in start.split("\n", 1)[0] else "text"


def _is_lines(start: str) -> bool:
    """Whether the first line is an object of its own and more follows: JSON Lines, whatever the name says."""
    first, _, rest = start.partition("\n")
    try:
        return bool(rest.strip()) and isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False
