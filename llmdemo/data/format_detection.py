"""What a file is, from its first bytes: format and text encoding, or a sentence that says what it is instead.

Knows nothing of records. The name's ending decides only where the content leaves a choice.
"""

import codecs
import json
import stat
import zipfile
from itertools import pairwise
from pathlib import Path

from charset_normalizer import from_bytes

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import readable_size, say

FORMATS = {
    "json": "JSON",
    "jsonl": "JSON Lines",
    "csv": "CSV",
    "tsv": "TSV",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "pdf": "PDF",
    "docx": "Word",
    "text": "plain text",
}
TAKES = say("takes_files")

_HEAD_BYTES = 65536
_SUFFIXES = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".txt": "text", ".text": "text", ".md": "text", ".parquet": "parquet",
}  # fmt: skip
_UNPACK = say("hint_unpack")
_MAGIC: list[tuple[bytes, str, str | None]] = [
    (b"\x1f\x8b", "err_is_gzip", _UNPACK),
    (b"BZh", "err_is_bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "err_is_xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "err_is_zstd", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "err_is_7z", _UNPACK),
    (b"PK\x03\x04", "err_is_zip", None),
    (b"PK\x05\x06", "err_is_empty_zip", None),
    (b"PK\x07\x08", "err_is_part_of_zip", None),
    (b"\xd0\xcf\x11\xe0", "err_is_office", None),
    (b"FEA1", "err_is_feather", None),
    (b"SQLite format 3", "err_is_sqlite", None),
    (b"\x89PNG", "err_is_picture", TAKES),
    (b"\xff\xd8\xff", "err_is_picture", TAKES),
    (b"\x00\x00\xfe\xff", "err_is_utf32", None),
    (b"\xff\xfe\x00\x00", "err_is_utf32", None),
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
_FREQUENT = {
    "cp950": ((0xA140, 0xA3FF), (0xA440, 0xC67E)), "gb18030": ((0xA1A1, 0xA3FE), (0xB0A1, 0xD7F9)),
    "cp932": ((0x8140, 0x8396), (0x889F, 0x9872)), "cp949": ((0xA1A1, 0xA3FE), (0xB0A1, 0xC8FE)),
}  # fmt: skip
"""The codes of signs, kana and frequent characters: the first level of Big5, GB 2312 and JIS X 0208, and KS X 1001's Hangul."""
_CLEARER = 0.1
"""Encodings whose shares of frequent characters lie this near to the highest are as likely as it."""
_VALID = 0.9
"""Share of a sample's bytes that an encoding reads at least, where it may be that one."""
_ARROW = (".arrow", ".feather", ".ipc", ".arrows")
"""Endings of files of Arrow's stream format, which has no mark of its own; `datasets` keeps its data so."""
_MOST_DIRECTORY = 4 * 2**20
"""Bytes of the directory of a ZIP archive that is looked into: of a Word document it takes some kilobytes."""
_MOST_END = 22 + 65_536 + 20
"""Bytes that the end of a ZIP archive takes at most: its end record with a comment, and what says that another stands before."""
_MARKUP = ("<!doctype", "<html", "<?xml", "<svg")


def detect_format(path: Path, max_bytes: int) -> tuple[str, str]:
    """(format, encoding) of the file: a key of FORMATS, and "utf-8-sig", "utf-16", a key of ENCODINGS or "binary".

    Raises UserError when it is no regular file, empty, larger than `max_bytes`, or of a kind that is not read.
    """
    name = shown_name(path.name)
    head = _head(path, name, max_bytes)
    if head.startswith(b"PAR1"):
        return "parquet", "binary"
    if head.startswith(b"ARROW1") or (head.startswith(b"\xff\xff\xff\xff") and path.suffix.lower() in _ARROW):
        return "arrow", "binary"
    if head.startswith(b"%PDF-") or (path.suffix.lower() == ".pdf" and b"%PDF-" in head[:1024]):
        return "pdf", "binary"
    if head.startswith(b"PK\x03\x04") and _is_word(path):
        return "docx", "binary"
    for magic, key, hint in _MAGIC:
        if head.startswith(magic):
            raise UserError(key, hint, name=name)
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    if encoding != "utf-16" and b"\0" in head:
        raise UserError("err_nul_byte", TAKES, name=name, n=head.index(0) + 1)
    if encoding != "utf-16":
        encoding = _east_asian(path) or encoding
    text = _decoded(head, encoding, path)
    if not text.strip():
        if path.stat().st_size <= _HEAD_BYTES:
            raise UserError("err_only_blanks", TAKES, name=name)
        raise UserError("err_begins_blank", name=name, n=_HEAD_BYTES)
    return _text_format(text, path, name), encoding


def _is_word(path: Path) -> bool:
    """Whether a ZIP archive is a Word document (.docx)."""
    try:
        if _directory_bytes(path) > _MOST_DIRECTORY:
            return False
        with zipfile.ZipFile(path) as packed:
            return "word/document.xml" in packed.NameToInfo
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _directory_bytes(path: Path) -> int:
    """The size of a ZIP archive's directory, which zipfile would read whole; the file's own in the form for more than 4 GB."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - _MOST_END))
        end = file.read()
    place = end.rfind(b"PK\x05\x06")
    if b"PK\x06\x07" in end or not 0 <= place <= len(end) - 22:
        return size
    return int.from_bytes(end[place + 12 : place + 16], "little")


def _east_asian(path: Path) -> str | None:
    """The encoding of a text that is not UTF-8, a key of ENCODINGS; None where it is UTF-8 or not certain.

    charset-normalizer guesses from the first 64 KB that are not ASCII. A few lines are often valid in several of these encodings:
    where one has clearly more frequent characters than what was guessed, it is that one. It must then decode the whole file.
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
    if not found or found.encoding not in _FAMILIES:
        return None
    guess = _FAMILIES[found.encoding]
    shares = {encoding: _frequent_share(sample, encoding) for encoding in _FREQUENT}
    least = max(max(shares.values()) - _CLEARER, _CLEARER)
    likely = [encoding for encoding, share in shares.items() if share >= least]
    if guess[0] not in likely and len(likely) == 1:
        guess = _FAMILIES[likely[0]]
    elif guess[0] not in likely:
        return None
    return next((encoding for encoding in guess if _decodes(path, encoding)), None)


def _frequent_share(sample: bytes, encoding: str) -> float:
    """How many of the sample's wide characters are frequent ones of this encoding, 0 to 1; 0 where it is not valid.

    And 0 where most stand alone between others, as the letters with accents of another encoding do.
    """
    widest = _FAMILIES[encoding][-1]
    text = sample.decode(widest, "ignore")  # its last character may be cut
    if len(text.encode(widest)) < _VALID * len(sample):
        return 0.0
    wide = [not character.isascii() for character in text]
    beside = sum(a and b for a, b in pairwise(wide))
    if not beside or 2 * beside < sum(wide):
        return 0.0
    codes = [int.from_bytes(character.encode(widest)) for character in text if not character.isascii()]
    frequent = sum(any(first <= code <= last for first, last in _FREQUENT[encoding]) for code in codes)
    return frequent / len(codes)


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
    name = shown_name(path.name)
    if byte is None:
        return UserError("err_ends_inside", line=line, name=name, shown=shown)
    return UserError("err_odd_byte", line=line, name=name, byte=f"0x{byte:02X}", shown=shown)


def _head(path: Path, name: str, max_bytes: int) -> bytes:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise UserError("err_not_a_file", TAKES, name=name)
        if info.st_size > max_bytes:
            raise UserError(
                "err_file_too_large",
                name=name,
                size=readable_size(info.st_size),
                most=readable_size(max_bytes),
            )
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or say("reason_name")
        raise UserError("err_file_unreadable", TAKES, name=name, reason=reason) from error
    if not head:
        raise UserError("err_empty_file", TAKES, name=name)
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
        raise UserError("err_no_parquet", name=name)
    if start.lower().startswith(_MARKUP) and suffix != "text":
        raise UserError("err_markup", TAKES, name=name)
    if suffix in ("csv", "tsv", "text"):
        return suffix
    if start[0] == "[":
        return "json"
    if start[0] == "{":
        return "jsonl" if suffix == "jsonl" or _is_lines(start) else "json"
    if suffix in ("json", "jsonl"):
        line = text[: len(text) - len(start)].count("\n") + 1
        raise UserError("err_begins_no_json", name=name, line=line, start=repr(start[:20]))
    if path.suffix and len(path.suffix) <= 6:
        raise UserError("err_unknown_file", TAKES, name=name)
    return "tsv" if "\t" in start.split("\n", 1)[0] else "text"


def _is_lines(start: str) -> bool:
    """Whether the first line is an object of its own and more follows: JSON Lines, whatever the name says."""
    first, _, rest = start.partition("\n")
    try:
        return bool(rest.strip()) and isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False
