"""Whether the numbers of a step are numbers. Knows no lanes."""

from llmdemo.core.errors import UserError


def check_numbers(values: list[float]) -> list[float]:
    """`values`, or a UserError if a NaN is among them: the logits were not numbers."""
    if any(value != value for value in values):
        raise UserError(
            "The model's output is not a number (NaN or infinite), so no token can be chosen.",
            "Its weights are damaged or its training diverged: choose another model or an earlier checkpoint.",
        )
    return values
