"""Reads files of a folder that comes from anybody: plain files only, of bounded size, never waiting. Imports no torch.

A FIFO waits for a writer for ever and /dev/zero has no end, so a file is opened without waiting, and looked at, before
it is read. A link to a plain file is one: the hub's cache is made of them.
"""

import json
import os
import stat
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say

_COPY_AGAIN = say("copy_again")
_MOST_FILES = 2000


def open_plain(path: Path) -> tuple[int, int]:
    """(file descriptor, bytes) of a plain file. Raises UserError for anything else, OSError where it cannot be opened."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise UserError(
            "err_no_plain_file",
            name=repr(path.name[:80]),
            folder=repr(path.parent.name[:80]),
            kind=_kind(found.st_mode),
        )
    return handle, found.st_size


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: say("kind_pipe"),
        stat.S_IFCHR: say("kind_device"),
        stat.S_IFBLK: say("kind_device"),
        stat.S_IFDIR: say("kind_folder"),
    }
    return kinds.get(stat.S_IFMT(mode), say("kind_socket"))


def read_plain(path: Path, most: int) -> bytes:
    """The bytes of a plain file, of `most` at the most. Raises UserError, and OSError where it cannot be opened."""
    handle, size = open_plain(path)
    with os.fdopen(handle, "rb") as file:
        if size > most:
            raise UserError("err_file_of_model_too_large", _COPY_AGAIN, name=path.name[:80], size=size, most=most)
        return file.read(size)


def read_object(path: Path, most: int) -> dict:
    """The JSON object in a plain file of at most `most` bytes. Raises UserError, and OSError as `read_plain` does."""
    try:
        value = json.loads(read_plain(path, most).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        why = "it nests too deep" if isinstance(error, RecursionError) else str(error)[:80]
        raise UserError("err_file_no_json", _COPY_AGAIN, name=path.name, why=why) from error
    if not isinstance(value, dict):
        raise UserError("err_file_no_object", _COPY_AGAIN, name=path.name)
    return value


def require_plain(folder: Path) -> None:
    """Raises UserError where the folder holds a pipe or a device, at its top or behind a link there, or endless files."""
    for number, path in enumerate(sorted(folder.iterdir())):
        if number >= _MOST_FILES:
            raise UserError("err_too_many_files", _COPY_AGAIN, folder=repr(folder.name[:80]), most=_MOST_FILES)
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # a link that leads nowhere is missing where it is needed
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise UserError(
                "err_no_plain_file", name=repr(path.name[:80]), folder=repr(folder.name[:80]), kind=_kind(mode)
            )
