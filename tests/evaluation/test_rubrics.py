"""Criteria that are kept and used again."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.evaluation.rubrics import MOST, drop, keep, rubrics

FIVE = ("1", "2", "3", "4", "5")


def test_a_rubric_is_kept_replaced_by_its_name_and_dropped(home):
    assert rubrics(home) == []
    keep(home, " Tone  of voice ", "Is it polite?", FIVE)
    assert keep(home, "Tone of voice", "Is it kind?", FIVE) == rubrics(home)
    assert [(each["name"], each["criteria"], each["rubric"]) for each in rubrics(home)] == [
        ("Tone of voice", "Is it kind?", list(FIVE))
    ]
    assert drop(home, "nothing") == rubrics(home) and drop(home, "Tone of voice") == []


def test_what_is_no_rubric_or_one_too_many_is_a_sentence_and_a_damaged_file_is_no_hindrance(home):
    for name, scores in (("", FIVE), ("x" * 81, FIVE), ("x", FIVE[:4])):
        with pytest.raises(UserError):
            keep(home, name, "good?", scores)
    (home.root / "evaluations").mkdir(exist_ok=True)
    (home.root / "evaluations" / "rubrics.json").write_text('[{"name": 3}]', encoding="utf-8")
    assert rubrics(home) == [] and len(keep(home, "x", "good?", FIVE)) == 1
    for number in range(MOST - 1):
        keep(home, f"n{number}", "good?", FIVE)
    with pytest.raises(UserError, match="already"):
        keep(home, "one more", "good?", FIVE)
    assert len(keep(home, "x", "better?", FIVE)) == MOST
