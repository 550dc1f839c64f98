"""Files that are packed with gzip or zstd, unpacked within bounds: a file of a kilobyte can claim to hold a gigabyte.

Knows nothing of what is inside.
"""

import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from llmdemo.core.errors import UserError
from llmdemo.data.format_detection import shown_name
from llmdemo.data.measure import Stopped

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_INFLATION = 100
_ALWAYS_ALLOWED = 64 * 2**20
_PIECE = 1 << 20


@contextmanager
def unpacked_file(path: Path, scratch: Path, max_bytes: int, should_stop: Callable | None = None) -> Iterator[Path]:
    """Yields the path of the file as it is inside a gzip or zstd file, under its name without .gz or .zst; any other as it is.

    The unpacked file lies in `scratch` and is removed afterwards. Raises UserError for a file that is damaged, or that
    holds more than `max_bytes` or far more than its size lets expect.
    """
    kind = _kind(path, max_bytes)
    if kind is None:
        yield path
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="unpacked.") as folder:
        name = path.stem if path.suffix.lower() in _SUFFIXES else path.name
        target = Path(folder) / (Path(name).name or "data")
        _unpack(path, target, kind, max_bytes, should_stop)
        yield target


def _kind(path: Path, max_bytes: int) -> str | None:
    """ "gzip", "zstd", or None for anything else, also for what is no file of a size that is taken: detect_format tells that."""
    try:
        if not path.is_file() or path.stat().st_size > max_bytes:
            return None
        with open(path, "rb") as file:
            head = file.read(4)
    except (OSError, ValueError):
        return None
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def _unpack(path: Path, target: Path, kind: str, max_bytes: int, should_stop: Callable | None) -> None:
    name, size = shown_name(path.name), path.stat().st_size
    most = min(max_bytes, max(_ALWAYS_ALLOWED, size * _INFLATION))
    done = 0
    try:
        with pa.CompressedInputStream(pa.OSFile(str(path)), kind) as packed, open(target, "wb") as file:
            while piece := packed.read(_PIECE):
                done += len(piece)
                if done > most:
                    raise UserError("err_packed_too_large", name=name, size=size, most=most // 2**20)
                if should_stop and should_stop():
                    raise Stopped()
                file.write(piece)
    except (pa.ArrowException, EOFError, zlib.error) as error:
        raise _damaged(name, kind) from error
    except OSError as error:
        if error.errno is not None:  # the disk, not the file
            raise
        raise _damaged(name, kind) from error


def _damaged(name: str, kind: str) -> UserError:
    return UserError("err_not_unpacked", name=name, kind=kind)
