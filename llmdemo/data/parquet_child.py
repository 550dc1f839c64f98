"""Decodes a Parquet file, or one of Arrow (Feather), into an Arrow stream on standard output, with limited memory. Run by parquet.py.

Run as a file of its own, so that it imports no more than pyarrow. Knows nothing of what the columns mean.
"""

import sys

import pyarrow as pa
import pyarrow.parquet as pq

from llmdemo.core.bounded_child import limit

_BATCH_ROWS = 256
_MOST_ABOUT = 2**20
"""Longest description by `datasets`, in bytes, that is handed on: it has the names of the classes."""


def main(path: str, max_rows: int, max_columns: int, piece_bytes: int, memory_bytes: int) -> int:
    """Reads; returns the exit code, which parquet.py turns into a sentence."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    limit(more_address_bytes=memory_bytes)
    try:
        source, columns, rows, batches = _open(path)
        if columns > max_columns:
            return 4
        if rows > max_rows:
            return 8
        about = (source.metadata or {}).get(b"huggingface", b"")
        schema = pa.schema(
            [(field.name, _plain(field.type)) for field in source],
            metadata={"huggingface": about} if 0 < len(about) <= _MOST_ABOUT else None,
        )
        with pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
            for batch in batches:
                batch = batch.cast(schema)  # dictionaries are laid out, so that repeated values count
                for piece in _pieces(batch, piece_bytes):
                    if piece.nbytes > 2 * piece_bytes:
                        return 7
                    stream.write_batch(piece)
    except (MemoryError, pa.ArrowMemoryError):
        return 5
    except BrokenPipeError:
        return 9
    except _Nested:
        return 6
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError):
        return 3
    return 0


def _open(path: str):
    """(schema, columns, rows as far as they are known before reading, the record batches) of the file."""
    with open(path, "rb") as file:
        head = file.read(6)
    if head == b"ARROW1":
        reader = pa.ipc.open_file(pa.OSFile(path))
        batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        return reader.schema, len(reader.schema), 0, _checked(batches)
    if head.startswith(b"\xff\xff\xff\xff"):
        stream = pa.ipc.open_stream(pa.OSFile(path))
        return stream.schema, len(stream.schema), 0, _checked(stream)
    parquet = pq.ParquetFile(path, pre_buffer=False, memory_map=False)
    batches = parquet.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
    return parquet.schema_arrow, parquet.metadata.num_columns, parquet.metadata.num_rows, batches


def _checked(batches):
    """Batches of Arrow, in small parts. They are taken as they lie in the file, so they are looked through first."""
    for batch in batches:
        batch.validate(full=True)
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            yield batch.slice(start, _BATCH_ROWS)


class _Nested(Exception):
    """A dictionary inside a nested column."""


def _plain(kind):
    """The type without its dictionary; raises _Nested where one is inside a list or a struct."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_nested(kind) and "dictionary<" in str(kind):
        raise _Nested
    return kind


def _pieces(batch, piece_bytes: int):
    """The batch in parts of about piece_bytes, of one row at least."""
    rows = max(1, batch.num_rows * piece_bytes // max(1, batch.nbytes))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
