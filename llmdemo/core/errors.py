"""The one error that a person is meant to read, and what is told of others. Knows nothing of pages or endpoints."""

import errno


class UserError(Exception):
    """Something that the user can mend: `message` says what was got, `hint` what is valid and what to do.

    Both are plain sentences, never markup, and hold no secrets and no paths outside the home folder
    other than those that the user gave.
    """

    def __init__(self, message: str, hint: str = ""):
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class NotNow(UserError):
    """A refusal that time may cure: a queue or a disk that is full."""


def first_line(error: BaseException, most: int = 160) -> str:
    """The first line of what a library's error says, at most `most` characters; its type's name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


class DiskFull(NotNow):
    """What a person reads where a write failed because there is no room."""

    def __init__(self) -> None:
        super().__init__(
            "The disk of this computer is full.", "Make room on it, for example by deleting runs; then try again."
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed because the disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
