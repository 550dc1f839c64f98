"""Whether the numbers of a step are numbers. Knows no lanes."""

from llmdemo.core.errors import UserError


def check_numbers(values: list[float]) -> list[float]:
    """`values`, or a UserError if a NaN is among them: the logits were not numbers."""
    if any(value != value for value in values):
        raise UserError("err_output_nan")
    return values
