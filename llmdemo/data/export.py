"""The kept records of a data set as a file in any of the shapes and formats. Knows no page.

What is exported and added again is the same data set (the same content hash), so cells are written as they are; how
many of a table's a spreadsheet would run as formulas is counted (`formula_cells`), to be said. The report of problems,
which is made for spreadsheets, escapes them.
"""

import csv
import json
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.data.library import clean_name, get_dataset, still_there
from llmdemo.data.records import Records, open_records
from llmdemo.data.report import is_formula
from llmdemo.data.turns import raw_turns

SHAPES = {
    "chat": ("messages", "sharegpt", "alpaca", "pairs"),
    "text": ("text",),
    "classify": ("classification",),
    "preference": ("preference", "conversations"),
}
"""Shapes by task; the first is the one that holds everything."""
FORMATS = ("jsonl", "json", "csv", "tsv", "parquet")
_FLAT = ("alpaca", "pairs", "text", "classification", "preference")
_SHAREGPT = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


@still_there
def export_dataset(home: Home, dataset_id: str, folder: Path, shape: str | None = None, format_: str = "jsonl") -> Path:
    """Writes the kept records into a file of `folder`, named after the data set; returns its path.

    shape is one of SHAPES for its task (None: the first), format_ one of FORMATS. Raises UserError when the shape
    cannot hold the records (with the row), or the format not the shape.
    """
    info = get_dataset(home, dataset_id)
    shape = shape or SHAPES[info.task][0]
    if shape not in SHAPES[info.task]:
        raise UserError("err_no_shape", shape=repr(str(shape)[:40]), task=info.task, names=list(SHAPES[info.task]))
    if format_ not in FORMATS:
        raise UserError("err_no_format", format=repr(str(format_)[:40]), names=list(FORMATS))
    if format_ in ("csv", "tsv") and shape not in _FLAT:
        raise UserError("err_table_cannot_hold", shape=shape)
    records = open_records(home, dataset_id)
    stem = (
        "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(clean_name(info.name)).stem).strip("-.") or "data"
    )
    target = folder / f"{stem[:60]}-{shape}.{format_}"
    handle, part = tempfile.mkstemp(dir=folder, prefix=".export.")
    os.close(handle)
    try:
        rows = partial(_rows, records, shape, format_ in ("csv", "tsv"))
        _WRITERS[format_](Path(part), rows)
        os.replace(part, target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return target


def _rows(records: Records, shape: str, flat: bool) -> Iterator[dict]:
    convert = _CONVERT[shape]
    fixed = any(records.splits())
    for record in records:
        row = convert(record)
        if flat and shape == "preference" and len(record["messages"]) == 1:
            row["prompt"] = record["messages"][0]["content"]
        if flat and "other_answers" in row:
            row["other_answers"] = json.dumps(row["other_answers"], ensure_ascii=False)
        if flat and (kept := next((name for name, value in row.items() if isinstance(value, list)), None)):
            what = say("word_tools") if kept == "tools" else say("word_turns")
            raise UserError("err_row_no_table", row=record["row"], what=what)
        if "kind" in record:
            row["source"] = record["kind"]  # under this name raw text stays raw text
        yield {**row, "split": record.get("split") or ""} if fixed else row


# ---- shapes ----


def messages_row(record: dict) -> dict:
    """A chat record as {"messages"}, with its "tools" and "other_answers" where it has them: adding it again loses nothing."""
    return {"messages": raw_turns(record), **_with_tools(record), **_with_others(record)}


def _with_tools(record: dict) -> dict:
    return {"tools": json.loads(record["tools"])} if "tools" in record else {}


def _with_others(record: dict) -> dict:
    return {"other_answers": record["alternatives"]} if "alternatives" in record else {}


def _sharegpt(record: dict) -> dict:
    turns = [{"from": _SHAREGPT[turn.pop("role")], "value": turn.pop("content"), **turn} for turn in raw_turns(record)]
    return {"conversations": turns, **_with_tools(record), **_with_others(record)}


def _alpaca(record: dict) -> dict:
    system, pairs = _pairs_of(record)
    row: dict = {"instruction": pairs[-1][0], "input": "", "output": pairs[-1][1]}
    if system:
        row["system"] = system
    if len(pairs) > 1:
        row["history"] = pairs[:-1]
    return row | _with_others(record)


def _pairs(record: dict) -> dict:
    system, pairs = _pairs_of(record)
    if len(pairs) > 1:
        raise UserError("err_pairs_of_turns", row=record["row"])
    row = {"prompt": pairs[0][0], "completion": pairs[0][1], **({"system": system} if system else {})}
    return row | _with_others(record)


def _pairs_of(record: dict) -> tuple[str, list[list[str]]]:
    """(system, [[instruction, answer], …]); raises UserError where the turns do not go in pairs."""
    turns, names = (
        record["messages"],
        {"untrained": say("word_untrained"), "reasoning": say("word_reasoning"), "tools": say("word_tools")},
    )
    if more := [shown for name, shown in names.items() if name in record]:
        raise UserError("err_shape_cannot_hold", row=record["row"], what=list(more))
    system = turns[0]["content"] if turns[0]["role"] == "system" else ""
    turns = turns[1:] if turns[0]["role"] == "system" else turns
    if any(turn["role"] != ("user", "assistant")[place % 2] for place, turn in enumerate(turns)):
        raise UserError("err_tool_turns", row=record["row"])
    return system, [[ask["content"], answer["content"]] for ask, answer in zip(turns[::2], turns[1::2], strict=True)]


def _preference(record: dict) -> dict:
    """The prompt as its turns, whether it has one or several, so that all rows are alike (TRL's form)."""
    sides = {"chosen": record["chosen"], "rejected": record["rejected"]}
    return {"prompt": record["messages"], **sides, **_with_tools(record)}


def _conversations(record: dict) -> dict:
    sides = {}
    for side in ("chosen", "rejected"):
        sides[side] = [*record["messages"], {"role": "assistant", "content": record[side]}]
    return sides | _with_tools(record)


_CONVERT = {
    "messages": messages_row,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "pairs": _pairs,
    "text": lambda record: {"text": record["text"]},
    "classification": lambda record: {"text": record["text"], "label": record["label"]},
    "preference": _preference,
    "conversations": _conversations,
}


# ---- formats ----


def _write_jsonl(path: Path, rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        for row in rows():
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_json(path: Path, rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("[")
        for number, row in enumerate(rows()):
            file.write((",\n" if number else "\n") + json.dumps(row, ensure_ascii=False))
        file.write("\n]\n")


def _names(rows) -> list[str]:
    """All columns that any row has: a pass of its own finds them, since a system turn may come late."""
    return list(dict.fromkeys(name for row in rows() for name in row))


def _write_table(path: Path, rows, delimiter: str = ",") -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _names(rows), restval="", delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows())


def _write_tsv(path: Path, rows) -> None:
    _write_table(path, rows, "\t")


def _write_parquet(path: Path, rows) -> None:
    schema = pa.schema(list(_kinds(rows).items()))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rest = rows()
        while part := list(islice(rest, 1000)):
            for row in part:
                if "tools" in row:
                    row["tools"] = json.dumps(row["tools"], ensure_ascii=False)
            writer.write_table(pa.Table.from_pylist(part, schema))


def _kinds(rows) -> dict[str, pa.DataType]:
    """The type of each column that any row has; a turn has all keys that any turn has. A pass of its own over the rows."""
    kinds: dict[str, pa.DataType] = {}
    keys: dict[str, dict] = {}
    for row in rows():
        for name, value in row.items():
            if isinstance(value, str) or name in _LISTS or name == "tools":
                kinds[name] = _LISTS.get(name, pa.string())
            else:
                kinds.setdefault(name, None)
                keys.setdefault(name, {}).update(dict.fromkeys(key for turn in value for key in turn))
    for name, found in keys.items():
        kinds[name] = pa.list_(
            pa.struct([(key, pa.int64() if key == "weight" else pa.string()) for key in sorted(found, key=_TURN.index)])
        )
    return kinds


_LISTS = {"history": pa.list_(pa.list_(pa.string())), "other_answers": pa.list_(pa.string())}
_TURN = ("role", "from", "content", "value", "weight", "reasoning_content")


def formula_cells(path: Path) -> int:
    """How many cells of an exported table a spreadsheet would run as formulas; 0 for files that are no tables."""
    delimiter = {".csv": ",", ".tsv": "\t"}.get(path.suffix)
    if delimiter is None:
        return 0
    with open(path, encoding="utf-8", newline="") as file:
        return sum(is_formula(cell) for row in csv.reader(file, delimiter=delimiter) for cell in row)


_WRITERS = {
    "jsonl": _write_jsonl,
    "json": _write_json,
    "csv": _write_table,
    "tsv": _write_tsv,
    "parquet": _write_parquet,
}
