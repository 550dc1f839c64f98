"""Which of the known shapes a file's rows have, and each row as normalised records.

Knows nothing of files, tokens or checks across rows. A normalised record is a dict:
chat {"messages": [{"role", "content"}, …]} and, where the file has them, "untrained" (indices of answers that are not
learned), "reasoning" (a text or None for each turn), "tools" (their JSON) and "alternatives" (other right answers than
the last turn); text {"text"}, classify {"text", "label"},
preference {"messages" (the prompt), "chosen", "rejected"}; each may have "split" ("train" or "eval") and, but for
classify, "kind" (of which source, category or task it is).
"""

from dataclasses import dataclass
from functools import cached_property

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.data import tokenised
from llmdemo.data.columns import (
    PROVENANCE,
    ROLES,
    TASK_ROLES,
    ColumnsNeeded,
    check_mapping,
    find,
    guess,
    shown_columns,
    zero_or_one,
)
from llmdemo.data.converters import CONVERTERS, alternatives, kind_of, tools_text
from llmdemo.data.library import TASKS
from llmdemo.data.rows import BadRow
from llmdemo.data.turns import turns_in
from llmdemo.data.values import Bad, Notes, unpacked

SPLITS = {
    "train": "train",
    "training": "train",
    **dict.fromkeys(("eval", "test", "validation", "valid", "dev"), "eval"),
}
SAMPLE_ROWS = 1000
"""Rows by which a shape is told."""
_LEAST_OF_A_KIND = 4
"""Least records of a kind on average: a column with more values tells records apart, not kinds of them."""
MAX_LABELS = 1000
"""Most classes: a column with more different values is no label."""


MAX_CHARACTERS = 1_000_000
"""Longest record other than raw text: no model sees more, and tokenising it would take the memory of all others."""


def _characters(record: dict) -> int:
    texts = [record.get("text"), record.get("chosen"), record.get("rejected")]
    texts += [*(record.get("reasoning") or ()), *(record.get("alternatives") or ())]
    return sum(len(turn["content"]) for turn in record.get("messages", ())) + sum(len(text or "") for text in texts)


@dataclass(frozen=True)
class Shape:
    """A shape by name, the task it makes, and which column plays which role."""

    name: str
    task: str
    roles: dict
    columns: tuple

    @cached_property
    def _used(self) -> frozenset:
        return frozenset(self.roles.values())

    def records(self, row, notes: Notes | None = None) -> list[dict]:
        """The normalised records of one raw row; raises Bad with the code and the reason if it is none.

        A record has "codes", the flags (codes.BIT) that its conversion gave, where there are any. What is not used of
        the row is added to `notes`.
        """
        notes = notes or Notes()
        notes.codes.clear()
        if isinstance(row, str):
            row = {"text": row}
        if isinstance(row, BadRow):
            raise Bad("wrong_shape", row.reason)
        if self.columns:  # else the roles stand for our own fields
            notes.leave(row.keys() - self._used, row)
        records = CONVERTERS[self.name if self.name in ("instances", tokenised.SHAPE) else self.task](
            row, self.roles, notes
        )
        if self.task != "text" and any(_characters(record) > MAX_CHARACTERS for record in records):
            raise Bad("too_long", say("reason_too_long", n=MAX_CHARACTERS))
        if self.task == "chat":
            for record in records:
                _set(record, "alternatives", alternatives(row.get(self.roles.get("alternatives", "")), record, notes))
        split = SPLITS.get(str(row.get(self.roles["split"])).lower()) if "split" in self.roles else None
        tools = tools_text(row.get(self.roles["tools"]), notes) if "tools" in self.roles else None
        kind = kind_of(row.get(self.roles["kind"])) if "kind" in self.roles and self.task != "classify" else None
        for record in records:
            for name, value in (("split", split), ("tools", tools), ("kind", kind), ("codes", tuple(notes.codes))):
                _set(record, name, value)
        return records


def _set(record: dict, name: str, value) -> None:
    """Gives the record this field, or takes it away where there is nothing in it."""
    if value:
        record[name] = value
    else:
        record.pop(name, None)


def detect(rows: list, mapping: dict | None = None, task: str | None = None) -> Shape:
    """The shape of the first rows of a file (a thousand are enough).

    `mapping` (role → column) says by hand which column is which; `task` narrows the choice. Raises UserError
    when no shape fits: ColumnsNeeded where a mapping by hand would help.
    """
    if task is not None and task not in TASKS:
        raise UserError("err_no_task", task=repr(str(task)[:40]), names=list(TASKS))
    dicts = [row for row in rows if isinstance(row, dict)]
    if not dicts:
        if any(isinstance(row, str) for row in rows):
            return Shape("raw text", "text", {"text": "text"}, ("text",))
        raise UserError("err_no_record_in_file")
    columns = _columns(dicts)
    if not columns:
        raise UserError("err_no_fields")
    if mapping:
        roles = check_mapping(mapping, columns)
        task, roles = _by_roles(roles, task)
        return Shape("columns", task, _with_kind(dicts, columns, task, roles), tuple(columns))
    if task in (None, "text") and tokenised.is_tokenised(dicts, columns, PROVENANCE):
        there = {role: column for role, column in tokenised.ROLES.items() if column in columns}
        return Shape(tokenised.SHAPE, "text", there, tuple(columns))
    roles = _known_roles(dicts, columns)
    shape = _known_shape(dicts, roles, task)
    if shape is None:
        shape = _guessed(dicts, columns, task, roles)
    name, task, used = shape
    always = {"chat": ("split", "tools", "alternatives"), "preference": ("split", "tools")}.get(task, ("split",))
    keep = {role: roles.get(role) or used[role] for role in (*used, *always) if role in used or role in roles}
    return Shape(name, task, _with_kind(dicts, columns, task, keep), tuple(columns))


def _with_kind(dicts: list[dict], columns: list[str], task: str, roles: dict) -> dict:
    """The roles, and the one of the column that tells kinds of records, where a column without another use does.

    It goes by a known name, and has a few short values that recur. A single one will do where more rows follow than are
    looked at: data is often sorted by where it comes from.
    """
    if task == "classify" or "kind" in roles:
        return roles
    free = {column.strip().lower(): column for column in reversed(columns) if column not in roles.values()}
    for name in ROLES["kind"]:
        if (column := free.get(name)) is None:
            continue
        values = [row.get(column) for row in dicts]
        kinds = [kind_of(value) for value in values]
        if any(kind is None and value not in (None, "") for kind, value in zip(kinds, values, strict=True)):
            continue  # long texts, lists and objects are no kinds
        count = len(set(kinds))  # to have none is one
        if (count >= 2 and len(dicts) >= _LEAST_OF_A_KIND * count) or (count == 1 and len(dicts) >= SAMPLE_ROWS):
            return {**roles, "kind": column}
    return roles


def _columns(dicts: list[dict]) -> list[str]:
    """The fields that the rows have, the most frequent first; rare ones too, a thousand at most."""
    counts: dict[str, int] = {}
    for row in dicts:
        for key in row:
            counts[key] = counts.get(key, 0) + 1
    if len(counts) > 10_000:
        raise UserError("err_too_many_fields", n=len(counts))
    return sorted(counts, key=lambda key: -counts[key])[:1000]


def _known_roles(dicts: list[dict], columns: list[str]) -> dict[str, str]:
    frequent = [column for column in columns if sum(column in row for row in dicts) * 2 > len(dicts)]
    by_name = {column.strip().lower(): column for column in (*reversed(columns), *frequent)}
    must = {column.strip().lower(): column for column in frequent}
    roles = {}
    for role in ("chosen", "rejected", "instances", "messages", "text", "label", "prompt", "response", "desired"):
        if (column := find(role, must)) is not None:
            roles[role] = column
    for role in ("input", "system", "history", "tools", "split", "alternatives"):
        if (column := find(role, by_name)) is not None:
            roles[role] = column
    if "messages" in roles and not _holds_turns(dicts, roles["messages"]):
        del roles["messages"]
    if roles.get("prompt", "").strip().lower() == "source" and roles.get("response", "").strip().lower() != "target":
        del roles["prompt"]  # where the record comes from, unless it is a translation's
    _find_desired(dicts, roles)
    if roles.get("input") == roles.get("prompt"):
        roles.pop("input", None)
    splits = (
        {str(row[roles["split"]]).strip().lower() for row in dicts if row.get(roles["split"]) is not None}
        if "split" in roles
        else set()
    ) - {""}
    if not splits <= set(SPLITS):
        del roles["split"]
    return roles


def _find_desired(dicts: list[dict], roles: dict[str, str]) -> None:
    """Adds the role "desired" where a conversation's label says true or false (KTO); asks where it says 0 or 1."""
    if "label" not in roles or "desired" in roles or not ({"prompt", "response"} <= set(roles) or "messages" in roles):
        return
    column = roles["label"]
    if column == roles.get("response") or column not in zero_or_one(dicts, [column]):
        return
    if any(str(row.get(column)).strip().lower() in ("true", "false") for row in dicts):
        roles["desired"] = column
        return
    raise ColumnsNeeded(
        _columns(dicts),
        {**{role: roles[role] for role in ("prompt", "response", "messages") if role in roles}, "desired": column},
        "chat",
        say("columns_desired", column=repr(column[:40])),
    )


def _holds_turns(dicts: list[dict], column: str) -> bool:
    """Whether the column holds lists of turns. In "turns" a list of strings is the user's side only (MT-bench)."""
    cells = [row.get(column) for row in dicts]
    lists = [cell for cell in cells if isinstance(cell, list)]
    if column.strip().lower() == "turns" and any(isinstance(turn, str) for turns in lists for turn in turns[:1]):
        raise UserError("err_no_answers")
    if lists:
        return len(lists) * 2 > len(dicts)
    return sum(turns_in(cell) is not None for cell in cells if cell is not None) * 2 > len(dicts)


def _known_shape(dicts, roles, task) -> tuple[str, str, dict] | None:
    """(name, task, roles used), or None when the names say nothing."""

    def pick(*wanted):
        return {role: roles[role] for role in wanted if role in roles}

    if {"chosen", "rejected"} <= set(roles) and task in (None, "preference"):
        return (
            "preference",
            "preference",
            pick("messages", "prompt", "input", "system", "history", "chosen", "rejected"),
        )
    if "messages" in roles and task in (None, "chat"):
        return _messages_name(dicts, roles["messages"]), "chat", pick("messages", "system", "desired")
    if {"instances", "prompt"} <= set(roles) and task in (None, "chat"):
        return "instances", "chat", pick("prompt", "instances", "system")
    if {"prompt", "response"} <= set(roles) and task in (None, "chat"):
        name = "Alpaca" if roles["prompt"].strip().lower() == "instruction" else "pairs"
        return name, "chat", pick("prompt", "input", "response", "system", "history", "desired")
    if {"text", "label"} <= set(roles) and task in (None, "classify"):
        return "classification", "classify", pick("text", "label")
    if {"prompt", "label"} <= set(roles) and task in (None, "classify"):
        return "classification", "classify", {"text": roles["prompt"], "label": roles["label"]}
    if "text" in roles and (task == "text" or (task is None and not _others(dicts, roles["text"], roles.get("split")))):
        return "raw text", "text", pick("text")
    return None


def _others(dicts, *known) -> list[str]:
    """The columns that hold something, are none of these, and do not only tell where a record comes from."""
    return [
        column
        for column in _columns(dicts)
        if column not in known
        and column.strip().lower() not in PROVENANCE
        and any(row.get(column) not in (None, "", [], {}) for row in dicts)
    ]


def _messages_name(dicts: list[dict], column: str) -> str:
    for row in dicts:
        turns = unpacked(row.get(column))
        if isinstance(turns, list) and turns:
            first = turns[0]
            if isinstance(first, str):
                return "turns"
            if isinstance(first, dict):
                return "ShareGPT" if "from" in first else "messages"
    return "messages"


def _guessed(dicts, columns, task, roles) -> tuple[str, str, dict]:
    if "text" in roles and "prompt" not in roles and task in (None, "classify"):
        others = _others(dicts, roles["text"], roles.get("split"))
        if len(several := zero_or_one(dicts, others)) > 1:
            raise ColumnsNeeded(
                columns,
                {"text": roles["text"], "label": several[0]},
                "classify",
                say("err_multi_hot", columns=shown_columns(several)),
            )
    telling = [column for column in columns if column != roles.get("split")]
    if not telling:
        raise UserError("err_no_fields")
    mapping, guessed_task, sure = guess(dicts[:1000], telling)
    sure = sure and not ("response" in roles and len(columns) > 1)  # an answer without its question is no raw text
    if sure and task in (None, guessed_task) and "prompt" not in roles:
        return ("raw text" if guessed_task == "text" else "classification"), guessed_task, mapping
    if "label" in roles and "prompt" not in roles and task in (None, "classify") and len(columns) > 1:
        others = [column for column in columns if column != roles["label"]]
        longest = max(others, key=lambda column: sum(len(str(row.get(column) or "")) for row in dicts[:1000]))
        raise ColumnsNeeded(columns, {"text": longest, "label": roles["label"]}, "classify")
    if "prompt" in roles and len(columns) - ("split" in roles) == 1:
        raise UserError("err_no_answer_column", column=repr(roles["prompt"][:40]))
    if "text" in roles and "prompt" not in roles and len(columns) > 2:
        mapping, guessed_task = {"text": roles["text"]}, "text"
    raise ColumnsNeeded(columns, mapping, guessed_task)


def _by_roles(roles: dict, task: str | None) -> tuple[str, dict]:
    for candidate in (task,) if task else ("preference", "chat", "classify", "text"):
        needed = TASK_ROLES[candidate]
        if all(role in roles for role in needed) or (candidate == "chat" and "messages" in roles):
            return candidate, roles
    wanted = TASK_ROLES[task or "chat"]
    raise UserError("err_columns_needed", got=", ".join(roles) or "none", names=list(wanted))
