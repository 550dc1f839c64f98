"""Which records a run cannot take, or only in part, and why: counted with their rows, and told in sentences.

Knows no tokenizers; objectives count here what encoding shows them.
"""

from dataclasses import dataclass, field

from llmdemo.data.encode import Encoded, Refused

LEFT_OUT = ("refused", "too_long", "untrained", "alike")
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
        count, tokens, where = len(rows), f"{self.max_length:,} tokens", _where(rows)
        some = f"{count:,} record{'' if count == 1 else 's'}"
        return {
            "refused": f"{some} left out ({where}). {self.reason}",
            "too_long": f"{some} left out ({where}): within {tokens} no token of the answer is left. Raise max_length to "
            "learn from them.",
            "untrained": f"{some} left out ({where}): none of their tokens is to be learned.",
            "alike": f"{count:,} pair{'' if count == 1 else 's'} left out ({where}): within {tokens} the two answers are alike, "
            "or one of them has no token.",
            "hidden": f"{some} learned in part ({where}): the model's chat template leaves out earlier answers, or a part of "
            "an answer such as its reasoning.",
            "no_tools": f"{some} learned without the tools that they have ({where}): the model's chat template takes none.",
            "no_reasoning": f"{some} learned without the reasoning that they have ({where}): the model's chat template takes "
            "none.",
            "cut": f"{some} cut at {tokens} ({where}): their ends are not learned. Raise max_length to learn them.",
        }[code]


def _where(rows: list[int]) -> str:
    shown = ", ".join(f"{row:,}" for row in sorted(rows)[:_SHOWN])
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return f"row{'' if len(rows) == 1 else 's'} {shown}{more}"
