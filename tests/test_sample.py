"""The sample data set: well formed, checkable by a program, and honest (nothing held out is shown in training).

Sentence forms and word lists are worked out from the records alone: a record's form is its message with
the values of its answer cut out.
"""

import json
import re
import unicodedata
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "assets" / "sample-messages.json"
CARD = ROOT / "assets" / "sample-messages.md"
KEYS = ["type", "who", "what", "when", "amount"]
TYPES = {"meeting", "task", "payment", "delivery"}
# Words that hold no content of their own: a held-out value may share these with a training value.
COMMON = set(
    re.findall(r"\w+", "a ago am and at by for half in last my next of on past pm quarter the this to two with")
)


@pytest.fixture(scope="module")
def records():
    return json.loads(SAMPLE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def splits(records):
    return tuple([record for record in records if record["split"] == name] for name in ("train", "eval"))


def answer(record) -> dict:
    return json.loads(record["output"])


def pattern(value) -> str:
    """A regular expression for `value` as whole words (12 is not found in 12.45, nor "ham" in "hammer")."""
    return rf"(?<![\w.]){re.escape(str(value))}(?![\w]|[.:]\d)"


def values(record) -> dict:
    """The answer's values that were copied from the message: every key but the label, without nulls."""
    return {key: value for key, value in answer(record).items() if key != "type" and value is not None}


def form(record) -> str:
    """The message with its values cut out, in lower case: "<who> owes me $<amount> for <what>."."""
    text = record["input"]
    for key, value in sorted(values(record).items(), key=lambda item: -len(str(item[1]))):
        text = re.sub(pattern(value), f"<{key}>", text)
    return re.sub(r"\b(on|in) <when>", "<when>", text).lower()  # "on Monday", "in May" and "tomorrow" are one form


def words(records) -> set[str]:
    """The content words of all values in lower case; numbers are compared as whole values instead."""
    texts = [str(value) for record in records for value in values(record).values()]
    return {word for text in texts for word in re.findall(r"[^\W\d_]+", text.lower())} - COMMON - {"s"}


def test_there_are_at_least_400_records_and_enough_held_out_to_measure_on(splits):
    train, held_out = splits
    assert len(train) + len(held_out) >= 400
    assert len(held_out) >= 80


def test_every_record_has_the_four_fields_and_a_known_split(records):
    for record in records:
        assert list(record) == ["instruction", "input", "output", "split"]
        assert record["split"] in ("train", "eval")
        assert record["instruction"] == "Turn this message into JSON."


def test_the_text_is_clean(records):
    for text in (value for record in records for value in record.values()):
        assert text == text.strip() == unicodedata.normalize("NFC", text)
        assert not set(text) - {"\n", "£"} - set(map(chr, range(32, 127))), text
        assert "  " not in text and not re.search(r"[{<>]", text.replace('{"type"', "")), text


def test_every_answer_is_the_compact_form_with_the_fixed_keys(records):
    for record in records:
        found = answer(record)
        assert list(found) == KEYS
        assert json.dumps(found, separators=(",", ":")) == record["output"]
        assert found["type"] in TYPES
        assert isinstance(found["what"], str)
        assert all(found[key] is None or isinstance(found[key], str) for key in ("who", "when"))
        assert (type(found["amount"]) in (int, float)) == (found["type"] == "payment")


def test_every_value_is_copied_from_the_message_and_stands_there_once(records):
    for record in records:
        for key, value in values(record).items():
            assert len(re.findall(pattern(value), record["input"])) == 1, (key, value, record["input"])


def test_a_time_is_given_without_its_preposition(records):
    for record in records:
        assert not re.match(r"(?i)(on|at|by|in|before|from|until) ", answer(record)["when"] or ""), record


def test_no_message_comes_twice(records):
    assert not [text for text, count in Counter(record["input"].lower() for record in records).items() if count > 1]


def test_there_are_many_sentence_forms(splits):
    train, held_out = splits
    assert len(set(map(form, train))) >= 100
    assert len(set(map(form, held_out))) >= 40
    assert max(Counter(map(form, train)).values()) <= 6


def test_the_types_are_balanced(splits):
    for part in splits:
        counts = Counter(answer(record)["type"] for record in part)
        assert min(counts.values()) >= len(part) / 5, counts


def test_no_held_out_form_is_near_a_training_form(splits):
    train, held_out = ({tuple(re.findall(r"<\w+>|\w+|[^\w\s]", form(record))) for record in part} for part in splits)
    for one in held_out:
        for other in train:
            pair = SequenceMatcher(None, one, other, autojunk=False)
            assert pair.quick_ratio() < 0.8 or pair.ratio() < 0.8, (" ".join(one), " ".join(other))


def test_no_held_out_value_is_in_any_training_message(splits):
    train, held_out = splits
    text = "\n".join(record["input"] for record in train)
    for value in {str(value) for record in held_out for value in values(record).values()}:
        assert not re.search(pattern(value), text, re.IGNORECASE), value


def test_names_things_places_and_times_share_no_word_across_the_split(splits):
    train, held_out = splits
    assert not words(train) & words(held_out)


def test_records_are_short_enough_for_a_quick_run(records):
    for record in records:
        assert len(record["input"]) <= 90, record["input"]
        assert len(record["output"]) <= 130, record["output"]
    mean = sum(len(record["input"]) + len(record["output"]) for record in records) / len(records)
    assert mean <= 145, mean


def test_the_card_says_what_it_is_and_names_the_licence_of_the_project(splits):
    card = CARD.read_text(encoding="utf-8")
    train, held_out = splits
    assert "Apache-2.0" in card and "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    for number in (len(train), len(held_out), len(set(map(form, train))), len(set(map(form, held_out)))):
        assert re.search(rf"\b{number}\b", card), number
