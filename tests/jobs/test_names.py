import pytest

from llmdemo.core.errors import UserError
from llmdemo.jobs.folder import checked_name


@pytest.mark.parametrize("name", ["Receipts", "família 👨‍👩‍👧", "می‌خواهم", "模型", "🏳️‍🌈 run", "x" * 100])
def test_names_in_all_scripts_and_emoji_of_several_parts_are_taken(name):
    assert checked_name(f"  {name}\n", "run") == name


@pytest.mark.parametrize(
    "name, said", [("a\u202eb", "U+202E RIGHT-TO-LEFT OVERRIDE"), ("a\x1bb", "U+001B"), ("\ud800", "U+D800")]
)
def test_a_character_that_cannot_be_shown_is_named(name, said):
    with pytest.raises(UserError, match="cannot be shown") as caught:
        checked_name(name, "run")
    assert said in caught.value.message


@pytest.mark.parametrize("name, length", [("", 0), (" \t", 0), ("x" * 101, 101)])
def test_a_name_of_the_wrong_length_is_told_its_length(name, length):
    with pytest.raises(UserError, match=f"this one has {length}"):
        checked_name(name, "run")
