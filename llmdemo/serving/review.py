"""Kept requests that an owner has reviewed become records of a data set: a new version of one, or a first one.

A chat's answer is learned as it was corrected, else as it was given; a pair of answers, or an answer and its correction,
is a preference; a classifier's text gets the class that turned out right. Knows no HTTP.
"""

from typing import Any

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.data.append import append_rows, rows_as_dataset
from llmdemo.serving.kept import CLASSIFY, Kept, Text
from llmdemo.settings import Settings

TASKS = ("chat", "preference", "classify")
_MOST = 100_000


def make_dataset(
    home: Home, settings: Settings, kept: Kept, name: str, task: str, dataset_id: str = "", title: str = ""
) -> data.DatasetInfo:
    """What was taken of the requests of a served name: a new version of `dataset_id`, or a data set called `title`.

    A request goes into a data set once. Raises UserError where nothing was taken, or nothing of it is of that task.
    """
    if task not in TASKS:
        raise UserError("err_review_task", given=repr(str(task)[:40]), known=TASKS)
    texts, _ = kept.page(name, "taken", 0, _MOST)
    rows = [(text.number, row) for text in reversed(texts) if (row := row_of(text, task)) is not None]
    if not rows:
        raise UserError("err_review_nothing", name=name, taken=len(texts), task=task)
    records = [row for _, row in rows]
    if dataset_id:
        info = append_rows(home, settings, dataset_id, records, task, say("data_change_requests", n=len(rows)))
    else:
        info = rows_as_dataset(home, settings, records, title or name, task, {"served": name})
    kept.used([number for number, _ in rows], info.dataset_id)
    return info


def row_of(text: Text, task: str) -> dict[str, Any] | None:
    """The raw record of a kept request for a task; None where it says nothing for that task."""
    if (text.kind == CLASSIFY) != (task == "classify"):
        return None
    if task == "classify":
        return {"text": text.prompt, "label": text.correction or text.answers[0]}
    answer = _answer(text)
    if task == "chat":
        return {"messages": [*text.prompt, {"role": "assistant", "content": answer}]} if answer.strip() else None
    chosen, rejected = _pair(text)
    unlike = chosen.strip() and rejected.strip() and chosen.strip() != rejected.strip()
    return {"prompt": text.prompt, "chosen": chosen, "rejected": rejected} if unlike else None


def _answer(text: Text) -> str:
    """What is to be learned: the correction, else the answer that was found better, else the one that was given."""
    if text.correction is not None:
        return text.correction
    return text.beside if text.better == "beside" and text.beside else text.answers[text.choice]


def _pair(text: Text) -> tuple[str, str]:
    """(the better answer, the worse one); empty where neither is."""
    given = text.answers[text.choice]
    if text.correction is not None:
        return text.correction, given
    if text.beside and text.better in ("now", "beside"):
        return (given, text.beside) if text.better == "now" else (text.beside, given)
    return "", ""
