"""Sentences for people, by key: English text that remembers its key and values, so that a page can say it in another
language. Knows no page and no error.

The texts are in assets/words/ (languages.py). In a text, {name} is a value, {n:,} a number with separators, {names:or} and {names:and} a list as the language joins it, {n|record|records} one of two forms by the number n.
"""

import math
import operator
import re
from typing import Any

from llmdemo.core.languages import ENGLISH, texts

MARK = "$say"
"""The key that tells a packed sentence from any other object: no setting, column or field begins with $."""
_PLACE = re.compile(r"\{(\w+)(?::(,|or|and))?\}|\{(\w+)\|([^{}|]*)\|([^{}|]*)\}")
_MOST_VALUES, _MOST_TEXT, _DEEPEST = 20, 8192, 6


class Sentence(str):
    """The English text as a plain str, with `key` and `values` beside it. Slices and joins of it are plain texts."""

    key: str
    values: dict[str, Any]

    def __new__(cls, text: str, key: str = "", values: dict[str, Any] | None = None) -> "Sentence":
        made = super().__new__(cls, text)
        made.key, made.values = key, values or {}
        return made


def say(key: str, /, **values: Any) -> Sentence:
    """The sentence `key` with `values` (texts, numbers, sentences, lists of texts). Raises KeyError for no such key."""
    values = {name: _value(each) for name, each in values.items()}
    return Sentence(fill(texts()[key], values), key, values)


def _value(value: Any) -> Any:
    """What a sentence may keep of it: JSON, as an event or a page takes it."""
    if isinstance(value, list | tuple):
        return [each if isinstance(each, str) else str(each) for each in value]
    if isinstance(value, str | int | float):
        return value
    return operator.index(value) if hasattr(value, "__index__") else str(value)


def in_language(sentence: str, language: str) -> str:
    """A sentence in `language`, with the sentences among its values; a plain text as it is. For answers that no script of
    the page reads before a person does."""
    if not isinstance(sentence, Sentence) or not sentence.key or language == ENGLISH:
        return str(sentence)
    values = {
        name: in_language(each, language) if isinstance(each, str) else each for name, each in sentence.values.items()
    }
    return fill(texts(language)[sentence.key], values, language)


def fill(text: str, values: dict[str, Any], language: str = ENGLISH) -> str:
    """A `text` in `language` with its places filled in; those without a value stay."""

    def one(place: re.Match[str]) -> str:
        name, form, counted, single, several = place.groups()
        if (name or counted) not in values:
            return place[0]
        value = values[name or counted]
        if counted:
            return str(single if value in (1, "1") else several)
        if isinstance(value, list | tuple):
            return _joined([str(each) for each in value], form or ",", language)
        return f"{value:,}" if form == "," and isinstance(value, int | float) else str(value)

    return _PLACE.sub(one, text)


def percent(share: float, digits: int = 0) -> str:
    """A share between 0 and 1 as the page writes it: "16 %"; the page itself keeps it on one line."""
    return f"{share:.{digits}%}".replace("%", " %")


def readable_size(count: float) -> str:
    """Bytes in the unit that suits them, as the page writes them (assets/lib/format.js): "1.50 GB", "12 MB"."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    if count >= 1e6:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e3:.0f} kB" if count >= 1e3 else f"{count:.0f} B"


def together(*sentences: str) -> str:
    """The sentences one after the other, as each language sets them; empty ones are left out."""
    said = [each for each in sentences if each]
    if not said:
        return ""
    whole: str = said[0]
    for each in said[1:]:
        whole = say("both", first=whole, second=each)
    return whole


def placeholders(text: str) -> set[str]:
    """The names of a text's values; a language that has one form for all numbers leaves {n|…|…} out."""
    return {name for name, _, _, _, _ in _PLACE.findall(text) if name}


def _joined(items: list[str], form: str, language: str) -> str:
    words = texts(language)
    if form == "," or len(items) < 2:
        return words["list_comma"].join(items)
    return f"{words['list_comma'].join(items[:-1])}{words[f'list_{form}']}{items[-1]}"


def pack(value: Any) -> Any:
    """`value` with each sentence in it as {"$say": key, "values", "text"}: JSON keeps no subclass of str."""
    if isinstance(value, Sentence) and value.key:
        return {MARK: value.key, "values": pack(value.values), "text": str(value)}
    if isinstance(value, dict):
        return {key: pack(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [pack(each) for each in value]
    return value


def unpack(value: Any) -> Any:
    """What `pack` was given. A sentence whose key or values are none of ours, as a file may hold, is its text alone."""
    if isinstance(value, dict):
        if MARK in value:
            return _checked(value, 0)
        return {key: unpack(each) for key, each in value.items()}
    return [unpack(each) for each in value] if isinstance(value, list) else value


def _checked(packed: dict[str, Any], depth: int) -> str:
    text, key, values = str(packed.get("text", "")), packed.get(MARK), packed.get("values")
    if (
        not isinstance(key, str)
        or key not in texts()
        or not isinstance(values, dict)
        or len(values) > _MOST_VALUES
        or depth > _DEEPEST
    ):
        return text
    try:
        return Sentence(text, key, {str(name)[:64]: _plain(each, depth) for name, each in values.items()})
    except ValueError:
        return text


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, dict) and MARK in value:
        return _checked(value, depth + 1)
    if isinstance(value, list) and len(value) <= 200:
        return [_plain(each, depth + 1) for each in value if isinstance(each, str | dict)]
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value[:_MOST_TEXT] if isinstance(value, str) else value
    raise ValueError("no value of a sentence")


def beside(fields: dict[str, Any]) -> dict[str, Any]:
    """{name: key and values} of those `fields` that are sentences, to be kept next to their English texts."""
    return {
        name: {MARK: value.key, "values": pack(value.values)}
        for name, value in fields.items()
        if isinstance(value, Sentence) and value.key
    }


def restored(fields: dict[str, Any], said: object) -> dict[str, Any]:
    """`fields` with the texts of which `said` (see `beside`) knows key and values as sentences again."""
    if not isinstance(said, dict):
        return fields
    found = {
        name: _checked({**packed, "text": fields[name]}, 0)
        for name, packed in said.items()
        if isinstance(packed, dict) and isinstance(fields.get(name), str)
    }
    return {**fields, **found}
