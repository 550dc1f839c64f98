"""Forms over a real tokenizer: what they let through and what not, what breaks them, and hostile ones."""

import json
import pickle
import time

import jsonschema
import pytest

from llmdemo.arena import grammar
from llmdemo.arena.grammar import GrammarMasks
from llmdemo.arena.text_side import TextSide
from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings
from llmdemo.settings.lane import LaneSettings

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def lane(**form):
    return LaneSettings("x", "greedy", **form)


def keeps(tokenizer, text, **form):
    """(may every token of `text` follow those before it, may it end there)."""
    masks, ids = GrammarMasks(tokenizer, lane(**form)), tokenizer.encode(text, add_special_tokens=False)
    for place, token in enumerate(ids):
        bits = masks.allowed(ids[:place])
        if not bits or not bits[token >> 3] >> (token & 7) & 1:
            return False, False
    return True, masks.complete(ids)


@pytest.mark.parametrize(
    ("form", "whole", "begun", "wrong"),
    [
        ({"json_schema": PERSON}, '{"name": "Zoë 🦊", "age": 7}', '{"name": "A', '{"name": "A", "age": 100}'),
        ({"json_schema": PERSON}, '{"name":"","age":0}', '{\n  "name":', '{"age": 1'),
        ({"regex": r"[A-Z]{2}-\d+"}, "AB-12", "AB-", "AB-x"),
        ({"choice": ("yes", "no", 'say "no"\n')}, 'say "no"\n', "n", "maybe"),
        ({"choice": ("ab", "abc")}, "ab", "a", "abd"),
    ],
)
def test_a_text_of_the_form_passes_and_another_does_not(tiny_tokenizer, form, whole, begun, wrong):
    assert keeps(tiny_tokenizer, whole, **form) == (True, True)
    assert keeps(tiny_tokenizer, begun, **form) == (True, False)
    assert keeps(tiny_tokenizer, wrong, **form) == (False, False)


def test_blanks_between_the_parts_of_json_cannot_go_on_for_ever(tiny_tokenizer):
    assert keeps(tiny_tokenizer, '{"name":    "A"', json_schema=PERSON) == (False, False)


def test_a_mask_does_not_depend_on_what_was_asked_before(tiny_tokenizer):
    """Beams ask about one text after another: each answer is that of a fresh parser."""
    asked = ["", '{"name', '{"name": "A', '{"name": "B", ', "{", '{"age', '{"name": "A"', ""]
    texts = [tiny_tokenizer.encode(text, add_special_tokens=False) for text in asked]
    one = GrammarMasks(tiny_tokenizer, lane(json_schema=PERSON))
    for ids in texts:
        fresh = GrammarMasks(tiny_tokenizer, lane(json_schema=PERSON))
        assert one.allowed(ids) == fresh.allowed(ids) and one.complete(ids) == fresh.complete(ids)


def test_a_mask_that_goes_on_from_another_text_is_found_out(tiny_tokenizer, monkeypatch):
    def follow(self, said):  # forgets to go back
        rest = list(said[len(self._said) :])
        self._said += rest
        return self._matcher.try_consume_tokens(rest) == len(rest)

    monkeypatch.setattr(grammar.GrammarMasks, "_follow", follow)
    with pytest.raises(AssertionError):
        test_a_mask_does_not_depend_on_what_was_asked_before(tiny_tokenizer)


def test_a_token_that_ends_texts_is_never_a_part_of_one(tiny_tokenizer):
    masks = GrammarMasks(tiny_tokenizer, lane(regex=".*"))
    end = tiny_tokenizer.eos_token_id
    assert not masks.allowed([])[end >> 3] >> (end & 7) & 1
    assert masks.complete([]) and not masks.complete([end]) and masks.allowed([end]) == b""


@pytest.mark.parametrize(
    "form",
    [
        {"json_schema": {"allOf": [{"type": "string"}, {"type": "number"}]}},
        {"json_schema": {"type": "integer", "minimum": 5, "maximum": 3}},
        {"json_schema": {"type": "object", "properties": {"a": False}, "required": ["a"]}},
        {"json_schema": {"$ref": "http://example.com/schema.json"}},
        {"json_schema": {"not": {"type": "string"}}},
        {"regex": r"[^\s\S]"},
        {"regex": "("},
        {"regex": "(?=a)b"},
    ],
)
def test_a_form_that_no_text_has_or_that_cannot_be_read_is_refused_with_a_reason(tiny_tokenizer, form):
    with pytest.raises(UserError, match="json_schema|regex") as caught:
        GrammarMasks(tiny_tokenizer, lane(**form))
    assert len(caught.value.message) < 300 and "Parser:" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    "pattern", ["(a{1,1000}){1,1000}", "((a{0,99}){0,99}){0,99}", "(x+x+)+y", "[ab]*a[ab]{25}x", "(.*a.{40}){1,20}"]
)
def test_a_pattern_that_explodes_is_worked_with_or_refused_and_never_stuck(tiny_tokenizer, pattern):
    started, ids = time.monotonic(), tiny_tokenizer.encode("abxaxabb" * 4, add_special_tokens=False)
    try:
        masks = GrammarMasks(tiny_tokenizer, lane(regex=pattern))
        for place in range(len(ids)):
            masks.allowed(ids[:place])
    except UserError as error:
        assert "takes too much work" in error.message
    assert time.monotonic() - started < 5


def test_a_slow_tokenizer_is_refused(tiny_tokenizer):
    class Slow:
        pass

    with pytest.raises(UserError, match="Slow"):
        GrammarMasks(Slow(), lane(regex="a"))


def test_the_side_of_texts_can_be_sent_to_another_process(tiny_tokenizer):
    side = pickle.loads(pickle.dumps(TextSide(tiny_tokenizer, DecodeSettings())))  # noqa: S301 - our own
    assert side.masks(lane(choice=("yes",))).allowed([])


def test_through_the_arena_every_strategys_answer_satisfies_the_schema(arena):
    """The model is random: without the mask it says no JSON at all."""
    lanes = [
        "greedy",
        "sample",
        "beam",
        "best_of_n",
        "speculative",
        {"strategy": "greedy", "name": "free", "json_schema": {}},
    ]
    settings = {"json_schema": PERSON, "lanes": lanes, "max_new_tokens": 120, "num_return_sequences": 3, "num_beams": 3}
    *_, final = arena.compare("starter", "Hello", {**settings, "temperature": 1.0})
    for name, got in final["lanes"].items():
        if name == "free":
            assert "masked" not in got and got["text"][:1] != "{"
            continue
        assert got["finish_reason"] == "eos"
        jsonschema.validate(json.loads(got["text"]), PERSON)
    masked = final["lanes"]["greedy"]["masked"]
    assert len(masked) == len(final["lanes"]["greedy"]["token_ids"]) and all(0 <= share <= 1 for share in masked)
    assert max(masked) > 0.5
    assert DecodeSettings.from_dict(final["settings"]).to_dict() == final["settings"]
