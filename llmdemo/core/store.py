"""Paths inside the home folder, and writes that are whole or not there at all.

Knows nothing of what the files mean.
"""

import json
import math
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmdemo.core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: nothing is claimed there, and so nothing is swept
    fcntl = None  # type: ignore[assignment]

_WHOLE = "whole-"
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Home:
    """The folders of one installation."""

    root: Path
    model_roots: tuple[Path, ...] | None = None
    """Folders that model folders may be chosen from; None: any folder of this computer."""

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def experiments(self) -> Path:
        """What is known of races and searches; their runs are among the others."""
        return self.root / "experiments"

    @property
    def votes(self) -> Path:
        """A folder for each blind vote of a class."""
        return self.root / "votes"

    @property
    def serving(self) -> Path:
        """What is served, and the hashes of the keys that open it."""
        return self.root / "serving"

    @property
    def untouched(self) -> Path:
        """By data set, figures and answers of models before their first step, for later runs on the same."""
        return self.root / "untouched"

    @property
    def tmp(self) -> Path:
        """On the same file system as the rest, so that os.replace out of it is atomic."""
        return self.root / "tmp"

    @property
    def uploads(self) -> Path:
        """What has been uploaded, and what is made to be downloaded, for a day: the only folder that a browser gets
        files of."""
        return self.root / "uploads"

    @property
    def database(self) -> Path:
        return self.root / "runs.sqlite"

    def prepare(self) -> "Home":
        """Makes the folders. Raises UserError when the home folder cannot be written."""
        try:
            for folder in (self.models, self.datasets, self.runs, self.tmp, self.uploads):
                folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.tmp):
                pass
        except OSError as error:
            raise UserError("err_home_unwritable", folder=self.root, reason=error.strerror or error) from error
        return self


def new_id(prefix: str) -> str:
    """A fresh id such as "run-20261124-031500-a1b2c3": sorts by time, safe as a folder name."""
    return f"{prefix}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def is_id(name: object) -> bool:
    """Whether `name` is an id as `new_id` makes them: safe as the name of a folder."""
    return isinstance(name, str) and _ID.fullmatch(name) is not None


def child(folder: Path, name: str) -> Path:
    """The path of the item with id `name` right inside `folder`; raises UserError unless `name` is a plain id.

    Ids come from outside (endpoints, links), so anything but letters, digits and dashes is refused,
    and so is an entry that is a symbolic link.
    """
    if not is_id(name):
        raise UserError("err_no_id", name=repr(str(name)[:80]))
    path = folder / name
    if path.is_symlink():
        raise UserError("err_link", name=repr(name))
    return path


def write_atomic(path: Path, content: bytes | str) -> None:
    """Writes `path` whole: readers see the old content or the new, also after a power cut."""
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON, whole or not at all. NaN and infinities are refused (ValueError)."""
    write_atomic(path, json_text(value))


def json_text(value: Any) -> str:
    """What `write_json` writes: for a file of a folder that is not whole yet, whose files are made durable together."""
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)


def read_json(path: Path) -> Any:
    """The value in a file of JSON. Raises OSError, and ValueError as `parse_json` does."""
    return parse_json(path.read_text(encoding="utf-8"))


def object_or_empty(path: Path) -> dict[str, Any]:
    """A file of JSON as a dict; {} where there is none (yet), it is damaged, or no object is in it."""
    try:
        value = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def parse_json(text: str | bytes) -> Any:
    """The value in a JSON text; halves of surrogate pairs become question marks.

    Raises ValueError for what `write_json` never writes and no answer to a page can hold: NaN and infinities, integers
    beyond 64 bits, values inside over 64 others.
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        value = _DECODER.decode(text)
        if "\\u" in text and _HALF.search(text):  # perhaps half of a pair
            value = _DECODER.decode(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode())
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    if text.count("[") + text.count("{") > _DEEPEST:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    inside = [value]
    for _ in range(_DEEPEST):
        holders = [each for each in inside if isinstance(each, (dict, list))]
        inside = [each for holder in holders for each in (holder.values() if isinstance(holder, dict) else holder)]
        if not inside:
            return
    raise ValueError("it nests too deep")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is no number that can be kept")
    return value


def _of_64_bits(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{text[:40]} is beyond 64 bits")
    return value


_DEEPEST = 64
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite, parse_int=_of_64_bits)


@contextmanager
def whole_folder(target: Path, scratch: Path) -> Iterator[Path]:
    """Yields an empty folder inside `scratch`; on success it becomes `target`, on failure it is removed.

    `scratch` must be on the file system of `target`. `target` must not exist.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=scratch, prefix=f"{_WHOLE}{target.name}."))
    claim = _claim(folder)
    try:
        yield folder
        for file in folder.rglob("*"):
            if file.is_file():
                sync_file(file)
        os.replace(folder, target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        if claim is not None:
            os.close(claim)
    sync_folder(target.parent)


def sweep(scratch: Path, older_than: float = 5.0) -> None:
    """Removes what `whole_folder` could not, as its process was killed.

    The folders of living processes are claimed; those younger than `older_than` seconds may be about to be.
    """
    for folder in scratch.glob(f"{_WHOLE}*"):
        try:
            if time.time() - folder.stat().st_mtime < older_than or (claim := _claim(folder)) is None:
                continue
        except OSError:
            continue  # finished meanwhile
        shutil.rmtree(folder, ignore_errors=True)
        os.close(claim)


def _claim(folder: Path) -> int | None:
    """A lock on the folder, which the kernel takes back when this process ends; None if another one holds it."""
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


_inside = threading.Lock()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Around a change that reads a file and writes it again: one thread at a time, of all apps on one home folder.

    path: an empty file that only stands for the lock. Waits for its turn; the kernel takes the lock back from who dies.
    """
    with _inside, open(path, "a+b") as handle:
        if fcntl is not None:  # on Windows, one app has one home folder
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sync_file(path: Path) -> None:
    """What was written to this file is on the disk after this, also if the power fails then."""
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Makes a rename inside `folder` durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_bytes(folder: Path) -> int:
    """Free space of the file system that holds `folder`, in bytes."""
    return shutil.disk_usage(folder).free


def folder_bytes(folder: Path) -> int:
    """Size of all files below `folder`, in bytes; files that vanish while counting count as 0."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total
