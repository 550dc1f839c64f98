"""The one error that a person is meant to read, and what is told of others. Knows nothing of pages or endpoints."""


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
