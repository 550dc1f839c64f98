"""Which records are kept, and that they can be made again."""

import pytest
import torch

from llmdemo.decoding.prompts import Answer
from llmdemo.generation import make
from llmdemo.generation.make import Maker, batches, key_of, seed_of, whole_sentences
from llmdemo.settings.generation import GenerationSpec

TEXTS = {
    "good": ("Write a poem about the sea.", "The sea is wide. It is blue."),
    "hi": ("Hi", ""),
    "endless": ("Tell me a story about", ""),
    "again": ("write a poem about THE sea", "Something else."),
    "parrot": ("What is the capital of France?", "What is the capital of France?"),
    "silent": ("Why is the sky blue today?", ""),
}


class Words:
    """A tokenizer whose tokens are characters."""

    pad_token_id = 0

    def decode(self, ids, **_):
        return "".join(map(chr, ids))


@pytest.fixture
def maker(monkeypatch):
    """maker(cases, **settings): a Maker whose model says what TEXTS has, in the order of the cases."""

    def of(cases: list[str], unended=(), **settings):
        monkeypatch.setattr(make, "fused_weights", lambda model: None)
        monkeypatch.setattr(make, "end_tokens", lambda model: [1])
        monkeypatch.setattr(make, "context_length", lambda model: 1000)
        monkeypatch.setattr(make, "user_turn", lambda turns, tokenizer: make.UserTurn([1], [1], ""))
        monkeypatch.setattr(make, "encode_prompt", lambda turns, tokenizer: [2, *map(ord, turns[-1]["content"])])

        def written(model, prompts, *_, **__):
            if prompts and prompts[0][0] == 1:
                said = [(TEXTS[case][0], case != "endless") for case in cases]
            else:
                by_question = {asked: answer for asked, answer in TEXTS.values()}
                said = [(by_question["".join(map(chr, p[1:]))], True) for p in prompts]
            return [Answer(list(map(ord, text)), ended and text not in unended) for text, ended in said]

        monkeypatch.setattr(make, "written", written)
        return Maker(None, Words(), GenerationSpec.from_dict(settings), set(), lambda share: None)

    return of


def test_each_record_that_is_left_out_says_why(maker):
    cases = ["good", "hi", "endless", "again", "parrot", "silent"]
    made = maker(cases).conversations(list(range(6)))
    assert [each.reason for each in made] == ["", "short", "unended", "same", "echo", "empty"]
    assert [turn["role"] for turn in made[0].messages] == ["user", "assistant"]


def test_an_instruction_that_was_there_before_is_left_out_in_a_later_batch_too(maker):
    writer = maker(["good"])
    assert writer.conversations([0])[0].reason == "" and writer.conversations([1])[0].reason == "same"


def test_an_answer_that_is_too_long_ends_with_its_last_whole_sentence(maker):
    made = maker(["good"], unended=[TEXTS["good"][1]]).conversations([0])[0]
    assert made.cut and not made.reason and made.messages[-1]["content"] == "The sea is wide. It is blue."
    assert whole_sentences("One sentence. And ano") == "One sentence."
    assert whole_sentences("Short. And then a very long sentence that is not over yet") == ""
    assert whole_sentences("天空是藍色的。因為") == "天空是藍色的。"
    assert whole_sentences("It costs 3.50 and more") == "", "a point inside a number ends nothing"


def test_instructions_are_compared_without_case_signs_and_blanks():
    assert key_of("Write a poem, about  the sea!") == key_of("write A poem about the sea")


def test_every_part_of_every_record_has_a_seed_of_its_own():
    seeds = {seed_of(seed, number, part) for seed in (1, 2) for number in range(50) for part in range(4)}
    assert len(seeds) == 400 and all(0 <= seed < 2**63 for seed in seeds)


def test_batches_leave_no_number_out():
    assert [*batches(iter(range(7)), 3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_record_is_the_same_in_any_batch(tiny_model_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    spec = GenerationSpec.from_dict({"max_prompt_tokens": 12, "max_new_tokens": 12, "answer_temperature": 0.8})

    def records(numbers):
        made = Maker(model, tokenizer, spec, set(), lambda share: None).conversations(numbers)
        return {each.number: each.messages for each in made}

    together, alone = records([0, 1, 2, 3]), records([2])
    assert together[2] == alone[2] and together[2][0]["content"]
