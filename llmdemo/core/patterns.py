"""Patterns that come from outside, in RE2's syntax: their time is linear in the text, whatever they are. Arrow has RE2.

`check_pattern` refuses what cannot be read; `last_match` says what a pattern finds.
"""

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from llmdemo.core.errors import UserError

_BEGIN, _END = "\ue000", "\ue001"  # private-use characters: they are taken out of a text before


def check_pattern(name: str, pattern: str) -> None:
    """Raises UserError, with the setting's `name`, where RE2 cannot read `pattern`."""
    try:
        _taken(pattern)
    except (pa.ArrowInvalid, ValueError) as error:
        why = str(error).partition(": ")[2] or str(error)
        raise UserError("err_odd_pattern", name=name, why=why[:200]) from None


def last_match(text: str, pattern: str) -> str | None:
    """The last match of `pattern` in `text`, or that match's first group if it has one, without blanks around it; None
    where there is none. Raises ValueError for a pattern that check_pattern refuses.
    """
    plain = text.replace(_BEGIN, "").replace(_END, "")
    marked = _marked(plain, pattern, _taken(pattern))
    begin = marked.rfind(_BEGIN)
    return marked[begin + 1 : marked.index(_END, begin)].strip() if begin >= 0 else None


@cache
def _taken(pattern: str) -> int:
    """1 if the pattern has a group, else 0: the whole match. Raises pyarrow.ArrowInvalid where RE2 cannot read it."""
    _marked("", pattern, 0)
    try:
        _marked("", pattern, 1)
    except pa.ArrowInvalid:
        return 0
    return 1


def _marked(text: str, pattern: str, group: int) -> str:
    """`text` with each match replaced by its group between two marks."""
    found = pc.replace_substring_regex(pa.array([text]), pattern=pattern, replacement=f"{_BEGIN}\\{group}{_END}")
    return str(found[0].as_py())
