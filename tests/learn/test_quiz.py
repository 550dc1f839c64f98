"""The quiz: anonymous answers are kept once, bounded, and become the teacher's table; anything else is refused."""

import csv
import io

import pytest

from llmdemo.core.errors import UserError
from llmdemo.learn import quiz

CODE = "0123456789abcdef"
RIGHT = [0] * 10


def test_answers_before_and_after_become_a_table_without_codes(home):
    quiz.submit(home, CODE, "before", [0, 1, None, *[2] * 7])
    quiz.submit(home, "f" * 18, "before", RIGHT)
    assert quiz.submit(home, CODE, "after", [0] * 9 + [1]) == 3
    text = quiz.table(home, RIGHT)
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0][:4] == ["pupil", "phase", "right", "question_1"]
    assert [row[:3] for row in rows[1:]] == [["1", "before", "1"], ["2", "before", "10"], ["1", "after", "9"]]
    assert rows[1][3:6] == ["1", "0", "0"] and CODE not in text


def test_the_first_answers_of_a_pupil_count(home):
    quiz.submit(home, CODE, "before", RIGHT)
    assert quiz.submit(home, CODE, "before", [1] * 10) == 1
    assert quiz.read(home)[0]["answers"] == RIGHT


def test_a_line_that_was_not_written_whole_is_left_out(home):
    quiz.submit(home, CODE, "before", RIGHT)
    with open(home.root / "quiz.jsonl", "a") as file:
        file.write('{"code": "01')
    assert len(quiz.read(home)) == 1


@pytest.mark.parametrize(
    ("code", "phase", "answers"),
    [
        ("=cmd()", "before", RIGHT),
        (None, "before", RIGHT),
        (CODE, "during", RIGHT),
        (CODE, "before", RIGHT[1:]),
        (CODE, "before", [3, *RIGHT[1:]]),
        (CODE, "before", [True, *RIGHT[1:]]),
        (CODE, "before", "0000000000"),
    ],
)
def test_what_the_page_never_sends_is_refused(code, phase, answers, home):
    with pytest.raises(UserError):
        quiz.submit(home, code, phase, answers)
    assert quiz.read(home) == []


def test_answers_have_a_bound(home, monkeypatch):
    monkeypatch.setattr(quiz, "_MOST_BYTES", 10)
    quiz.submit(home, CODE, "before", RIGHT)
    with pytest.raises(UserError, match="no room"):
        quiz.submit(home, CODE, "after", RIGHT)
