import json
import re

import pytest

from llmdemo.core.errors import UserError, first_line, json_reason
from llmdemo.core.sentences import in_language


def test_an_error_says_what_was_got_and_what_to_do():
    error = UserError("The rank is 0.", "Choose 1 or more.")
    assert (error.message, error.hint, str(error)) == (
        "The rank is 0.",
        "Choose 1 or more.",
        "The rank is 0. Choose 1 or more.",
    )


def test_the_hint_may_be_missing():
    assert str(UserError("It is full.")) == "It is full."


@pytest.mark.parametrize(
    ("error", "told"), [(ValueError("one\ntwo"), "one"), (ValueError("  "), "ValueError"), (KeyError("x" * 9), "'xx")]
)
def test_of_a_librarys_error_the_first_line_is_told(error, told):
    assert first_line(error, 3 if told == "'xx" else 160) == told


@pytest.mark.parametrize(
    "broken",
    ["", "{'a': 1}", '{"a" 1}', "[1 2]", "1 2", '"a', '"a\nb"', r'"\x"', r'"\u12"'],
)
def test_what_is_wrong_with_json_is_pythons_own_word_in_english_and_no_english_elsewhere(broken):
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(broken)
    reason = json_reason(caught.value)
    assert reason == caught.value.msg
    assert not re.search("[a-z]{2}", in_language(reason, "zh-TW"))
