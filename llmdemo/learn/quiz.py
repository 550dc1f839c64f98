"""The quiz's answers, anonymous: one line of JSON each, bounded, and as a table for the teacher. Knows no page and no question.

A code that the browser made up joins what the same pupil answered before and after; nothing else of them is kept.
"""

import csv
import io
import re

from llmdemo.core.errors import UserError
from llmdemo.core.json_lines import append_lines, read_lines
from llmdemo.core.store import Home, locked

PHASES = ("before", "after")
QUESTIONS, CHOICES = 10, 3
_MOST_BYTES = 2**20
"""Some 10,000 answers."""
_CODE = re.compile(r"[0-9a-f]{8,32}")


def submit(home: Home, code, phase, answers) -> int:
    """Keeps one pupil's answers (from 0; None where left out); returns how many there are now. The same code and phase again
    replaces nothing: the first counts. Raises UserError for anything else, and when there is no more room."""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise UserError("err_quiz_code")
    if phase not in PHASES:
        raise UserError("err_quiz_phase", phase=repr(str(phase)[:40]), names=list(PHASES))
    if not isinstance(answers, list) or len(answers) != QUESTIONS or not all(map(_is_answer, answers)):
        raise UserError("err_quiz_answers", questions=QUESTIONS, most=CHOICES - 1)
    path = home.root / "quiz.jsonl"
    with locked(home.root / "quiz.lock"):
        if path.is_file() and path.stat().st_size > _MOST_BYTES:
            raise UserError("err_quiz_full")
        known = read(home)
        if not any((each["code"], each["phase"]) == (code, phase) for each in known):
            known.append({"code": code, "phase": phase, "answers": answers})
            append_lines(path, known[-1:])
        return len(known)


def read(home: Home) -> list[dict]:
    """All answers in the order in which they came; a line that was not written whole is left out."""
    return list(read_lines(home.root / "quiz.jsonl"))


def table(home: Home, right: list[int]) -> str:
    """CSV: pupil (numbered from 1 in the order of arrival, not the code), phase, right answers, then each question's 1 or 0.

    right: the right choice of each question.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["pupil", "phase", "right", *(f"question_{n + 1}" for n in range(QUESTIONS))])
    numbers: dict[str, int] = {}
    for each in read(home):
        number = numbers.setdefault(each["code"], len(numbers) + 1)
        marks = [int(answer == wanted) for answer, wanted in zip(each["answers"], right, strict=True)]
        writer.writerow([number, each["phase"], sum(marks), *marks])
    return text.getvalue()


def _is_answer(answer) -> bool:
    return answer is None or (type(answer) is int and 0 <= answer < CHOICES)
