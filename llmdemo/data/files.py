"""Files as batches of raw rows: unpacked within bounds, told by their first bytes, read one after the other.

Knows nothing of records. Of several files one is unpacked at a time, so that packed ones take the room of one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from llmdemo.access.disk_quota import check_quota
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home, free_bytes
from llmdemo.data.documents import read_document
from llmdemo.data.format_detection import ENCODINGS, FORMATS, detect_format, shown_name
from llmdemo.data.packed import unpacked_file
from llmdemo.data.parquet import read_parquet
from llmdemo.data.readers import read_batches
from llmdemo.data.rows import Batch
from llmdemo.settings import Settings

MOST_FILES = 100
"""Files that become one data set together."""


@dataclass
class Part:
    """The rows of one file, or of another place."""

    batches: Iterator[Batch]
    format: str
    """As it is shown."""
    source: dict = field(default_factory=dict)
    """{"file", "bytes", "encoding"} of a file."""
    size: int = 0
    """What the batches' `done` is a share of."""
    stem: str = ""
    """The file's name without its ending."""


def open_batches(path: Path, format_: str, encoding: str, max_rows: int):
    """The batches of raw rows of a file that detect_format has named."""
    if format_ in ("parquet", "arrow"):
        return read_parquet(path, max_rows, FORMATS[format_])
    if format_ in ("pdf", "docx"):
        return read_document(path, format_)
    return read_batches(path, format_, encoding)


def several(path: Path | str | Sequence[Path | str]) -> list[Path]:
    """One path or some as a list. Raises UserError for none, too many, or the same one twice."""
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(each) for each in path]
    if not 1 <= len(paths) <= MOST_FILES:
        raise UserError("err_number_of_files", n=len(paths), most=MOST_FILES)
    if len(set(paths)) < len(paths):
        raise UserError("err_file_twice", name=shown_name(next(each for each in paths if paths.count(each) > 1).name))
    return paths


def require_room(home: Home, settings: Settings, size: int) -> None:
    """Raises UserError where there is no room for a data set of so many bytes."""
    check_quota(home, settings)
    if free_bytes(home.root) < size * 3 + 64 * 2**20:
        raise UserError("err_no_room_for_data")


def file_parts(
    paths: list[Path], home: Home, settings: Settings, should_stop: Callable[[], bool] | None = None
) -> Iterator[Part]:
    """Each file in turn, which may be packed with gzip or zstd; the last one is closed when the next is asked for.

    Raises UserError for one that cannot be read, by its name, and where there is no room for what it holds.
    """
    for path in paths:
        with unpacked_file(path, home.tmp, settings.max_upload_bytes, should_stop) as inside:
            require_room(home, settings, inside.stat().st_size if inside != path else 0)
            format_, encoding = detect_format(inside, settings.max_upload_bytes)
            source = {"file": shown_name(path.name), "bytes": path.stat().st_size}
            shown = FORMATS[format_]
            if encoding in ENCODINGS:
                shown = f"{shown} in {ENCODINGS[encoding]}"
                source["encoding"] = ENCODINGS[encoding]
            with closing(open_batches(inside, format_, encoding, settings.max_rows)) as batches:
                yield Part(batches, shown, source, inside.stat().st_size, inside.stem)
