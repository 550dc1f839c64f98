"""The text of a value that a file holds, whatever its type, and what was noticed on the way. Knows no turns or columns."""

import ast
import datetime
import decimal
import json
import re
from typing import TypeGuard

import orjson

from llmdemo.core.sentences import say

_NOTHING: tuple = (None, "", [], {})
MOST_ANSWERS = 100
"""Most right answers that are kept of a record."""
_SPELLED_LIST = 200_000
"""Longest list, in characters, that is read from Python's own spelling of it: its parser takes much memory."""


class Bad(Exception):
    """A row that makes no record: a code of codes.CODES, and the reason, as the end of a sentence "Row 3 …"."""

    def __init__(self, code: str, reason: str):
        super().__init__(reason)
        self.code, self.reason = code, reason


class Notes:
    """What the conversion of rows notices besides their records."""

    __slots__ = ("codes", "unused")

    def __init__(self) -> None:
        self.codes: set[str] = set()
        """Flags (codes.BIT) of the row that is being converted."""
        self.unused: set[str] = set()
        """Columns, and keys of turns, that hold something and are not used."""

    def leave(self, keys, values: dict) -> None:
        """These keys of `values` have no use; those that hold nothing are not worth a word."""
        for key in keys:
            if key not in self.unused and len(self.unused) < 1000 and values[key] not in _NOTHING:
                self.unused.add(str(key)[:80])


def as_text(value, notes: Notes) -> str:
    """A cell's text. "" for null; numbers, truth values and times as they are written; parts of content joined.

    Of a list of one text, that text. Any other list or object becomes its JSON, and the row gets the code "not_text".
    Lone surrogates become U+FFFD. Raises Bad for what has no text at all.
    """
    if isinstance(value, str):
        return whole_characters(value)
    if value is None:
        return ""
    if not isinstance(value, list | dict):
        return _scalar(value)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return whole_characters(value[0])
    if is_parts(value):
        return parts_text(value, notes)
    notes.codes.add("not_text")
    return as_json(value)


def whole_characters(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no encoding can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def as_json(value) -> str:
    """The value as compact JSON; integers of any size keep their digits. Raises Bad where it has none."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return whole_characters(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_scalar))
    except (TypeError, ValueError, RecursionError) as error:
        raise Bad("wrong_shape", say("reason_no_text")) from error


def _scalar(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if value != value else orjson.dumps(value).decode() if abs(value) != float("inf") else str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise Bad("wrong_shape", say("reason_bytes")) from error
    if isinstance(value, int | decimal.Decimal | datetime.timedelta):
        try:
            return str(value)
        except ValueError as error:  # an integer of over 4,300 digits
            raise Bad("wrong_shape", say("reason_long_number")) from error
    raise Bad("wrong_shape", say("reason_no_text"))


# ---- parts of content ----

_TEXT_PARTS = ("text", "input_text", "output_text")


def is_parts(value) -> TypeGuard[list[dict]]:
    """Whether the value is a list of parts of content, as multimodal chats have: {"type": "text", "text": …}, …"""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in value)
    )


def parts_text(parts: list[dict], notes: Notes) -> str:
    """The text of these parts, one after the other. Raises Bad where one is something else, such as a picture."""
    texts = []
    for part in parts:
        if part["type"] not in _TEXT_PARTS or not isinstance(part.get("text"), str):
            raise Bad("wrong_shape", say("reason_part", kind=repr(part["type"][:40])))
        notes.leave(part.keys() - {"type", "text"}, part)
        texts.append(whole_characters(part["text"]))
    return "".join(texts)


# ---- several answers ----


def answers_in(value, notes: Notes) -> list[str]:
    """The right answers that a cell holds, one at least: of a list of texts each different one, the first first.

    SQuAD's {"text": [answers], "answer_start": […]}, its [{"text": answer, "answer_start": …}, …] and TriviaQA's
    {"value": answer, "aliases": [others]} are such lists, also inside a string. Any other value is one answer.
    """
    found = unpacked(value)
    if isinstance(found, dict) and isinstance(found.get("text"), list) and found.keys() <= {"text", "answer_start"}:
        found = found["text"]
    elif isinstance(found, dict) and isinstance(found.get("value"), str) and isinstance(found.get("aliases"), list):
        found = [found["value"], *found["aliases"]]
    elif isinstance(found, list) and found and all(map(_is_squad_answer, found)):
        found = [each["text"] for each in found]
    elif found is not value:
        return [as_text(value, notes)]  # a list that is written as a text may well be the answer itself
    if found == []:
        return [""]
    if isinstance(found, list) and len(found) > 1 and all(isinstance(each, str) for each in found):
        texts = dict.fromkeys(whole_characters(each) for each in found)
        return [text for text in texts if text.strip()][:MOST_ANSWERS] or [""]
    return [as_text(found, notes)]


def _is_squad_answer(value) -> bool:
    return isinstance(value, dict) and isinstance(value.get("text"), str) and value.keys() <= {"text", "answer_start"}


# ---- values inside strings ----

_ARRAY = re.compile(r"\barray\((\[[^][]*\])(?:,\s*dtype=[\w']+)?\)")
"""A NumPy array as Python spells it inside a list or object."""
_ROWS = re.compile(r"\}\s*\n\s*\{")
"""Where a NumPy array of objects, as it prints, has a line's end and no comma."""


class Pairs:
    """What a JSON decoder makes objects with (its object_pairs_hook); notes a key that stands twice with different values.

    RFC 8259 leaves open which of them counts, and the usual parsers keep the last without a word.
    """

    def __init__(self) -> None:
        self.twice = ""
        """The first such key since `start`; "" where there is none."""

    def start(self) -> None:
        self.twice = ""

    def __call__(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(pairs)
        if len(made) < len(pairs) and not self.twice:
            # False equals 0 for Python, and 1 equals 1.0; as labels and texts they differ.
            unlike = (key for key, value in pairs if made[key] != value or type(made[key]) is not type(value))
            self.twice = next(unlike, "")
        return made


def count_keys(value) -> int:
    """The number of keys in a JSON value, at any depth."""
    count, left = 0, [value]
    while left:  # no recursion: orjson takes more levels than Python has frames
        each = left.pop()
        if isinstance(each, dict):
            count += len(each)
            left += [inner for inner in each.values() if isinstance(inner, dict | list)]
        elif isinstance(each, list):
            left += [inner for inner in each if isinstance(inner, dict | list)]
    return count


def unpacked(value):
    """The list or object that a string holds, as JSON or as Python and NumPy write it (pandas' CSV); any other value as
    it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return value
    pairs = Pairs()
    try:
        found = json.loads(text, object_pairs_hook=pairs)
        return value if pairs.twice else found
    except (ValueError, RecursionError):
        pass
    if len(text) > _SPELLED_LIST:
        return value
    for spelling in dict.fromkeys((text, _ROWS.sub("}, {", _ARRAY.sub(r"\1", text)))):
        try:
            found = ast.literal_eval(spelling)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        return found if isinstance(found, list | dict) else value
    return value
