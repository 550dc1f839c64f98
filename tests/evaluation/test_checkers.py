"""Each checker on answers that are right and wrong, and on what must not raise."""

import time

import pytest

from llmdemo.core.errors import UserError
from llmdemo.evaluation.checkers import checker_of
from llmdemo.settings.evaluation_decoding import CheckerSpec

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("spec", "answer", "right", "verdict"),
    [
        ("exact", " Paris ", ["Paris"], True),
        ("exact", "paris", ["Paris"], False),
        ("normalised", "The Paris.", ["paris"], True),
        ("normalised", '{"b": 1, "a": 2}', ['{"a": 2, "b": 1}'], True),
        ("normalised", "x", ["", "X"], True),
        ("normalised", "x", [""], None),
        ("number", "12 apples and 7 pears make 19", ["19"], True),
        ("number", "19 or 20", ["19"], False),
        ("number", "It is 1,000.0", ["#### 1000"], True),
        ("number", "none", ["19"], False),
        ("number", "19", ["nineteen"], None),
        ("contains", "It's PARIS, I think", ["Paris"], True),
        ({"kind": "contains", "text": "sorry"}, "Sorry, no", [""], True),
        ("contains", "x", [""], None),
        ({"kind": "regex", "pattern": r"\(([A-D])\)"}, "not (A) but (B)", ["(B)"], True),
        ({"kind": "regex", "pattern": r"\(([A-D])\)"}, "(A)", ["B"], False),
        ({"kind": "regex", "pattern": r"\(([A-D])\)"}, "(B)", ["B"], True),
        ({"kind": "regex", "pattern": r"\d{3}"}, "call 911", [""], True),
        ({"kind": "regex", "pattern": r"\d{3}"}, "call me", [""], False),
        ({"kind": "json_schema", "schema": PERSON}, '{"name": "Ann", "age": 3}', [], True),
        ({"kind": "json_schema", "schema": PERSON}, '```json\n{"name": "Ann"}\n```', [], True),
        ({"kind": "json_schema", "schema": PERSON}, '{"name": "ann"}', [], False),
        ({"kind": "json_schema", "schema": PERSON}, '{"name": "Ann", "age": -1}', [], False),
        ({"kind": "json_schema", "schema": PERSON}, '{"name": "Ann", "x": 1}', [], False),
        ({"kind": "json_schema", "schema": PERSON}, "Ann is 3", [], False),
        ({"kind": "json_schema", "schema": PERSON}, "[" * 100_000, [], False),
        ({"kind": "json_schema", "schema": {"$ref": "http://127.0.0.1:1/x.json"}}, "{}", [], False),
        ({"kind": "json_schema", "schema": {"pattern": "(?=a)"}}, '"a"', [], False),
        ({"kind": "json_schema", "schema": {"not": {}}}, "1", [], False),
        ("json", '```json\n{"a": [1, null]}\n```', ["anything"], True),
        ("json", '{"a": NaN}', [], False),
        ("json", "{'a': 1}", [], False),
        ("expression", "So it is\n(3 + 4) * 2 = 14", ["14"], True),
        ("expression", "2 * (x + 3) ^ 2", ["x=0: 18; x=1: 32"], True),
        ("expression", "18 + 14 * x", ["x=0: 18; x=1: 32; x=2: 50"], False),
        ("expression", "a paragraph", ["14"], False),
        ("expression", "14", ["a paragraph"], None),
    ],
)
def test_an_answer_is_right_wrong_or_cannot_be_told(spec, answer, right, verdict):
    assert checker_of(CheckerSpec.from_value(spec))(answer, right) is verdict


def test_a_pattern_in_a_schema_that_would_explode_takes_no_time():
    checked = checker_of(CheckerSpec.from_value({"kind": "json_schema", "schema": {"pattern": "^(a+)+$"}}))
    started = time.perf_counter()
    assert checked('"' + "a" * 5000 + 'b"', []) is False
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "value",
    [
        "luck",
        7,
        {"kind": "regex"},
        {"kind": "regex", "pattern": "("},
        {"kind": "json_schema"},
        {"kind": "json_schema", "schema": "{}"},
        {"kind": "json_schema", "schema": {"type": "nothing"}},
        {"kind": "json_schema", "schema": {"enum": ["x" * 30_000]}},
        {"kind": "number", "shell": "rm"},
    ],
)
def test_a_checker_that_cannot_be_is_a_sentence(value):
    with pytest.raises(UserError) as caught:
        CheckerSpec.from_value(value)
    assert caught.value.hint


def test_a_schema_that_is_nested_too_deep_is_a_sentence():
    schema = {}
    for _ in range(40):
        schema = {"not": schema}
    with pytest.raises(UserError, match="deeper than 32"):
        CheckerSpec.from_value({"kind": "json_schema", "schema": schema})


@pytest.mark.parametrize("kind", ["normalised", "exact", "number", "contains", "json", "expression"])
def test_no_checker_raises_for_any_text(kind):
    checked = checker_of(CheckerSpec(kind))
    odd = [
        "",
        "\x00",
        "[" * 5000,
        "1" * 5000,
        "9" * 400 + "e999999",
        "1/0",
        "(" * 300,
        "\ud800",
        "NaN",
        "x=1: 2; x",
        "2^9^9^9",
    ]
    for answer in odd:
        for right in odd:
            assert checked(answer, [right]) in (True, False, None)
