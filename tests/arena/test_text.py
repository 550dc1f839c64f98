"""Token ids become text without broken characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmdemo.arena.text import TextStream, TokenNames, decode_whole

SPLIT = "Sky 🌈 and 👩‍👧, שלום עולם, 天空は青い, é"


def pieces(tokenizer, text):
    stream = TextStream(tokenizer)
    return [stream.push(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"]], stream


def test_emoji_and_right_to_left_text_are_never_shown_in_halves(tiny_tokenizer):
    parts, stream = pieces(tiny_tokenizer, SPLIT)
    assert "".join(parts) == stream.text == SPLIT
    assert not any("\ufffd" in part for part in parts)
    assert "" in parts  # a character that takes several tokens appears with its last


@given(st.text(min_size=1, max_size=40))
def test_the_stream_gives_any_text_back_as_it_was(tiny_tokenizer, text):
    ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
    stream = TextStream(tiny_tokenizer)
    for token in ids:
        stream.push(token)
    assert stream.text == tiny_tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def test_an_unfinished_character_at_the_end_is_held_back(tiny_tokenizer):
    ids = tiny_tokenizer("a🌈", add_special_tokens=False)["input_ids"]
    assert decode_whole(tiny_tokenizer, ids[:-1]) == "a"
    stream = TextStream(tiny_tokenizer)
    for token in ids[:-1]:
        stream.push(token)
    assert stream.text == "a"


def test_special_tokens_have_no_text_but_a_name(tiny_tokenizer):
    stream = TextStream(tiny_tokenizer)
    assert stream.push(tiny_tokenizer.eos_token_id) == ""
    names = TokenNames(tiny_tokenizer)
    assert names(tiny_tokenizer.eos_token_id) == "<|im_end|>"
    assert names.is_special(tiny_tokenizer.eos_token_id)


def test_a_name_keeps_the_leading_space_and_shows_bytes_of_split_characters(tiny_tokenizer):
    names = TokenNames(tiny_tokenizer)
    space = tiny_tokenizer.convert_tokens_to_ids("Ġthe")
    assert names(space) == " the"
    first, *_ = tiny_tokenizer("🌈", add_special_tokens=False)["input_ids"]
    assert names(first) == "‹F0›"


def test_a_token_beyond_the_vocabulary_still_has_a_name(tiny_tokenizer):
    assert TokenNames(tiny_tokenizer)(len(tiny_tokenizer) + 5) == f"[{len(tiny_tokenizer) + 5}]"


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "**bold**", "a\n\nb\t c"])
def test_markup_is_text_like_any_other(tiny_tokenizer, text):
    parts, _ = pieces(tiny_tokenizer, text)
    assert "".join(parts) == text
