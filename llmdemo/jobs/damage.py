"""What the disk and a damaged table say, translated for people. Knows neither jobs nor the table's inside."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmdemo.core.errors import NotNow, UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import is_id
from llmdemo.jobs.states import LEGAL, REASONS

_NOT_THE_FILE = (
    *("locked", "full", "disk i/o", "unable to open", "readonly", "out of memory", "interrupted", "closed"),
    "cannot start a transaction",
)
"""Words of sqlite3's errors that tell of the disk, of rights or of another program; the file itself may be sound."""
_RIGHTS = say("hint_rights")


class Damaged(NotNow, sqlite3.DatabaseError):
    """What the file holds is no table of jobs. The job folders hold the truth, of which it is made again."""

    def __init__(self, why: object):
        super().__init__("err_list_damaged", why=str(why)[:100])


def is_damage(error: BaseException) -> bool:
    """Whether this error, met when the table was asked, comes from what its file holds."""
    if isinstance(error, UnicodeDecodeError):  # sqlite3 could not read its own message, which quotes the file
        return True
    if isinstance(error, sqlite3.IntegrityError) or not isinstance(error, sqlite3.DatabaseError):
        return False
    return not any(word in str(error).lower() for word in _NOT_THE_FILE)


def is_sound(row: dict[str, Any]) -> bool:
    """Whether the columns of a job hold what the table writes there: a flipped byte changes a type or a word."""
    texts = (row[name] for name in ("job_id", "kind", "name", "message", "hint", "token", "identity", "stop_phase"))
    numbers = (row[name] for name in ("position", "pid", "stop_deadline"))
    try:
        digest, said = (json.loads(row[name] or "{}") for name in ("digest", "said"))
    except (ValueError, TypeError, RecursionError):
        return False
    return (
        row["state"] in LEGAL
        and row["reason"] in ("", *REASONS)
        and isinstance(digest, dict)
        and isinstance(said, dict)
        and isinstance(row["created"], float)
        and isinstance(row["attempt"], int)
        and all(isinstance(value, str) for value in texts)
        and bool(is_id(row["job_id"]))
        and all(value is None or isinstance(value, (int, float)) for value in numbers)
    )


@contextmanager
def translated(noun: str, key: str) -> Iterator[None]:
    """Around what a person asked for: what the disk or the table refuses raises the UserError `key`."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(key, _RIGHTS, noun=noun, why=why) from error
