"""Which records a run cannot take, or only in part, and why: counted with their rows, and told in sentences.

Knows no tokenizers; objectives count here what encoding shows them.
"""

from dataclasses import dataclass, field

from llmdemo.core.sentences import say
from llmdemo.data.encode import Encoded, Refused

LEFT_OUT = ("refused", "too_long", "untrained", "alike", "unjudged", "long_prompt")
"""Codes of records that are left out; `cut`, `hidden`, `no_tools` and `no_reasoning` are learned from in part."""
_SHOWN = 5


@dataclass
class Tally:
    """Counts by code. `takes` counts a record once, by the first code that it gets."""

    max_length: int
    rows: dict[str, list[int]] = field(default_factory=dict)
    """By code: the rows of the data set's file."""
    reason: str = ""
    """Why the first refused record was refused."""

    def add(self, code: str, record: dict) -> None:
        self.rows.setdefault(code, []).append(int(record.get("row") or 0))

    def takes(self, record: dict, row: Encoded | Refused) -> bool:
        """Whether the conversation `record`, encoded as `row`, has something to learn; counts it where not, or not all of it."""
        if isinstance(row, Refused):
            self.reason = self.reason or row.reason
            self.add("refused", record)
        elif not row.trained:
            self.add("too_long" if row.truncated else "untrained", record)
        elif row.unreachable or row.altered:
            self.add("hidden", record)
        elif row.truncated:
            self.add("cut", record)
        return row.trained > 0

    @property
    def counts(self) -> dict[str, int]:
        """{code: how many records}, codes without any left out."""
        return {code: len(rows) for code, rows in self.rows.items()}

    @property
    def left_out(self) -> int:
        return sum(len(self.rows.get(code, ())) for code in LEFT_OUT)

    def notes(self) -> list[str]:
        """A sentence for each code that has records."""
        return [self._note(code, rows) for code, rows in sorted(self.rows.items())]

    def _note(self, code: str, rows: list[int]) -> str:
        return say(f"note_{code}", n=len(rows), tokens=self.max_length, where=_where(rows), reason=self.reason)


def _where(rows: list[int]) -> str:
    shown = ", ".join(f"{row:,}" for row in sorted(rows)[:_SHOWN])
    more = say("rows_and_more", rows=shown, n=len(rows) - _SHOWN) if len(rows) > _SHOWN else shown
    return say("rows_named", n=len(rows), rows=more)
