"""The one error that a person is meant to read, and what is told of others. Knows nothing of pages or endpoints."""

import errno
import json
from typing import Any

from llmdemo.core.languages import texts
from llmdemo.core.sentences import say

_JSON = {
    "Expecting value": "json_value",
    "Expecting property name enclosed in double quotes": "json_name",
    "Expecting ':' delimiter": "json_colon",
    "Expecting ',' delimiter": "json_comma",
    "Extra data": "json_extra",
    "Unterminated string starting at": "json_unterminated",
    "Invalid control character at": "json_control",
    "Invalid \\escape": "json_escape",
    "Invalid \\uXXXX escape": "json_unicode_escape",
}
"""What Python's parser says of broken JSON: in English as it is, as people search for it."""


class UserError(Exception):
    """Something that the user can mend: `message` says what was got, `hint` what is valid and what to do.

    Both are plain sentences, never markup, and hold no secrets and no paths outside the home folder
    other than those that the user gave. Both are `Sentence`s where they are raised by key, and so reach a page in
    its language.
    """

    def __init__(self, key: str, hint: str | None = None, /, **values: Any):
        """`key`: of the message in assets/words/, with `values` for its places; the hint is the text `{key}_hint`.

        `hint`: another one. For what was said elsewhere, by a process of ours, `key` may be the sentence itself.
        """
        known = texts()
        self.message: str = say(key, **values) if key in known else key
        if hint is None:
            hint = say(f"{key}_hint", **values) if f"{key}_hint" in known else ""
        self.hint = hint
        super().__init__(f"{self.message} {hint}".strip())


class NotNow(UserError):
    """A refusal that time may cure: a queue or a disk that is full."""


def first_line(error: BaseException, most: int = 160) -> str:
    """The first line of what a library's error says, at most `most` characters; its type's name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


def json_reason(error: json.JSONDecodeError) -> str:
    """What is wrong with JSON, without the place, in the reader's language."""
    return say(_JSON[error.msg]) if error.msg in _JSON else error.msg


class DiskFull(NotNow):
    """What a person reads where a write failed because there is no room."""

    def __init__(self) -> None:
        super().__init__("err_disk_full")


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed because the disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
