"""The names that columns go by, and which of a file's columns play which role. Knows no files.

A mapping is a dict from role to column name. Roles: messages, instances, prompt, input, response, system,
history, tools, chosen, rejected, desired (KTO's true or false), text, label, split, alternatives (other right answers), kind
(what a held-out draw is stratified by).
"""

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say

ROLES = {
    "messages": (
        "messages", "conversations", "conversation", "dialog", "dialogue", "dialogs", "chat", "turns", "data", "對話", "对话",
    ),
    "instances": ("instances",),
    "prompt": (
        "instruction", "prompt", "question", "query", "problem", "user", "human", "request", "input", "source",
        "指令", "問題", "问题", "提問", "提问", "提示", "提示詞", "提示词", "問", "问", "題目", "题目", "輸入", "输入",
    ),
    "input": ("input", "context", "輸入", "输入"),
    "response": (
        "output", "response", "completion", "answer", "reply", "assistant", "solution", "answers", "gpt", "target",
        "輸出", "输出", "回答", "答案", "答覆", "答复", "回覆", "回复", "回應", "回应", "答",
    ),
    "system": ("system", "system_prompt", "系統", "系统"),
    "history": ("history",),
    "tools": ("tools", "functions"),
    "chosen": ("chosen", "chosen_response", "preferred_output"),
    "rejected": ("rejected", "rejected_response", "non_preferred_output"),
    "desired": ("kto_tag", "desirable", "is_desirable"),
    "text": (
        "text", "content", "sentence", "document", "review", "message", "body", "sms", "comment", "tweet",
        "文字", "文本", "內容", "内容", "句子", "評論", "评论",
    ),
    "label": (
        "label", "labels", "category", "class", "sentiment", "intent", "tag", "label_text", "target", "topic",
        "標籤", "标签", "類別", "类别", "分類", "分类", "情感", "情緒", "情绪", "意圖", "意图",
    ),
    "split": ("split",),
    "alternatives": ("other_answers", "acceptable_answers", "answer_aliases"),
    "kind": (
        "kind", "task", "task_type", "task_name", "category", "categories", "type", "question_type", "subject", "topic",
        "source", "sources", "data_source", "dataset", "dataset_name", "subset", "origin", "domain", "lang", "language",
        "任務", "任务", "類別", "类别", "分類", "分类", "類型", "类型", "主題", "主题", "來源", "来源", "出處", "出处",
    ),
}  # fmt: skip
PROVENANCE = frozenset((
    "", "id", "ids", "idx", "index", "uid", "uuid", "guid", "_id", "row_id", "number", "no", "no.", "unnamed: 0",
    "__index_level_0__", "prompt_id", "conversation_id", "doc_id", "docid", "question_id", "hash", "md5", "sha256",
    "title", "name", "source", "sources", "origin", "url", "urls", "link", "uri", "domain", "website", "file", "filename",
    "file_name", "file_path", "path", "dump", "dataset", "dataset_name", "data_source", "subset", "author", "authors", "user_id",
    "username", "creator", "annotator", "worker_id", "contributor", "publisher", "model", "model_name", "licence", "license",
    "copyright", "lang", "language", "language_score", "date", "datetime", "time", "timestamp", "created", "created_at",
    "updated_at", "year", "meta", "metadata", "token_count", "n_tokens", "num_tokens", "length", "score", "quality",
    "編號", "编号", "序號", "序号", "來源", "来源", "出處", "出处", "網址", "网址", "作者", "授權", "授权", "日期", "時間", "时间",
))  # fmt: skip
"""Names of columns that tell where a record comes from: never guessed to be a question, an answer or a text."""
KNOWN = {name for names in ROLES.values() for name in names}
TASK_ROLES = {
    "chat": ("prompt", "response"),
    "classify": ("text", "label"),
    "text": ("text",),
    "preference": ("prompt", "chosen", "rejected"),
}
"""What has to be mapped by hand for each task, where no names are known."""
_TOLD_OF = ("split", "alternatives", "kind")
"""Roles that tell about a record or its answer: a column that plays another role can play these too."""


class ColumnsNeeded(UserError):
    """The columns' names are not known: the person must say which is which.

    `columns` are the file's, `guess` is a mapping to preselect, `task` the guessed task.
    """

    def __init__(self, columns: list[str], guess: dict[str, str], task: str, reason: str = ""):
        super().__init__(
            reason or say("err_unknown_columns", columns=shown_columns(columns)),
            say("err_columns_needed_to_go_on"),
        )
        self.columns, self.guess, self.task = columns, guess, task


def shown_columns(columns: list[str]) -> str:
    """The first columns' names for a sentence."""
    shown = ", ".join(repr(column[:40]) for column in columns[:8])
    return say("columns_and_more", columns=shown, n=len(columns) - 8) if len(columns) > 8 else shown


def find(role: str, columns: dict[str, str]) -> str | None:
    """The file's column that plays `role`, by its name; `columns` maps lower-case names to the file's own."""
    return next((columns[name] for name in ROLES[role] if name in columns), None)


def check_mapping(mapping: dict, columns: list[str]) -> dict[str, str]:
    """The mapping without empty entries; raises UserError for unknown roles or columns, and for one column in two roles:
    with the instruction as its answer a model would learn to repeat."""
    if not isinstance(mapping, dict):
        raise UserError("err_columns_no_object")
    mapping = {role: column for role, column in mapping.items() if column}
    played: dict[str, str] = {}
    for role, column in mapping.items():
        if role not in ROLES:
            raise UserError("err_no_role", role=repr(str(role)[:40]), names=list(ROLES))
        if column not in columns:
            raise UserError("err_no_column", column=repr(str(column)[:40]), names=[repr(c[:40]) for c in columns[:12]])
        if role not in _TOLD_OF and (first := played.setdefault(column, role)) != role:
            raise UserError("err_column_twice", column=repr(column[:40]), first=first, second=role)
    return mapping


_ASKS = (
    "question",
    "query",
    "ask",
    "instruction",
    "prompt",
    "request",
    "problem",
    "問",
    "问",
    "指令",
    "提示",
    "題",
    "题",
)
_ANSWERS = (
    "answer",
    "response",
    "reply",
    "output",
    "completion",
    "solution",
    "答",
    "輸出",
    "输出",
    "回覆",
    "回复",
    "回應",
    "回应",
)


def guess(rows: list[dict], columns: list[str]) -> tuple[dict[str, str], str, bool]:
    """(mapping, task, sure) for columns without known names, from what they are called and what they hold.

    Columns that tell where a record comes from play no part where there are others. Two columns of which one has few,
    short, recurring values are text and label: that is sure. Otherwise columns whose names say question or answer are
    guessed to be that; else the column with the longest cells is the answer and the first other one the instruction.
    """
    own = [column for column in columns if column.strip().lower() not in PROVENANCE]
    columns = own or columns
    if len(columns) == 1:
        return {"text": columns[0]}, "text", True
    cells = {column: ["" if row.get(column) is None else str(row[column]) for row in rows] for column in columns}
    length = {column: sum(map(len, values)) / max(1, len(values)) for column, values in cells.items()}
    asks, answers = (_named(columns, names) for names in (_ASKS, _ANSWERS))
    if asks and answers and asks != answers:
        return {"prompt": asks, "response": answers}, "chat", False
    few = [
        column
        for column, values in cells.items()
        if len(set(values)) <= max(2, len(values) // 10) and max(map(len, values), default=0) <= 40
    ]
    label = min(few, key=lambda column: len(set(cells[column])), default=None)
    longest = max((column for column in columns if column != label), key=length.__getitem__)
    if label is not None and len(columns) == 2:
        return {"text": longest, "label": label}, "classify", len(rows) >= 4
    others = [column for column in columns if column not in (longest, answers, asks)]
    if answers:
        return {"prompt": max(others or [longest], key=length.__getitem__), "response": answers}, "chat", False
    if asks:
        rest = [column for column in columns if column != asks]
        return {"prompt": asks, "response": max(rest, key=length.__getitem__)}, "chat", False
    return {"prompt": others[0], "response": longest}, "chat", False


def _named(columns: list[str], words: tuple[str, ...]) -> str | None:
    """The first column whose name has one of these words in it."""
    return next((column for word in words for column in columns if word in column.lower()), None)


def zero_or_one(rows: list[dict], columns: list[str]) -> list[str]:
    """Those of the columns that hold nothing but 0 and 1 (or true and false), and both."""
    found = []
    for column in columns:
        values = {str(row[column]).strip().lower() for row in rows if row.get(column) is not None}
        if len(values) == 2 and values <= {"0", "1", "0.0", "1.0", "true", "false"}:
            found.append(column)
    return found
