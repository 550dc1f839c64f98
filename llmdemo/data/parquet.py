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
from llmdemo.core.sentences import say
from llmdemo.data.format_detection import shown_name
from llmdemo.data.rows import MAX_COLUMNS, MAX_RECORD, BadRow, Batch

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
                    raise UserError("err_parquet_bomb", name=name, size=size, limit=limit // 2**20)
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
        place = say("word_rows", first=before + 1, last=before + record_batch.num_rows)
        what = say("word_not_utf8") if isinstance(error, UnicodeDecodeError) else say("word_odd_value")
        raise UserError("err_parquet_value", name=name, what=what, place=place) from error


_REASONS = (3, 4, 6, 7, 8)
"""Exit codes of the child that have a sentence, err_parquet_<code>."""


def _broken(name: str, code: int, rows: int, kind: str) -> UserError:
    if code in _REASONS:
        most = 2 * _PIECE_BYTES // 2**20
        return UserError(f"err_parquet_{code}", name=name, kind=kind, columns=MAX_COLUMNS, most=most)
    return UserError("err_unpack_limit_after" if rows else "err_unpack_limit", name=name, rows=rows)


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
    return BadRow(say("reason_too_long", n=MAX_RECORD)) if size > MAX_RECORD else row
