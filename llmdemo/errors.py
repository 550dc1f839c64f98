"""The one error that a person is meant to read. Knows nothing of pages or endpoints."""


class UserError(Exception):
    """Something that the user can mend: `message` says what was got, `hint` what is valid and what to do.

    Both are plain sentences, never markup, and hold no secrets and no paths outside the home folder
    other than those that the user gave.
    """

    def __init__(self, message: str, hint: str = ""):
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint
