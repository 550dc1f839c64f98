"""The problems of a data set: page by page, and as JSON or CSV to take away. Knows no page of the app.

Problems are derived from the flags of the records and from the rows left out; none is stored as a sentence.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator

import numpy as np

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import Sentence, restored
from llmdemo.core.store import Home
from llmdemo.data.codes import CODES, FLAGS, mask
from llmdemo.data.library import (
    DatasetInfo,
    column,
    folder_of,
    get_dataset,
    kept_mask,
    open_arrow,
    read_checks,
    still_there,
)
from llmdemo.data.records import open_records

_FIELDS = ("row", "line", "code", "message", "action", "excerpt")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%")


@still_there
def problems(home: Home, dataset_id: str, offset: int = 0, limit: int = 200, code: str = "") -> tuple[list[dict], int]:
    """(problems, how many there are in all): {row, line, place, code, title, message, action, excerpt,
    other}, by row.

    `code` chooses one kind. line is None where the format has none, place (the record's, see Records.places) where the
    row made no record. Rows left out beyond the first 100,000 are
    only counted. Raises UserError for an unknown code.
    """
    if code and code not in CODES:
        raise UserError("err_no_problem", code=repr(str(code)[:40]), names=list(CODES))
    info = get_dataset(home, dataset_id)
    index = _Index(home, info, code)
    return [index.problem(at) for at in range(max(0, offset), min(len(index), max(0, offset) + max(0, limit)))], len(
        index
    )


def by_file(home: Home, info: DatasetInfo) -> list[dict]:
    """Of a data set of several files each one's {"file", "bytes", "format", "first_row", "rows"} with "kept" (records) and
    "problems" ({code: how many}; rows left out beyond the first 100,000 are not among them)."""
    index = _Index(home, info)
    return [
        {**each, "kept": int((index.files_of(index.kept_rows) == place).sum()), "problems": index.counts_of(place)}
        for place, each in enumerate(info.source["files"])
    ]


class _Index:
    """All problems in the order of their rows, without their sentences."""

    def __init__(self, home: Home, info: DatasetInfo, code: str = ""):
        folder = folder_of(home, info.dataset_id)
        self._records = open_records(home, info.dataset_id, everything=True)
        self._left = open_arrow(folder / "left_out.arrow").read_all()
        checks = read_checks(folder)
        self._row, self._line, self._other = (column(checks, name) for name in ("row", "line", "other"))
        flags, self._filters = column(checks, "flags"), mask(info.filters)
        keys = []
        for flag in FLAGS:
            if code in ("", flag.name):
                places = np.flatnonzero(flags & np.uint32(flag.mask))
                keys.append(np.stack([self._row[places], np.full(len(places), flag.bit), places], axis=1))
        left = np.arange(self._left.num_rows)
        if code:
            left = left[np.array([value == code for value in self._left.column("code").to_pylist()], bool)]
        rows = column(self._left, "row")[left] if len(left) else np.zeros(0, np.int64)
        keys.append(np.stack([rows, np.full(len(left), -1), left], axis=1))
        found = np.concatenate(keys).astype(np.int64)
        self._found = found[np.lexsort((found[:, 1], found[:, 0]))]
        self.kept_rows = self._row[kept_mask(flags, info.filters)]
        """[kept records] the row of each."""
        files = info.source.get("files") or []
        self.names = [str(each["file"]) for each in files]
        """Of the files, where there are several."""
        self._firsts = np.array([each["first_row"] for each in files], np.int64)

    def files_of(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of the files that these rows are in."""
        return np.searchsorted(self._firsts, rows, side="right") - 1

    def counts_of(self, file: int) -> dict[str, int]:
        """{code: how many problems} of one of several files."""
        mine = self._found[self.files_of(self._found[:, 0]) == file]
        codes = [FLAGS[bit].name for bit in mine[mine[:, 1] >= 0][:, 1]]
        left = self._left.column("code")
        return dict(Counter(codes + [left[int(place)].as_py() for place in mine[mine[:, 1] < 0][:, 2]]))

    def __len__(self) -> int:
        return len(self._found)

    def problem(self, at: int) -> dict:
        """As `problems` has it; of several files also "file" and "file_row", the row's number in it."""
        found = self._problem(at)
        if not self.names:
            return found
        file = int(self.files_of(found["row"]))
        return {**found, "file": self.names[file], "file_row": found["row"] - int(self._firsts[file]) + 1}

    def _problem(self, at: int) -> dict:
        row, bit, place = (int(value) for value in self._found[at])
        if bit < 0:
            left = {name: self._left.column(name)[place].as_py() for name in self._left.column_names}
            left = restored(left, json.loads(left.get("said") or "{}"))  # an older data set has English alone
            reason = left["reason"]
            title = CODES[left["code"]].title
            message: str = Sentence(f"{reason[:1].upper()}{reason[1:]}.", "reason_alone", {"reason": reason})
            return _problem(row, left["line"], None, left["code"], title, message, "left out", left["excerpt"])
        flag = FLAGS[bit]
        action = "left out" if self._filters & (1 << bit) else "kept, cut" if flag.name == "response_cut" else "kept"
        message = flag.message.format(other=f"{int(self._other[place]):,}")
        text = excerpt(self._records[place])
        found = _problem(row, int(self._line[place]), place, flag.name, flag.title, message, action, text)
        return {**found, "other": int(self._other[place])} if "{other}" in flag.message else found


def _problem(row, line, place, code, title, message, action, text) -> dict:
    return {
        "row": row,
        "line": line or None,
        "place": place,
        "code": code,
        "title": title,
        "message": message,
        "action": action,
        "excerpt": text,
    }


def excerpt(record: dict) -> str:
    """A record on one line: “instruction” → “answer”, each 60 characters at most."""
    if "text" in record:
        parts = [record["text"], record.get("label")]
    elif "chosen" in record:
        parts = [_last(record["messages"], "user"), record["chosen"]]
    else:
        parts = [_last(record["messages"], "user"), record["messages"][-1]["content"]]
    return " → ".join(f"“{_short(part)}”" for part in parts if part is not None)


def _last(messages: list[dict], role: str) -> str:
    return next((message["content"] for message in reversed(messages) if message["role"] == role), "")


def _short(text: str) -> str:
    text = " ".join("".join(c if c.isprintable() or c.isspace() else "�" for c in text[:240]).split())
    return text if len(text) <= 60 else text[:59] + "…"


def report_json(home: Home, dataset_id: str) -> Iterator[str]:
    """The whole report as JSON, in pieces: {"dataset": …, "counts": …, "problems": […]}."""
    info = get_dataset(home, dataset_id)
    index = _Index(home, info)
    head = {
        name: getattr(info, name)
        for name in ("dataset_id", "name", "content_hash", "rows", "kept", "counts", "filters", "unused")
    }
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "problems": ['
    for at in range(len(index)):
        yield (",\n" if at else "\n") + json.dumps(index.problem(at), ensure_ascii=False)
    yield "\n]}\n"


def report_csv(home: Home, dataset_id: str) -> Iterator[str]:
    """The whole report as CSV, in pieces. A cell that a spreadsheet would take for a formula gets a quote before it."""
    index = _Index(home, get_dataset(home, dataset_id))
    fields = (*_FIELDS, "file", "file_row") if index.names else _FIELDS
    yield _csv_line(fields)
    for at in range(len(index)):
        problem = index.problem(at)
        yield _csv_line([safe_cell(problem[name]) for name in fields])


def safe_cell(value) -> str:
    """The cell's text, harmless in a spreadsheet (OWASP: CSV injection)."""
    text = "" if value is None else str(value)
    return "'" + text if is_formula(text) and not isinstance(value, int) else text


def is_formula(text: str) -> bool:
    """Whether a spreadsheet may run the cell as a formula."""
    return text.lstrip(" \n\ufeff").startswith(_FORMULA)


def _csv_line(cells) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()
