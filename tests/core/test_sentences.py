import copy
import json
import pickle

import pytest

from llmdemo.core import sentences
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import Sentence, beside, fill, pack, readable_size, restored, say, together, unpack


@pytest.fixture(autouse=True)
def texts(monkeypatch):
    known = {"a": "{n:,} {n|record|records} of {name}.", "b": "{why} twice.", "both": "{first} {second}"}
    known |= {"list_comma": ", ", "list_or": " or ", "list_and": " and "}
    known |= {"err_a": "{name} is odd.", "err_a_hint": "At most {most:,}."}
    monkeypatch.setattr(sentences, "texts", lambda language="en": known)
    monkeypatch.setattr("llmdemo.core.errors.texts", lambda language="en": known)


def test_a_sentence_is_its_english_text_and_remembers_key_and_values():
    said = say("a", n=1234, name="x")
    assert said == "1,234 records of x." and json.dumps(said) == '"1,234 records of x."'
    assert (said.key, said.values) == ("a", {"n": 1234, "name": "x"})
    assert say("a", n=1, name="x") == say("a", n="1", name="x") == "1 record of x."


def test_lists_are_joined_as_english_joins_them():
    assert fill("{x:or}", {"x": ["a", "b", "c"]}) == "a, b or c"
    assert fill("{x:and}", {"x": ["a", "b"]}) == "a and b" and fill("{x}", {"x": ["a", "b"]}) == "a, b"
    assert fill("{x:or}", {"x": ["a"]}) == "a"


def test_places_without_a_value_stay_and_braces_of_json_are_no_places():
    assert fill('{n} of {all}: {"kind": 1}', {"n": 1}) == '1 of {all}: {"kind": 1}'


def test_what_a_value_says_is_no_template():
    assert say("b", why="{name}") == "{name} twice."


def test_an_unknown_key_is_a_mistake_of_the_code():
    with pytest.raises(KeyError):
        say("nothing")


def test_packed_and_unpacked_it_is_the_same_sentence_also_inside_of_another():
    said = {"rows": [say("b", why=say("a", n=2, name="y"))], "n": 1}
    back = unpack(json.loads(json.dumps(pack(said))))
    assert back == said and back["rows"][0].key == "b"
    assert back["rows"][0].values["why"].values == {"n": 2, "name": "y"}


def test_it_survives_copies_and_pickles():
    said = say("a", n=2, name="y")
    for made in (copy.deepcopy(said), pickle.loads(pickle.dumps(said))):  # noqa: S301 - our own bytes
        assert (made, made.key, made.values) == ("2 records of y.", "a", {"n": 2, "name": "y"})


@pytest.mark.parametrize(
    "packed",
    [
        {"$say": "nothing", "values": {}, "text": "t"},
        {"$say": ["a"], "values": {}, "text": "t"},
        {"$say": "a", "values": [], "text": "t"},
        {"$say": "a", "values": {"n": {"x": 1}}, "text": "t"},
        {"$say": "a", "values": {"n": float("inf")}, "text": "t"},
        {"$say": "a", "values": {str(n): 1 for n in range(50)}, "text": "t"},
    ],
)
def test_of_a_sentence_that_is_none_of_ours_the_text_is_left(packed):
    assert unpack(packed) == "t" and not isinstance(unpack(packed), Sentence)


def test_key_and_values_lie_beside_the_text_and_find_it_again():
    fields = {"message": say("a", n=2, name="y"), "hint": "plain", "n": 3}
    said = json.loads(json.dumps(beside(fields)))
    assert said == {"message": {"$say": "a", "values": {"n": 2, "name": "y"}}}
    back = restored({"message": "2 records of y.", "hint": "plain", "n": 3}, said)
    assert back == fields and back["message"].key == "a"
    assert restored({"message": 1}, said) == {"message": 1} and restored({"message": "x"}, None) == {"message": "x"}


def test_sentences_follow_each_other():
    assert together("One.", "", "Two.", "Three.") == "One. Two. Three." and together("", "") == ""
    assert together("One.", "Two.").values == {"first": "One.", "second": "Two."}


def test_an_error_takes_its_hint_by_the_same_key():
    error = UserError("err_a", name="x", most=1000)
    assert (error.message, error.hint, str(error)) == ("x is odd.", "At most 1,000.", "x is odd. At most 1,000.")
    assert error.message.key == "err_a" and error.hint.key == "err_a_hint"
    assert UserError("err_a", "Do this.", name="x").hint == "Do this."


def test_a_size_stands_in_the_unit_that_suits_it():
    assert [readable_size(n) for n in (12, 4_200, 6_700_000, 1.5e9)] == ["12 B", "4 kB", "7 MB", "1.50 GB"]
