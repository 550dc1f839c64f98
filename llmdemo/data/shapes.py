"""Which of the known shapes a file's rows have, and each row as normalised records.

Knows nothing of files, tokens or checks across rows. A normalised record is a dict:
chat {"messages": [{"role", "content"}, …]}, text {"text"}, classify {"text", "label"},
preference {"messages" (the prompt), "chosen", "rejected"}; each may have "split" ("train" or "eval").
"""

from dataclasses import dataclass

from llmdemo.data.columns import TASK_ROLES, ColumnsNeeded, check_mapping, find, guess
from llmdemo.data.rows import BadRow
from llmdemo.data.turns import Bad, as_text, as_turns, close, parse_transcript, strip_prompt
from llmdemo.errors import UserError

TASKS = ("chat", "text", "classify", "preference")
SPLITS = {
    "train": "train",
    "training": "train",
    **dict.fromkeys(("eval", "test", "validation", "valid", "dev"), "eval"),
}
MAX_LABELS = 1000
"""Most classes: a column with more different values is no label."""


MAX_CHARACTERS = 1_000_000
"""Longest record other than raw text: no model sees more, and tokenising it would take the memory of all others."""


def _characters(record: dict) -> int:
    texts = [record.get("text"), record.get("chosen"), record.get("rejected")]
    return sum(len(turn["content"]) for turn in record.get("messages", ())) + sum(len(text or "") for text in texts)


@dataclass(frozen=True)
class Shape:
    """A shape by name, the task it makes, and which column plays which role."""

    name: str
    task: str
    roles: dict
    columns: tuple

    def records(self, row) -> list[dict]:
        """The normalised records of one raw row; raises Bad with the code and the reason if it is none."""
        if isinstance(row, str):
            row = {"text": row}
        if isinstance(row, BadRow):
            raise Bad("wrong_shape", row.reason)
        records = _CONVERTERS[self.task if self.name != "instances" else "instances"](row, self.roles)
        if self.task != "text" and any(_characters(record) > MAX_CHARACTERS for record in records):
            raise Bad("too_long", f"has over {MAX_CHARACTERS:,} characters")
        split = SPLITS.get(str(row.get(self.roles["split"])).lower()) if "split" in self.roles else None
        if split:
            for record in records:
                record["split"] = split
        return records


def detect(rows: list, mapping: dict | None = None, task: str | None = None) -> Shape:
    """The shape of the first rows of a file (a thousand are enough).

    `mapping` (role → column) says by hand which column is which; `task` narrows the choice. Raises UserError
    when no shape fits: ColumnsNeeded where a mapping by hand would help.
    """
    if task is not None and task not in TASKS:
        raise UserError(f"The task is {str(task)[:40]!r}.", f"It must be one of {', '.join(TASKS)}.")
    dicts = [row for row in rows if isinstance(row, dict)]
    if not dicts:
        if any(isinstance(row, str) for row in rows):
            return Shape("raw text", "text", {"text": "text"}, ("text",))
        raise UserError(
            "No row of the file is a record.", "Each row must be an object with fields, or a line of a table."
        )
    columns = _columns(dicts)
    if not columns:
        raise UserError(
            "The records have no fields.", "Each needs an instruction and an answer, a text, or a conversation."
        )
    if mapping:
        roles = check_mapping(mapping, columns)
        return Shape("columns", *_by_roles(roles, task), tuple(columns))
    roles = _known_roles(dicts, columns)
    shape = _known_shape(dicts, roles, task)
    if shape is None:
        shape = _guessed(dicts, columns, task, roles)
    name, task, used = shape
    keep = {role: roles.get(role) or used[role] for role in (*used, "split") if role in used or role in roles}
    return Shape(name, task, keep, tuple(columns))


def _columns(dicts: list[dict]) -> list[str]:
    """The fields that the rows have, the most frequent first; rare ones too, a thousand at most."""
    counts = {}
    for row in dicts:
        for key in row:
            counts[key] = counts.get(key, 0) + 1
    if len(counts) > 10_000:
        raise UserError(
            f"The records have {len(counts):,} different fields.", "They must all have the same few fields."
        )
    return sorted(counts, key=lambda key: -counts[key])[:1000]


def _known_roles(dicts: list[dict], columns: list[str]) -> dict[str, str]:
    frequent = [column for column in columns if sum(column in row for row in dicts) * 2 > len(dicts)]
    by_name = {column.strip().lower(): column for column in (*reversed(columns), *frequent)}
    must = {column.strip().lower(): column for column in frequent}
    roles = {}
    for role in ("chosen", "rejected", "instances", "messages", "text", "label", "prompt", "response"):
        if (column := find(role, must)) is not None:
            roles[role] = column
    for role in ("input", "system", "history", "split"):
        if (column := find(role, by_name)) is not None:
            roles[role] = column
    if "messages" in roles and not _holds_turns(dicts, roles["messages"]):
        del roles["messages"]
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


def _holds_turns(dicts: list[dict], column: str) -> bool:
    """Whether the column holds lists of turns. In "turns" a list of strings is the user's side only (MT-bench)."""
    lists = [row[column] for row in dicts if isinstance(row.get(column), list)]
    if column.strip().lower() == "turns" and any(isinstance(turn, str) for turns in lists for turn in turns[:1]):
        raise UserError(
            "The records have the user's turns but no answers.",
            "To train, each needs an answer (output, response, completion). A prompt alone can be tried in the arena.",
        )
    return len(lists) * 2 > len(dicts)


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
        return _messages_name(dicts, roles["messages"]), "chat", pick("messages", "system")
    if {"instances", "prompt"} <= set(roles) and task in (None, "chat"):
        return "instances", "chat", pick("prompt", "instances", "system")
    if {"prompt", "response"} <= set(roles) and task in (None, "chat"):
        name = "Alpaca" if roles["prompt"].strip().lower() == "instruction" else "pairs"
        return name, "chat", pick("prompt", "input", "response", "system", "history")
    if {"text", "label"} <= set(roles) and task in (None, "classify"):
        return "classification", "classify", pick("text", "label")
    if {"prompt", "label"} <= set(roles) and task in (None, "classify"):
        return "classification", "classify", {"text": roles["prompt"], "label": roles["label"]}
    if "text" in roles and task in (None, "text"):
        return "raw text", "text", pick("text")
    return None


def _messages_name(dicts: list[dict], column: str) -> str:
    for row in dicts:
        turns = row.get(column)
        if isinstance(turns, list) and turns:
            first = turns[0]
            if isinstance(first, str):
                return "turns"
            if isinstance(first, dict):
                return "ShareGPT" if "from" in first else "messages"
    return "messages"


def _guessed(dicts, columns, task, roles) -> tuple[str, str, dict]:
    mapping, guessed_task, sure = guess(dicts[:1000], columns)
    if sure and task in (None, guessed_task) and "prompt" not in roles:
        return ("raw text" if guessed_task == "text" else "classification"), guessed_task, mapping
    if "label" in roles and "prompt" not in roles and task in (None, "classify") and len(columns) > 1:
        others = [column for column in columns if column != roles["label"]]
        longest = max(others, key=lambda column: sum(len(str(row.get(column) or "")) for row in dicts[:1000]))
        raise ColumnsNeeded(columns, {"text": longest, "label": roles["label"]}, "classify")
    if "prompt" in roles and len(columns) - ("split" in roles) == 1:
        raise UserError(
            f"The records have {roles['prompt'][:40]!r} but no answer.",
            "To train, each needs an answer (output, response, completion). A prompt alone can be tried in the arena.",
        )
    raise ColumnsNeeded(columns, mapping, guessed_task)


def _by_roles(roles: dict, task: str | None) -> tuple[str, dict]:
    for candidate in (task,) if task else ("preference", "chat", "classify", "text"):
        needed = TASK_ROLES[candidate]
        if all(role in roles for role in needed) or (candidate == "chat" and "messages" in roles):
            return candidate, roles
    wanted = TASK_ROLES[task or "chat"]
    raise UserError(f"The columns given are {', '.join(roles) or 'none'}.", f"Needed are {' and '.join(wanted)}.")


# ---- one row ----


def _chat(row: dict, roles: dict) -> list[dict]:
    if "messages" in roles:
        turns = as_turns(row.get(roles["messages"]))
        system = as_text(row.get(roles["system"])) if "system" in roles else ""
        if system.strip() and (not turns or turns[0]["role"] != "system"):
            turns.insert(0, {"role": "system", "content": system})
        return [close(turns)]
    if roles["prompt"] not in row and roles["response"] not in row:
        raise Bad("wrong_shape", f"has neither {roles['prompt'][:40]!r} nor {roles['response'][:40]!r}")
    return [close([*_question(row, roles), {"role": "assistant", "content": as_text(row.get(roles["response"]))}])]


def _question(row: dict, roles: dict) -> list[dict]:
    """System, earlier turns and the instruction with its input: what stands before the answer."""
    turns = []
    system = as_text(row.get(roles["system"])) if "system" in roles else ""
    if system.strip():
        turns.append({"role": "system", "content": system})
    history = row.get(roles["history"]) if "history" in roles else None
    for pair in history if isinstance(history, list) else ():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Bad("wrong_roles", "has a history that is not a list of [instruction, answer]")
        turns += [
            {"role": role, "content": as_text(text)} for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
    prompt = as_text(row.get(roles["prompt"]))
    extra = as_text(row.get(roles["input"])) if "input" in roles else ""
    return [*turns, {"role": "user", "content": _joined(prompt, extra)}]


def _joined(prompt: str, extra: str) -> str:
    return f"{prompt}\n\n{extra}" if prompt.strip() and extra.strip() else prompt if prompt.strip() else extra


def _instances(row: dict, roles: dict) -> list[dict]:
    instances = row.get(roles["instances"])
    if not isinstance(instances, list) or not instances:
        raise Bad("empty_response", "has no instances")
    records = []
    for instance in instances:
        if not isinstance(instance, dict):
            raise Bad("wrong_shape", "has an instance that is not an object")
        names = {key.strip().lower(): key for key in instance}
        answer = find("response", names)
        merged = {roles["prompt"]: row.get(roles["prompt"]), "input": instance.get(names.get("input", "input"))}
        turns = _question(merged, {"prompt": roles["prompt"], "input": "input"})
        records.append(close([*turns, {"role": "assistant", "content": as_text(instance.get(answer))}]))
    return records


def _text(row: dict, roles: dict) -> list[dict]:
    text = as_text(row.get(roles["text"]))
    if not text.strip():
        raise Bad("empty_response", "has no text")
    return [{"text": text}]


def _classify(row: dict, roles: dict) -> list[dict]:
    text, label = as_text(row.get(roles["text"])), as_text(row.get(roles["label"])).strip()
    if not text.strip():
        raise Bad("empty_instruction", "has no text")
    if not label:
        raise Bad("empty_response", "has no label")
    if len(label) > 200:
        raise Bad("wrong_shape", "has a label of over 200 characters")
    return [{"text": text, "label": label}]


def _preference(row: dict, roles: dict) -> list[dict]:
    chosen, rejected = row.get(roles["chosen"]), row.get(roles["rejected"])
    prompt = None
    if "messages" in roles:
        prompt = as_turns(row.get(roles["messages"]))
    elif "prompt" in roles and isinstance(row.get(roles["prompt"]), list):
        prompt = as_turns(row[roles["prompt"]])
    elif "prompt" in roles:
        prompt = _question(row, roles)
    elif isinstance(chosen, str) and isinstance(rejected, str):
        chosen, rejected = parse_transcript(chosen), parse_transcript(rejected)
    (before, good), (other, bad) = strip_prompt(chosen, prompt), strip_prompt(rejected, prompt)
    if before != other:
        raise Bad("wrong_roles", "has a chosen and a rejected answer to different prompts")
    if good.strip() == bad.strip():
        raise Bad("same_answers", "has the same text as chosen and as rejected")
    if not good.strip() or not bad.strip():
        raise Bad("empty_response", "has an empty answer")
    checked = close([*before, {"role": "assistant", "content": good}])
    return [{"messages": checked["messages"][:-1], "chosen": good, "rejected": bad}]


_CONVERTERS = {
    "chat": _chat,
    "instances": _instances,
    "text": _text,
    "classify": _classify,
    "preference": _preference,
}
