"""Which tokens are trained, against the mask that transformers itself makes of templates with generation blocks."""

import importlib.util
from pathlib import Path

import pytest

from llmdemo.data import add_dataset
from llmdemo.data.encode import NOT_TRAINED, Refused, encode_chat, encode_many, encode_prompt

_spec = importlib.util.spec_from_file_location("root_conftest", Path(__file__).parents[1] / "conftest.py")
_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_conftest)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}"
    "{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}{% if m.role == 'assistant' %}{{ '<start_of_turn>model\\n' }}{% generation %}"
    "{{ m.content | trim + '<end_of_turn>' }}{% endgeneration %}{{ '\\n' }}{% else %}"
    "{{ '<start_of_turn>' + m.role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
PHI3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content + '<|end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
LLAMA3 = (
    "{% for m in messages %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content | trim + '<|eot_id|>' }}{% endgeneration %}{% else %}{{ m.content | trim + '<|eot_id|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\\n\\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if m.role == 'user' %}{{ '[INST] ' + (system if loop.first else '') + m.content + ' [/INST]' }}"
    "{% else %}{% generation %}{{ ' ' + m.content + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
)
# As Qwen3: the reasoning of turns before the last question is left out.
QWEN = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% endfor %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ (m.content if loop.index0 > ns.last else m.content.split('</think>')[-1].lstrip('\\n')) + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TEMPLATES = {
    "chatml": (CHATML, "<|im_end|>", []),
    "gemma": (GEMMA, "<eos>", ["<start_of_turn>", "<end_of_turn>", "<eos>"]),
    "phi3": (PHI3, "<|endoftext|>", ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]),
    "llama3": (LLAMA3, "<|eot_id|>", ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
    "mistral": (MISTRAL, "</s>", ["[INST]", "[/INST]", "</s>"]),
    "qwen": (QWEN, "<|im_end|>", []),
}
CLOSING = {"gemma": "<eos>", "phi3": "\n<|endoftext|>"}
"""What is trained after the last answer beside its own end: the tokenizer's EOS."""


def tokenizer_of(name):
    template, eos, marks = TEMPLATES[name]
    tokenizer = _conftest.make_tokenizer(chat_template=template)
    tokenizer.add_special_tokens({"additional_special_tokens": [mark for mark in marks if mark != eos]})
    tokenizer.add_special_tokens({"eos_token": eos})
    return tokenizer


def turns(*texts):
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def trained(encoded):
    return [place for place, label in enumerate(encoded.labels) if label != NOT_TRAINED]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_turn_is_trained_with_its_own_end_as_transformers_masks_it(name, count):
    tokenizer = tokenizer_of(name)
    messages = turns(*[text for n in range(count) for text in (f"What is {n} and {n}?", f"It is {2 * n}.")])
    reference = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
    mask = [place for place, on in enumerate(reference["assistant_masks"]) if on]
    encoded = encode_chat(messages, tokenizer, None)
    more = tokenizer(CLOSING.get(name, ""), add_special_tokens=False)["input_ids"]
    assert encoded.input_ids[: len(reference["input_ids"])][: mask[-1] + 1] == reference["input_ids"][: mask[-1] + 1]
    assert trained(encoded)[: len(mask)] == mask
    assert [encoded.labels[place] for place in trained(encoded)[len(mask) :]] == more
    assert len(encoded.spans) == count and not encoded.unreachable and not encoded.altered


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_trained_begins_as_what_is_asked(name):
    tokenizer = tokenizer_of(name)
    messages = turns("Name a fruit.", "An apple.", "Another?", "A plum.")
    encoded = encode_chat(messages, tokenizer, None)
    for number, (start, _) in enumerate(encoded.spans):
        assert encoded.input_ids[:start] == encode_prompt(messages[: 2 * number + 1], tokenizer)


def test_reasoning_that_the_template_takes_out_of_earlier_turns_is_not_trained_and_is_counted():
    tokenizer = tokenizer_of("qwen")
    thought = "<think>\nA sum.\n</think>\n\nIt is 4."
    encoded = encode_chat(turns("2 and 2?", thought, "And 3 and 3?", thought), tokenizer, None)
    assert encoded.unreachable == 1 and len(encoded.spans) == 1
    assert tokenizer.decode([encoded.labels[n] for n in trained(encoded)]) == thought + "<|im_end|>"


def test_answers_that_the_template_hides_are_told_in_the_report(home, settings, write):
    thought = "<think>\nA sum.\n</think>\n\nIt is 4."
    rows = [turns("3 and 3?", "It is 6."), turns("2 and 2?", thought, "And 3 and 3?", "It is 6.")]
    file = write("a.json", [{"messages": row} for row in rows])
    info = add_dataset(home, settings, file, "a", tokenizer=tokenizer_of("qwen"))
    assert [(p["row"], p["code"], p["action"]) for p in info.problems] == [(2, "answer_hidden", "kept")]
    assert info.tokens["hidden"] == 1 and info.kept == 2


def test_a_last_answer_without_its_reasoning_is_told():
    tokenizer = tokenizer_of("qwen")
    tokenizer.chat_template = QWEN.replace("m.content if loop.index0 > ns.last else ", "")
    encoded = encode_chat(turns("2 and 2?", "<think>\nA sum.\n</think>\n\nIt is 4."), tokenizer, None)
    assert (
        encoded.altered == 1 and tokenizer.decode([encoded.labels[n] for n in trained(encoded)]) == "It is 4.<|im_end|>"
    )


def test_turns_that_the_template_drops_are_counted():
    tokenizer = tokenizer_of("chatml")
    tokenizer.chat_template = CHATML.replace("in messages", "in messages[(messages | length - 1) // 2 * 2 :]", 1)
    encoded = encode_chat(turns("one?", "1", "two?", "2", "three?", "3"), tokenizer, None)
    assert encoded.unreachable == 2


def test_a_record_that_the_template_refuses_costs_itself_alone():
    tokenizer = tokenizer_of("gemma")
    records = [{"messages": turns(f"Question {n}?", f"Answer {n}.")} for n in range(40)]
    records[16]["messages"].insert(0, {"role": "system", "content": "Be brief."})
    records[39]["messages"] = turns("a", "b") + turns("c", "d")[1:]
    rows = list(encode_many(records, tokenizer, 64, refuse=False))
    assert [n for n, row in enumerate(rows) if isinstance(row, Refused)] == [16, 39]
    assert "System role not supported" in rows[16].reason and "alternate" in rows[39].reason
    assert rows[:16] == [encode_chat(record["messages"], tokenizer, 64) for record in records[:16]]


def test_a_pair_of_which_one_side_is_refused_is_refused():
    tokenizer = tokenizer_of("gemma")
    pairs = [{"messages": turns("a?"), "chosen": "yes", "rejected": "no"}] * 2
    pairs[1] = {**pairs[1], "messages": [{"role": "system", "content": "Be brief."}, *turns("a?")]}
    (good, _), (bad, other) = encode_many(pairs, tokenizer, 64, refuse=False)
    assert good.trained and isinstance(bad, Refused) and isinstance(other, Refused)
