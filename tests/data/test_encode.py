import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from llmdemo.core.errors import UserError
from llmdemo.data import encode
from llmdemo.data.encode import (
    NOT_TRAINED,
    encode_chat,
    encode_classify,
    encode_many,
    encode_preference,
    encode_prompt,
    encode_text,
)

_spec = importlib.util.spec_from_file_location("data_conftest", Path(__file__).with_name("conftest.py"))
_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_conftest)
make_tokenizer, CHATML = _conftest.make_tokenizer, _conftest.CHATML

ASK = {"role": "user", "content": "What is the capital of France?"}
ANSWER = {"role": "assistant", "content": "Paris."}
TOKENIZERS = {
    "chatml": make_tokenizer(),
    "trimmed places": make_tokenizer(trim_offsets=True),
    "plain": make_tokenizer(template=None),
    "no end of turn": make_tokenizer("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
                                     "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"),
}  # fmt: skip


def trained_text(encoded, tokenizer):
    return tokenizer.decode([label for label in encoded.labels if label != NOT_TRAINED])


def test_only_the_answer_and_its_end_are_trained(tokenizer):
    encoded = encode_chat([ASK, ANSWER], tokenizer, 512)
    assert trained_text(encoded, tokenizer) == "Paris.<|im_end|>"
    assert tokenizer.decode(encoded.input_ids).endswith("Paris.<|im_end|>\n")
    assert encoded.labels[-1] == NOT_TRAINED  # the newline after the end


def test_every_answer_of_a_conversation_is_trained(tokenizer):
    encoded = encode_chat([ASK, ANSWER, ASK, {"role": "assistant", "content": "Still Paris."}], tokenizer, 512)
    assert trained_text(encoded, tokenizer) == "Paris.<|im_end|>Still Paris.<|im_end|>"
    assert len(encoded.spans) == 2


def test_loss_on_all_trains_everything_up_to_the_last_end(tokenizer):
    encoded = encode_chat([ASK, ANSWER], tokenizer, 512, "all")
    assert encoded.trained == len(encoded.input_ids) - 2  # without the first token and the last newline


def test_an_unknown_loss_on_is_refused(tokenizer):
    with pytest.raises(UserError, match="loss_on"):
        encode_chat([ASK, ANSWER], tokenizer, 512, "answers")


def test_a_long_conversation_is_cut_on_the_right(tokenizer):
    whole = encode_chat([ASK, ANSWER], tokenizer, None)
    cut = encode_chat([ASK, ANSWER], tokenizer, len(whole.input_ids) - 3)
    assert cut.truncated and cut.length == len(whole.input_ids)
    assert cut.input_ids == whole.input_ids[:-3] and cut.labels == whole.labels[:-3]
    assert encode_chat([ASK, ANSWER], tokenizer, 5).trained == 0


def test_the_end_is_appended_when_the_template_has_none():
    tokenizer = TOKENIZERS["no end of turn"]
    encoded = encode_chat([ASK, ANSWER], tokenizer, 512)
    assert trained_text(encoded, tokenizer) == "Paris.<|im_end|>"
    assert encoded.input_ids[-1] == tokenizer.eos_token_id


def test_a_tokenizer_without_a_template_gets_the_plain_one():
    tokenizer = TOKENIZERS["plain"]
    encoded = encode_chat([ASK, ANSWER], tokenizer, 512)
    assert trained_text(encoded, tokenizer) == "Paris.<|im_end|>"
    assert tokenizer.decode(encode_prompt([ASK], tokenizer)).endswith("### Assistant:\n")


TEXT = st.text(st.sampled_from("ab é你🎉\n \t.:<"), min_size=1, max_size=12)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60, deadline=None)
@given(turns=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
def test_training_and_decoding_agree_token_for_token(name, turns):
    tokenizer = TOKENIZERS[name]
    messages = [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    encoded = encode_chat(messages, tokenizer, None)
    assert len(encoded.spans) == len(turns)
    for number, (start, end) in enumerate(encoded.spans):
        prompt = encode_prompt(messages[: 2 * number + 1], tokenizer)
        assert encoded.input_ids[:start] == prompt
        answer = tokenizer.decode(encoded.input_ids[start:end])
        assert answer.replace("<|im_end|>", "").strip() == turns[number][1].strip()
        if name != "no end of turn" or number == len(turns) - 1:
            assert encoded.input_ids[end - 1] == tokenizer.eos_token_id


def test_a_template_that_rewrites_earlier_answers_trains_the_last_one():
    tokenizer = make_tokenizer(
        "{% for m in messages %}{{ m['role'] + ': ' }}{% if m['role'] == 'assistant' and not loop.last %}{{ 'old' }}"
        "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    encoded = encode_chat([ASK, ANSWER, ASK, ANSWER], tokenizer, None)
    assert encoded.unreachable == 1
    assert trained_text(encoded, tokenizer) == "Paris.<|im_end|>"


def test_a_template_that_loses_its_own_prompt_is_refused():
    tokenizer = make_tokenizer("{{ messages | length }}{% if add_generation_prompt %}{{ 'x' }}{% endif %}")
    with pytest.raises(UserError, match="own prompt"):
        encode_chat([ASK, ANSWER], tokenizer, None)


def test_a_template_that_refuses_a_conversation_says_why():
    tokenizer = make_tokenizer("{{ raise_exception('no system turn') }}")
    with pytest.raises(UserError, match="no system turn"):
        encode_prompt([ASK], tokenizer)


def test_a_preference_gives_two_rows_with_one_prompt(tokenizer):
    record = {"messages": [ASK, ANSWER, ASK], "chosen": "Paris.", "rejected": "Rome, of course."}
    chosen, rejected = encode_preference(record, tokenizer, 512)
    assert trained_text(chosen, tokenizer) == "Paris.<|im_end|>"
    assert trained_text(rejected, tokenizer) == "Rome, of course.<|im_end|>"
    prompt = encode_prompt(record["messages"], tokenizer)
    assert chosen.input_ids[: len(prompt)] == rejected.input_ids[: len(prompt)] == prompt


def test_a_class_is_the_index_of_its_name(tokenizer):
    rows = list(encode_many([{"text": "a cat", "label": "yes"}], tokenizer, 512, labels=["no", "yes"]))
    assert rows[0].label == 1 and rows[0].trained == 0
    assert encode_classify("the cat " * 50, tokenizer, 7).truncated


def test_a_text_that_is_cut_keeps_the_special_tokens_at_its_end():
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)]
    )
    row = encode_classify("the cat sat on the mat", tokenizer, 4)
    assert len(row.input_ids) == 4 and row.truncated
    assert (row.input_ids[0], row.input_ids[-1]) == (1, 2)


def test_a_very_long_text_is_tokenised_in_parts_without_a_difference(tokenizer, monkeypatch):
    text = "the cat sat on the mat and\nthe dog ran home. " * 40
    whole = encode_text(text, tokenizer)[0].input_ids
    monkeypatch.setattr(encode, "_LONGEST_PART", 100)
    assert encode_text(text, tokenizer)[0].input_ids == whole


def test_texts_are_joined_with_an_end_and_cut_into_rows(tokenizer):
    rows = list(encode_many([{"text": "the cat"}, {"text": "the dog"}], tokenizer, 3))
    joined = [token for row in rows for token in row.input_ids]
    assert tokenizer.decode(joined) == "the cat<|im_end|>the dog<|im_end|>"
    assert all(len(row.input_ids) <= 3 and row.labels[0] == NOT_TRAINED for row in rows)
    assert len(encode_text("the cat", tokenizer)) == 1


def test_many_are_encoded_as_one_is(tokenizer):
    records = [{"messages": [{"role": "user", "content": "x" * n}, ANSWER]} for n in range(1, 40)]
    one_by_one = [encode_chat(record["messages"], tokenizer, 64) for record in records]
    assert list(encode_many(records, tokenizer, 64)) == one_by_one
    assert list(encode_many([], tokenizer, 64)) == []


def test_a_slow_tokenizer_is_refused():
    with pytest.raises(UserError, match="slow"):
        encode_chat([ASK, ANSWER], object(), 64)
