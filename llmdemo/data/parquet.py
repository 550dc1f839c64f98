"""Parquet and Arrow, read by a process of its own with little memory: a file of a kilobyte can claim to hold a gigabyte.

The child decodes a few hundred rows at a time and hands them on as an Arrow stream through a pipe. It dies, not
the app, when a file makes it take too much memory or crashes the decoder. Knows nothing of what columns mean.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa

from llmdemo.core.bounded_child import BoundedChild
from llmdemo.core.errors import UserError
from llmdemo.data.rows import MAX_COLUMNS, MAX_RECORD, BadRow, Batch
from llmdemo.data.sniff import shown_name

CHILD_BYTES = 2**30
"""Memory that the child may take for decoding, in bytes."""
PATIENCE = 20.0
"""Seconds without a batch after which the child is ended."""

_PIECE_BYTES = 16 * 2**20
_INFLATION = 100
_ALWAYS_ALLOWED = 64 * 2**20


def read_parquet(path: Path, max_rows: int, kind: str = "Parquet") -> Iterator[Batch]:
    """Batches of rows of a Parquet or an Arrow file (`kind` in a sentence). Raises UserError when the file is damaged, or holds far more than its size lets expect."""
    name, size = shown_name(path.name), path.stat().st_size
    limits = (max_rows, MAX_COLUMNS, _PIECE_BYTES, CHILD_BYTES)
    child = BoundedChild(
        [str(Path(__file__).with_name("parquet_child.py")), str(path.resolve()), *map(str, limits)],
        PATIENCE,
        env={"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"},
    )
    rows = 0
    try:
        with pa.ipc.open_stream(child.out) as stream:
            names = class_names((stream.schema.metadata or {}).get(b"huggingface", b""))
            limit = max(_ALWAYS_ALLOWED, size * _INFLATION)
            decoded = 0
            for record_batch in stream:
                child.pause()  # what the reader of the batch takes is not the child's silence
                decoded += record_batch.nbytes
                if decoded > limit:
                    raise UserError(
                        f"{name} has {size:,} bytes but holds over {limit // 2**20:,} MB.",
                        "Such a file is made to fill the memory; if it is real data, save it as JSON Lines.",
                    )
                values = [_checked(row, names) for row in _values(record_batch, name, rows)]
                yield Batch(rows + 1, values, None, min(decoded, size))
                rows += len(values)
                child.seen()
        if (code := child.wait(PATIENCE)) != 0:
            raise _broken(name, code, rows, kind)
    except (pa.ArrowInvalid, OSError, EOFError, subprocess.TimeoutExpired) as error:
        raise _broken(name, child.end(0.5), rows, kind) from error
    finally:
        child.end()


def _values(record_batch, name: str, before: int) -> list[dict]:
    """The rows as Python values; raises UserError for texts that are not UTF-8 and dates that there are not."""
    try:
        return record_batch.to_pylist()
    except (ValueError, OverflowError) as error:  # UnicodeDecodeError is one of them
        place = f"rows {before + 1:,} to {before + record_batch.num_rows:,}"
        what = "text that is not UTF-8" if isinstance(error, UnicodeDecodeError) else "a value that cannot be read"
        raise UserError(f"{name} has {what} in {place}.", "Write it again, or save it as JSON Lines.") from error


_REASONS = {
    3: ("is damaged or no {kind} file", "Write it again."),
    4: (f"has more than {MAX_COLUMNS:,} columns", "Keep only those that are needed."),
    6: ("has a list of repeated values inside a column, which is not read", "Write it without dictionaries."),
    8: ("has more rows than are allowed", "Split it, or raise LLMDEMO_MAX_ROWS."),
    7: (f"has a row of more than {2 * _PIECE_BYTES // 2**20} MB", "Split it into records of at most 8 MB."),
}


def _broken(name: str, code: int, rows: int, kind: str) -> UserError:
    if code in _REASONS:
        return UserError(f"{name} {_REASONS[code][0].format(kind=kind)}.", _REASONS[code][1])
    after = f" after row {rows:,}" if rows else ""
    return UserError(
        f"{name} takes more memory or time to unpack than is allowed{after}.",
        "It may be damaged; if it is real data, save it as JSON Lines.",
    )


def class_names(about: bytes) -> dict[str, list[str]]:
    """The names of the classes of each column, from what `datasets` writes into a file's schema."""
    try:
        features = orjson.loads(about)["info"]["features"]
        kinds = {column: kind for column, kind in features.items() if isinstance(kind, dict)}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    found = {column: kind.get("names") for column, kind in kinds.items() if kind.get("_type") == "ClassLabel"}
    return {
        column: names
        for column, names in found.items()
        if isinstance(names, list) and all(isinstance(name, str) for name in names)
    }


def _checked(row: dict, names: dict[str, list[str]]):
    size = sum(len(value) for value in row.values() if isinstance(value, str))
    for column, labels in names.items():
        value = row.get(column)
        if isinstance(value, int) and 0 <= value < len(labels):
            row[column] = labels[value]
        elif value == -1 and isinstance(value, int):
            row[column] = None  # how `datasets` writes that there is no label
    return BadRow(f"has over {MAX_RECORD:,} characters") if size > MAX_RECORD else row
