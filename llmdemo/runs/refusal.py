"""What the disk or the table refuses, said to who asked for it. Knows nothing of runs."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from llmdemo.errors import UserError

_HINT = "Check the free space and the rights of the home folder, then try again."


@contextmanager
def said(what: str, hint: str = _HINT) -> Iterator[None]:
    """Around what a person asked for: a full disk raises UserError. `what` goes on after "The run cannot be"."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"The run cannot be {what} ({why}).", hint) from error
