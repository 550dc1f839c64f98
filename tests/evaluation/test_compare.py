"""One held-out record with what each model did, as numbers and texts."""

from llmdemo.evaluation.compare import record_of
from llmdemo.evaluation.heldout import Example

LINE = {
    "loss": 3.0,
    "labels": 2,
    "bytes": 8,
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
