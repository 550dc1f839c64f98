"""One held-out record with what each model did, as numbers and texts."""

import math

from llmdemo.evaluation.compare import record_of, summary
from llmdemo.evaluation.heldout import Example

LINE = {
    "loss": 3.0,
    "labels": 2,
    "bytes": 8,
    "cut": False,
    "whole": True,
    "text": "Rome",
    "tokens": 1,
    "ended": True,
    "long": False,
}


def asked(*turns):
    """An example with these turns before the answer Paris."""
    prompt = [{"role": role, "content": content} for role, content in turns]
    return Example(0, 1, [*prompt, {"role": "assistant", "content": "Paris"}], prompt, "Paris")


def test_the_table_shows_the_last_question_and_a_judge_the_whole_conversation():
    record = record_of(
        asked(
            ("system", "Be brief."), ("user", "Capital of Italy?"), ("assistant", "Rome"), ("user", "And of France?")
        ),
        [LINE],
    )
    assert record["prompt"] == "And of France?"
    assert record["instruction"] == (
        "System: Be brief.\n\nUser: Capital of Italy?\n\nAssistant: Rome\n\nUser: And of France?"
    )
    assert record_of(asked(("user", "Capital of France?")), [LINE])["instruction"] == "Capital of France?"


def test_bits_per_byte_are_of_the_records_that_neither_model_read_in_part():
    lines = [[LINE, LINE], [LINE, {**LINE, "loss": 1.0, "labels": 1, "cut": True, "whole": False}]]
    records = [record_of(asked(("user", "Capital of France?")), pair) for pair in lines]
    figures = {figure["key"]: figure for figure in summary(records, 2, 7)}
    assert figures["bits_per_byte"]["n"] == 1
    assert figures["bits_per_byte"]["values"] == [3 / 8 / math.log(2)] * 2
    assert figures["loss"]["n"] == 2 and figures["loss"]["values"] == [6 / 4, 4 / 3]
    assert records[1]["cut"] == [False, True]


def test_an_answer_that_is_any_of_several_right_ones_is_right():
    prompt = [{"role": "user", "content": "Who won?"}]
    several = Example(0, 1, prompt, prompt, "Denver Broncos", ("The Broncos", "Broncos of Denver"))
    record = record_of(several, [{**LINE, "text": "The Broncos"}, {**LINE, "text": "Chiefs"}])
    assert record["exact"] == [True, False] and record["normalised"] == [True, False] and record["f1"] == [1.0, 0.0]
    assert record["rouge_l"] == [1.0, 0.0] and record["chrf"][0] == 100.0
    assert record["reference"] == "Denver Broncos" and record["alternatives"] == ["The Broncos", "Broncos of Denver"]
    figures = {figure["key"]: figure["values"] for figure in summary([record], 2, 7)}
    assert figures["exact"] == figures["f1"] == [1.0, 0.0] and figures["chrf"][0] == 100.0


def test_f1_is_of_short_answers_in_words_alone():
    prompt = [{"role": "user", "content": "As JSON?"}]
    record = record_of(Example(0, 1, prompt, prompt, '{"a": 1}'), [LINE])
    assert record["f1"] == [None] and record["exact"] == [False]
    assert "f1" not in {figure["key"] for figure in summary([record], 1, 7)}
