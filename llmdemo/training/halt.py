"""Why a run ends before its last step: it cannot go on, there is nothing (more) to learn, or it went astray."""


class NonFinite(Exception):
    """The loss or the gradients stayed infinite or NaN."""


class Halt(Exception):
    """Nothing broke. `good`: whether the weights as they are may be published; else those of the best evaluation."""

    def __init__(self, message: str, hint: str, good: bool):
        super().__init__(message)
        self.message, self.hint, self.good = message, hint, good
