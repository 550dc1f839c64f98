"""The place in a chat template where an instruction begins."""

import copy

import pytest

from llmdemo.core.errors import UserError
from llmdemo.data.encode import encode_prompt
from llmdemo.generation.template import user_turn

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INST = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}{{ m.content }}{% endif %}{% endfor %}"


@pytest.fixture
def tokenizer(tiny_tokenizer):
    return copy.deepcopy(tiny_tokenizer)


def test_what_is_written_there_makes_the_prompt_of_that_conversation(tokenizer):
    tokenizer.chat_template = CHATML
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    turn = user_turn([{"role": "system", "content": "Be kind."}], tokenizer)
    text = tokenizer.decode(turn.ids)
    assert text.endswith("<|im_start|>user\n") and "Be kind." in text
    assert turn.end_ids == [tokenizer.convert_tokens_to_ids("<|im_end|>")]
    whole = encode_prompt([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Add 2."}], tokenizer)
    assert whole[: len(turn.ids)] == turn.ids and whole[len(turn.ids) :].count(turn.end_ids[0]) == 1


def test_a_template_that_ends_a_turn_with_plain_text_says_which(tokenizer):
    tokenizer.chat_template = INST
    turn = user_turn([], tokenizer)
    assert turn.end_ids == [] and turn.end_text == "[/INST]"


@pytest.mark.parametrize("template", [None, "{% for m in messages %}{{ m.content }}{% endfor %}"])
def test_a_model_without_such_a_place_is_refused_with_what_to_do(tokenizer, template):
    tokenizer.chat_template = template
    with pytest.raises(UserError, match="chat template") as refused:
        user_turn([], tokenizer)
    assert "instruction-tuned" in refused.value.hint
