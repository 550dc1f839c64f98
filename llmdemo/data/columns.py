"""The names that columns go by, and which of a file's columns play which role. Knows no files.

A mapping is a dict from role to column name. Roles: messages, instances, prompt, input, response, system,
history, chosen, rejected, text, label, split.
"""

from llmdemo.errors import UserError

ROLES = {
    "messages": ("messages", "conversations", "conversation", "dialog", "dialogue", "dialogs", "chat", "turns", "data"),
    "instances": ("instances",),
    "prompt": ("instruction", "prompt", "question", "query", "problem", "user", "human", "request", "input", "source"),
    "input": ("input", "context"),
    "response": (
        "output", "response", "completion", "answer", "reply", "assistant", "solution", "answers", "gpt", "target",
    ),
    "system": ("system", "system_prompt"),
    "history": ("history",),
    "chosen": ("chosen", "chosen_response"),
    "rejected": ("rejected", "rejected_response"),
    "text": ("text", "content", "sentence", "document", "review", "message", "body", "sms", "comment", "tweet"),
    "label": ("label", "labels", "category", "class", "sentiment", "intent", "tag", "label_text", "target", "topic"),
    "split": ("split",),
}  # fmt: skip
KNOWN = {name for names in ROLES.values() for name in names}
TASK_ROLES = {
    "chat": ("prompt", "response"),
    "classify": ("text", "label"),
    "text": ("text",),
    "preference": ("prompt", "chosen", "rejected"),
}
"""What has to be mapped by hand for each task, where no names are known."""


class ColumnsNeeded(UserError):
    """The columns' names are not known: the person must say which is which.

    `columns` are the file's, `guess` is a mapping to preselect, `task` the guessed task.
    """

    def __init__(self, columns: list[str], guess: dict[str, str], task: str):
        shown = ", ".join(repr(column[:40]) for column in columns[:8])
        super().__init__(
            f"The columns {shown} are not known here.",
            "Say which one holds the instruction and which the answer (or text and label), or rename them.",
        )
        self.columns, self.guess, self.task = columns, guess, task


def find(role: str, columns: dict[str, str]) -> str | None:
    """The file's column that plays `role`, by its name; `columns` maps lower-case names to the file's own."""
    return next((columns[name] for name in ROLES[role] if name in columns), None)


def check_mapping(mapping: dict, columns: list[str]) -> dict[str, str]:
    """The mapping without empty entries; raises UserError for unknown roles or columns."""
    mapping = {role: column for role, column in mapping.items() if column}
    for role, column in mapping.items():
        if role not in ROLES:
            raise UserError(f"{str(role)[:40]!r} is no role of a column.", f"Roles are {', '.join(ROLES)}.")
        if column not in columns:
            raise UserError(
                f"There is no column {str(column)[:40]!r}.",
                f"The file has {', '.join(repr(c[:40]) for c in columns[:12])}.",
            )
    return mapping


def guess(rows: list[dict], columns: list[str]) -> tuple[dict[str, str], str, bool]:
    """(mapping, task, sure) for columns without known names, from what they hold.

    Two columns of which one has few, short, recurring values are text and label: that is sure. Otherwise the
    column with the longest cells is guessed to be the answer and the first other one the instruction.
    """
    cells = {column: [str(row.get(column) or "") for row in rows] for column in columns}
    length = {column: sum(map(len, values)) / max(1, len(values)) for column, values in cells.items()}
    few = [
        column
        for column, values in cells.items()
        if len(set(values)) <= max(2, len(values) // 10) and max(map(len, values), default=0) <= 40
    ]
    if len(columns) == 1:
        return {"text": columns[0]}, "text", True
    label = min(few, key=lambda column: len(set(cells[column])), default=None)
    longest = max((column for column in columns if column != label), key=length.__getitem__)
    if label is not None and len(columns) == 2:
        return {"text": longest, "label": label}, "classify", len(rows) >= 4
    prompt = next(column for column in columns if column != longest)
    return {"prompt": prompt, "response": longest}, "chat", False
