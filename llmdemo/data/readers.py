"""Raw rows out of a file, in batches, with bounded memory. Knows nothing of what the columns mean.

Every reader is a generator of batches; what is read is never more than a few megabytes ahead of what is
handed on, however the file is made. Anything that cannot be read ends in a UserError with the place.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from llmdemo.core.errors import UserError, json_reason
from llmdemo.core.sentences import say
from llmdemo.data.columns import KNOWN
from llmdemo.data.format_detection import not_utf8, shown_name
from llmdemo.data.rows import MAX_RECORD, BadRow, Batch, Gather
from llmdemo.data.tables import read_table
from llmdemo.data.values import Pairs, count_keys

_OBJECT_BYTES = 64 * 2**20
_READ = 1 << 20
"""Characters read at once, at least."""
_MOST_BLANK = 1_000_000
"""Blank lines in a row: reading more would take minutes for nothing."""
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
"""What an integer beyond 64 bits has at least: orjson would make a float of it, which loses its digits."""
_KEY_END = re.compile(rb'"\s*:')
"""Stands after each key of an object; may stand inside a string as well."""
_SPLIT_KEYS = ("train", "eval", "test", "validation", "valid", "dev")


def read_batches(path: Path, format_: str, encoding: str) -> Iterator[Batch]:
    """The rows of a text file whose format and encoding `detect_format` has found. Raises UserError with the place."""
    readers = {"json": _json, "jsonl": _json_lines, "csv": _table, "tsv": _table, "text": _texts}
    try:
        yield from readers[format_](path, encoding)
    except UnicodeDecodeError as error:
        raise not_utf8(path, encoding) from error


# ---- JSON Lines ----


def _json_lines(path: Path, encoding: str) -> Iterator[Batch]:
    gather, done = Gather(), 0
    for line, data in _byte_lines(path, encoding):
        done += len(data)
        if not data.strip():
            continue
        batch = gather.add(_as_row(_parse_line(data, line, path)), line, len(data), done)
        if batch:
            yield batch
    yield from gather.rest()


def _byte_lines(path: Path, encoding: str) -> Iterator[tuple[int, bytes]]:
    if encoding != "utf-8-sig":
        yield from ((number, line.encode()) for number, line in _text_lines(path, encoding))
        return
    with open(path, "rb") as file:
        number = blank = 0
        while data := file.readline(MAX_RECORD + 1):
            number += 1
            blank = blank + 1 if len(data) <= 2 and not data.strip() else 0
            if len(data) > MAX_RECORD or blank > _MOST_BLANK:
                raise _line_too_long(path, number, blank)
            yield number, data.removeprefix(b"\xef\xbb\xbf") if number == 1 else data


def _text_lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    with open(path, encoding=encoding, newline="") as file:
        number = blank = 0
        while text := file.readline(MAX_RECORD + 1):
            number += 1
            blank = blank + 1 if len(text) <= 2 and not text.strip() else 0
            if len(text) > MAX_RECORD or blank > _MOST_BLANK:
                raise _line_too_long(path, number, blank)
            yield number, text


def _line_too_long(path: Path, number: int, blank: int = 0) -> UserError:
    if blank:
        return UserError("err_blank_lines", name=shown_name(path.name), blank=blank, number=number)
    return UserError("err_line_too_long", number=number, name=shown_name(path.name), max_record=MAX_RECORD // 2**20)


def _parse_line(data: bytes, line: int, path: Path):
    if not _LONG_NUMBER.search(data):
        try:
            value = orjson.loads(data)
            # Otherwise a key may stand twice, which orjson doesn't tell.
            if len(_KEY_END.findall(data)) == count_keys(value):
                return value
        except orjson.JSONDecodeError:
            pass
    pairs = Pairs()
    try:  # the standard parser also takes NaN, lone surrogates and integers of any size, which some programs write
        return _once(_decoder(pairs).decode(data.decode()), pairs)
    except UnicodeDecodeError as error:
        raise not_utf8(path, "utf-8-sig") from error
    except json.JSONDecodeError as error:
        reason = say("reason_at_column", what=json_reason(error), column=error.colno)
    except RecursionError:
        reason = say("reason_nested")
    except ValueError:
        reason = say("reason_number")
    raise UserError("err_line_no_json", line=line, name=shown_name(path.name), reason=reason)


# ---- JSON ----


def _decoder(pairs: Pairs | None = None) -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=lambda _: None, object_pairs_hook=pairs)


def _once(value, pairs: Pairs):
    """A record that was read with `pairs`; no record where a key stands twice in it."""
    return BadRow(say("reason_key_twice", key=pairs.twice[:80]), repr(value)[:200]) if pairs.twice else value


def _json(path: Path, encoding: str) -> Iterator[Batch]:
    with open(path, encoding=encoding, newline="") as file:
        window = _Window(file, path)
        if window.next_character() == "{":
            yield from _json_object(path, encoding)
            return
        window.pass_character()  # the bracket
        gather = Gather()
        while window.next_character() != "]" or gather.row > 1:
            value = window.value(gather.row)
            batch = gather.add(_as_row(value), window.value_line, window.value_size, window.passed)
            if batch:
                yield batch
            character = window.next_character()
            if character == "]":
                break
            if character != ",":
                raise window.broken(gather.row - 1)
            window.pass_character()
        window.pass_character()
        if window.next_character():
            raise window.error(say("reason_after_bracket"))
        yield from gather.rest()


class _Window:
    """A part of a JSON text that moves over the file, and the line where it stands.

    Places are indices of `text`. `since` is the place after the last value (or after the opening bracket): what
    follows it, behind an array of one value, is what the standard parser is asked about when something is wrong, so
    that the line and the column are those that json.loads names for the whole file.
    """

    def __init__(self, file, path: Path):
        self.file, self.path = file, path
        self.text, self.at, self.done, self.ended = "", 0, 0, False
        self.line, self.column, self._counted = 1, 1, 0
        self.since, self._before = 0, ""
        self.value_line = self.value_size = 0
        self._pairs = Pairs()
        self._decoder = _decoder(self._pairs)

    @property
    def passed(self) -> int:
        """Characters of the file that stand before the place."""
        return self.done - len(self.text) + self.at

    def next_character(self) -> str:
        """The next character that is no blank, without passing it; "" at the end of the file."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def pass_character(self) -> None:
        """Passes a bracket or a comma."""
        if not self._before:
            self.since, self._before = self.at + 1, "["
        self.at += 1

    def value(self, row: int):
        """The JSON value that begins here; passes it."""
        while True:
            try:
                self._pairs.start()
                value, end = self._decoder.raw_decode(self.text, self.at)
                if end < len(self.text) or not self._more():
                    break
            except RecursionError as error:
                raise self.error(say("reason_record_nested", row=row)) from error
            except json.JSONDecodeError as error:
                if len(self.text) - self.at > MAX_RECORD or not self._more():
                    raise self.broken(row, error) from error
            except ValueError as error:  # a number of over 4,300 digits
                if not self._more():
                    raise self.error(say("reason_record_number", row=row)) from error
        if end - self.at > MAX_RECORD:
            raise self.error(say("reason_record_long", row=row, mb=MAX_RECORD // 2**20))
        self.value_line, self.value_size = self._place(self.at)[0], end - self.at
        self.at = self.since = end
        self._before = "[0"
        return _once(value, self._pairs)

    def error(self, reason: str, at: int | None = None) -> UserError:
        """The sentence for what is wrong at a place (default: where the window stands)."""
        line, column = self._place(self.at if at is None else at)
        return UserError("err_place_no_json", name=shown_name(self.path.name), line=line, column=column, reason=reason)

    def broken(self, row: int, error: json.JSONDecodeError | None = None) -> UserError:
        """The sentence for a syntax error in or after record `row`, at the place that json.loads names."""
        if error is not None and len(self.text) - self.at > MAX_RECORD:
            endless = error.pos > self.at + MAX_RECORD // 2 or error.msg.startswith("Unterminated string")
            if endless:
                return self.error(say("reason_record_long", row=row, mb=MAX_RECORD // 2**20))
        end = self.at + MAX_RECORD + 2**20
        try:
            self._decoder.decode(self._before + self.text[self.since : end])
        except json.JSONDecodeError as found:
            at = max(self.since, self.since + found.pos - len(self._before))
            cut = at >= len(self.text.rstrip()) or found.msg.startswith("Unterminated string")
            key = "reason_in_record_cut" if cut and self.ended else "reason_in_record"
            return self.error(say(key, what=json_reason(found), row=row), at)
        except (ValueError, RecursionError):
            pass
        return self.error(say("reason_breaks", row=row))

    def _more(self) -> bool:
        """Reads on; what stands before the last value is let go. Leaves everything as it is at the end of the file."""
        if self.ended:
            return False
        begin = min(self.since, self.at) if self._before else self.at
        new = self.file.read(max(_READ, len(self.text) - begin))
        self.ended = not new
        if new:
            self._place(begin)
            self.done += len(new)
            self.text, self.at, self.since = self.text[begin:] + new, self.at - begin, max(0, self.since - begin)
            self._counted = 0
        return bool(new)

    def _place(self, at: int) -> tuple[int, int]:
        """(line, column), from 1, of a place that is not before the last place asked for."""
        breaks = self.text.count("\n", self._counted, at)
        if breaks:
            self.line += breaks
            self.column = at - self.text.rindex("\n", self._counted, at)
        else:
            self.column += at - self._counted
        self._counted = at
        return self.line, self.column


def _json_object(path: Path, encoding: str) -> Iterator[Batch]:
    """A file that is one object: lists of records under one key or under train/eval keys, or a single record."""
    name = shown_name(path.name)
    if path.stat().st_size > _OBJECT_BYTES:
        raise UserError("err_one_object", name=name, object_bytes=_OBJECT_BYTES // 2**20)
    with open(path, encoding=encoding, newline="") as file:
        text = file.read()
    try:
        pairs = Pairs()
        value = _decoder(pairs).decode(text)
        if pairs.twice:
            raise UserError("err_key_twice", name=name, key=pairs.twice[:80])
    except RecursionError as error:
        raise UserError("err_nested_too_deep", name=name) from error
    except json.JSONDecodeError as error:
        raise UserError(
            "err_object_no_json", name=name, line=error.lineno, column=error.colno, reason=json_reason(error)
        ) from error
    except ValueError as error:
        raise UserError("err_long_number", name=name) from error
    gather = Gather()
    for row in _rows_of_object(value):
        if batch := gather.add(_as_row(row), 0, 0, len(text)):
            batch.lines = None
            yield batch
    for last in gather.rest():
        last.lines = None
        yield last


def _rows_of_object(value: dict) -> list:
    """The records of a file that is one object: under keys, by column or by index as pandas writes them, or itself."""
    if _is_record(value):
        return [value]
    lists = {key: rows for key, rows in value.items() if isinstance(rows, list) and rows and isinstance(rows[0], dict)}
    splits = [key for key in _SPLIT_KEYS if key in lists]
    if splits:
        return [_with_split(row, key) for key in splits for row in lists[key]]
    if len(lists) == 1 and not (len(value) > 1 and _by_list(value)):
        return _questions(next(iter(lists.values())))
    return _by_list(value) or _by_index(value) or [value]


def _questions(rows: list) -> list:
    """The rows, or where they are SQuAD's articles ({"title", "paragraphs": [{"context", "qas"}]}) a row for each question."""
    found = []
    for row in rows:
        for part in row.get("paragraphs") or () if isinstance(row, dict) else ():
            if isinstance(part, dict) and isinstance(part.get("qas"), list):
                about = {"title": row.get("title"), "context": part.get("context")}
                found += [{**about, **asked} if isinstance(asked, dict) else asked for asked in part["qas"]]
    return found or rows


def _by_list(value: dict) -> list[dict] | None:
    """{"a": [1, 2], "b": [3, 4]} (a list for each column) or pandas' orient="split" as rows; None for anything else."""
    if value.keys() <= {"columns", "index", "data"} and {"columns", "data"} <= value.keys():
        names, rows = value["columns"], value["data"]
        if isinstance(names, list) and isinstance(rows, list) and all(isinstance(row, list) for row in rows):
            return [dict(zip(map(str, names), row, strict=False)) for row in rows if len(row) == len(names)] or None
    if not value or not all(isinstance(cells, list) for cells in value.values()):
        return None
    if len({len(cells) for cells in value.values()}) != 1 or not next(iter(value.values())):
        return None
    return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]


def _by_index(value: dict) -> list[dict] | None:
    """pandas' {"a": {"0": 1, "1": 2}} (the default) or {"0": {"a": 1}, "1": {"a": 2}} as rows; None for anything else."""
    if len(value) < 1 or not all(isinstance(cells, dict) and cells for cells in value.values()):
        return None
    inside = list(dict.fromkeys(key for cells in value.values() for key in cells))
    if all(key.isdecimal() for key in inside):
        return [{column: cells[key] for column, cells in value.items() if key in cells} for key in inside]
    shared = sum(len(cells) for cells in value.values()) >= len(inside) * len(value) / 2
    known = any(key.strip().lower() in KNOWN for key in value)
    return list(value.values()) if shared and not known and len(value) > 1 else None


def _is_record(value: dict) -> bool:
    return any(key in value for key in ("messages", "conversations", "conversation", "instances", "chosen"))


def _with_split(row, key: str):
    return {**row, "split": "train" if key == "train" else "eval"} if isinstance(row, dict) else row


def _as_row(value):
    if isinstance(value, dict | str | BadRow):
        return value
    kinds = {list: "list", bool: "boolean", int: "number", float: "number", type(None): "null"}
    kind = say(f"kind_{kinds.get(type(value), 'no_object')}")
    return BadRow(say("reason_no_object", kind=kind), repr(value)[:200])


# ---- tables ----


def _table(path: Path, encoding: str) -> Iterator[Batch]:
    gather = Gather()
    for value, line, size, done in read_table(path, _text_lines(path, encoding)):
        if batch := gather.add(value, line, size, done):
            yield batch
    yield from gather.rest()


# ---- plain text ----


def _texts(path: Path, encoding: str) -> Iterator[Batch]:
    """Documents: paragraphs where there are blank lines, else long lines, else the lines joined to pieces of 4,000."""
    with open(path, encoding=encoding, newline=None) as file:
        sample = file.read(1 << 20)
    lines = sample.split("\n")
    blank = any(not line.strip() for line in lines[:-1])
    piece = 0 if blank or len(sample) > 200 * len(lines) else 4000
    waiting: list[str] = []
    gather, begins, size, done = Gather(), 1, 0, 0
    for number, line in _text_lines(path, encoding):
        done += len(line)
        line = line.rstrip("\r\n")
        if line.strip():
            begins = begins if waiting else number
            waiting.append(line)
            size += len(line) + 1
            if size > MAX_RECORD:
                raise UserError(
                    "err_paragraph_too_long", begins=begins, name=shown_name(path.name), max_record=MAX_RECORD // 2**20
                )
        ends = not line.strip() if blank else size >= piece
        if waiting and ends:
            batch = gather.add({"text": "\n".join(waiting)}, begins, size, done)
            waiting, size = [], 0
            if batch:
                yield batch
    if waiting:
        gather.add({"text": "\n".join(waiting)}, begins, size, done)
    yield from gather.rest()
