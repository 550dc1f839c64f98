"""What a person asks is checked before any model hears it."""

import copy

import pytest

from llmdemo.arena.prompt import Prompt, check_length
from llmdemo.core.errors import UserError
from llmdemo.data.encode import encode_chat, encode_prompt
from llmdemo.data.shapes import detect
from llmdemo.evaluation.heldout import example


def test_a_text_is_one_turn_of_a_chat(tiny_tokenizer):
    prompt = Prompt.from_value("Hello")
    assert prompt.messages == ({"role": "user", "content": "Hello"},)
    assert prompt.encode(tiny_tokenizer) == encode_prompt([{"role": "user", "content": "Hello"}], tiny_tokenizer)


def test_raw_text_goes_to_the_model_as_it_is(tiny_tokenizer):
    prompt = Prompt.from_value({"raw": "Once upon"})
    assert tiny_tokenizer.decode(prompt.encode(tiny_tokenizer)) == "Once upon"


def test_several_turns_and_a_system_prompt_are_kept_in_order():
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Why?"},
    ]
    assert Prompt.from_value({"messages": turns}).messages == tuple(turns)
    assert Prompt.from_value(turns).to_dict() == {"messages": turns}


DEFAULTED = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are Tiny.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.mark.parametrize("system", ["", " ", "Be brief.", None])
def test_a_conversation_is_asked_as_it_was_trained_and_evaluated(tiny_tokenizer, system):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = DEFAULTED
    turns = [{"role": "user", "content": "Name a fruit."}]
    turns = turns if system is None else [{"role": "system", "content": system}, *turns]
    record = as_records([{"messages": [*turns, {"role": "assistant", "content": "Plum."}]}])
    trained = encode_chat(record["messages"], tokenizer, None)
    asked = Prompt.from_value(turns).encode(tokenizer)
    assert trained.input_ids[: trained.spans[0][0]] == asked
    assert encode_prompt(example({0: record}, 0).prompt, tokenizer) == asked
    assert ("You are Tiny" in tokenizer.decode(asked)) == (system is None)


def as_records(rows):
    """The record that intake makes of such a row."""
    return {"row": 1, **detect(rows).records(rows[0])[0]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        (None, "no prompt"),
        ([], "no prompt"),
        (7, "no prompt"),
        ({"raw": " "}, "empty"),
        ({"raw": 3}, "is a int"),
        ({"messages": [{"role": "user", "content": None}]}, "NoneType"),
        ([{"role": "assistant", "content": "Hi"}], "your turn"),
        ([{"role": "robot", "content": "Hi"}], "'robot'"),
        ([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}], "system prompt"),
        (["Hi"], "role"),
        ("x" * 1_000_001, "characters long"),
        ([{"role": "user", "content": "Hi"}] * 201, "201 turns"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(value, words):
    with pytest.raises(UserError) as caught:
        Prompt.from_value(value)
    assert words in caught.value.message
    assert caught.value.hint


def test_lone_surrogates_do_not_reach_the_tokenizer(tiny_tokenizer):
    assert Prompt.from_value("a\ud800b").encode(tiny_tokenizer)


def test_a_prompt_must_leave_room_for_one_token():
    check_length(255, 256, 8192)
    with pytest.raises(UserError, match="256 tokens long; this model takes at most 255"):
        check_length(256, 256, 8192)
    with pytest.raises(UserError, match="at most 100"):
        check_length(101, 0, 100)


@pytest.mark.parametrize(("tokens", "named"), [(101, True), (256, True), (90, False)])
def test_a_prompt_over_the_apps_limit_names_it_and_one_over_the_models_does_not(tokens, named):
    with pytest.raises(UserError) as caught:
        check_length(tokens, 256 if named else 80, 100, "LLMDEMO_GUEST_PROMPT_TOKENS")
    assert ("LLMDEMO_GUEST_PROMPT_TOKENS" in caught.value.message) is named
