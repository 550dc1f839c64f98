"""Which standard benchmark an evaluation asks: what was read of its file (evaluation/benchmark_files.py). Imports no torch."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.settings.schema import check, show

MOST_QUESTIONS = 20_000
Shape = Literal["hellaswag", "arc", "gsm8k", "lm_eval"]
"""lm_eval: a task of that package, by its name."""
NEW_TOKENS = 256
"""Longest answer that is written; lm-eval's max_gen_toks."""


@dataclass(frozen=True)
class BenchmarkSpec:
    """Questions that are kept in the home folder."""

    key: Annotated[str, Field(pattern="^[0-9a-f]{24}$")]
    """Of their content."""
    name: Annotated[str, Field(max_length=200)]
    """Of their file, for people."""
    shape: Shape
    count: Annotated[int, Field(ge=1, le=MOST_QUESTIONS)]

    @property
    def writes(self) -> bool:
        """Whether the answer is written, rather than chosen by its likelihood."""
        return self.shape == "gsm8k"

    @classmethod
    def from_value(cls, value: Any) -> "BenchmarkSpec | None":
        """From JSON; None: no benchmark. Raises UserError."""
        if value is None:
            return None
        known = {"key", "name", "shape", "count"}
        if not isinstance(value, dict) or set(value) != known:
            raise UserError("err_benchmark_spec", value=show(value))
        return cls(**check(cls, value, "The benchmark"))
