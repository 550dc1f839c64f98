"""Which records are kept, and that they can be made again."""

import pytest
import torch

from llmdemo.generation.log import highest
from llmdemo.generation.make import Maker, key_of, row_of, seed_of, unlike, whole_sentences
from llmdemo.generation.referee import Referee
from llmdemo.generation.sources import Source
from llmdemo.generation.writers import LocalWriter, Text
from llmdemo.settings.generation import GenerationSpec

TEXTS = {
    "good": ("Write a poem about the sea.", "The sea is wide. It is blue."),
    "hi": ("Hi", ""),
    "endless": ("Tell me a story about", ""),
    "again": ("write a poem about THE sea", "Something else."),
    "parrot": ("What is the capital of France?", "What is the capital of France?"),
    "silent": ("Why is the sky blue today?", ""),
}


class Scripted:
    """A writer that says what TEXTS has, in the order of the cases, or what `say(conversation, sampling)` gives."""

    name, failure = "scripted", None

    def __init__(self, cases=(), unended=(), say=None):
        self._cases, self._unended, self._say = cases, unended, say

    def instructions(self, conversations, sampling):
        return [Text(TEXTS[case][0], case != "endless", logprobs=[-1.0]) for case in self._cases]

    def answers(self, conversations, sampling):
        by_question = {asked: answer for asked, answer in TEXTS.values()}
        say = self._say or (lambda turns, _: by_question[turns[-1]["content"]])
        said = [say(turns, sampling) for turns in conversations]
        return [
            each if isinstance(each, Text) else Text(each, each not in self._unended, logprobs=[-0.5, -1.5])
            for each in said
        ]


def maker(cases=(), unended=(), say=None, referee=None, second=None, **settings):
    writers = [Scripted(cases, unended, say), *([second] if second else [])]
    return Maker(writers, GenerationSpec.from_dict(settings), set(), referee)


def out_of_nothing(*numbers):
    return [(number, None) for number in numbers]


def test_each_record_that_is_left_out_says_why():
    cases = ["good", "hi", "endless", "again", "parrot", "silent"]
    made = maker(cases).conversations(out_of_nothing(*range(6)))
    assert [each.reason for each in made] == ["", "short", "unended", "same", "echo", "empty"]
    assert [turn["role"] for turn in made[0].messages] == ["user", "assistant"]


def test_an_instruction_that_was_there_before_is_left_out_in_a_later_batch_too():
    writer = maker(["good"])
    assert writer.conversations(out_of_nothing(0))[0].reason == ""
    assert writer.conversations(out_of_nothing(1))[0].reason == "same"


def test_an_answer_that_is_too_long_ends_with_its_last_whole_sentence():
    made = maker(["good"], unended=[TEXTS["good"][1]]).conversations(out_of_nothing(0))[0]
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


def test_a_record_is_the_same_in_any_batch(tiny_model_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    spec = GenerationSpec.from_dict({"max_prompt_tokens": 12, "max_new_tokens": 12, "answer_temperature": 0.8})

    def records(numbers):
        writer = LocalWriter("tiny", model, tokenizer, lambda share: None)
        made = Maker([writer], spec, set()).conversations(out_of_nothing(*numbers))
        return {each.number: each.messages for each in made}

    together, alone = records([0, 1, 2, 3]), records([2])
    assert together[2] == alone[2] and together[2][0]["content"]


def test_the_draws_of_a_record_are_told_with_it():
    made = maker(["good"], answer_temperature=0.5).conversations(out_of_nothing(3))[0].to_dict()
    assert made["drawn"] == [
        {"model": "scripted", "temperature": 1.0, "seed": seed_of(7, 3, 0)},
        {"model": "scripted", "temperature": 0.5, "seed": seed_of(7, 3, 1)},
    ]


def test_a_bound_on_perplexity_leaves_out_what_is_above_it_alone():
    """The scripted answers have a perplexity of e."""
    assert maker(["good"], most_perplexity=2.7).conversations(out_of_nothing(0))[0].reason == "perplexity"
    kept = maker(["good"], most_perplexity=2.8).conversations(out_of_nothing(0))[0]
    assert not kept.reason and kept.perplexity == pytest.approx(2.71828, abs=1e-5)


def test_the_share_of_the_highest_perplexity_goes_and_records_without_one_stay():
    lines = [{"number": n, "perplexity": value} for n, value in enumerate([3.0, 9.0, None, 1.0, 7.0])]
    assert highest(lines, 0.4) == {1, 4} and highest(lines, 0.1) == set() and highest([], 0.5) == set()


# ---- pairs

ASKED = Source(4, [{"role": "user", "content": "Name a fruit."}], [], ("apple",))


def by_temperature(turns, sampling):
    return "An apple." if sampling.temperature == 0 else "A stone."


def opinion(winner, clear=True, agreed=True, grades=None):
    return {"winner": winner, "clear": clear, "agreed": agreed, "grades": grades}


def pairs(said, say=by_temperature, **settings):
    asked = []

    def ask(texts, prompts, right):
        asked.extend(zip(texts, prompts, right, strict=True))
        return [said] * len(texts)

    settings = {"judge": {"kind": "model", "model_id": "starter"}, "kind": "pairs", "dataset_id": "data-x", **settings}
    return maker(say=say, referee=Referee(ask), **settings).pairs([(0, ASKED)])[0], asked


def test_the_judges_choice_is_chosen_and_its_word_is_kept():
    for winner, chosen, rejected in ((0, "An apple.", "A stone."), (1, "A stone.", "An apple.")):
        made, asked = pairs(opinion(winner))
        line = made.to_dict()
        assert row_of(line) == {"messages": ASKED.prompt, "chosen": chosen, "rejected": rejected}
        assert line["source"] == 4 and line["judged"]["winner"] == winner
        assert [each["temperature"] for each in line["drawn"]] == [0.0, 1.0]
        assert len({each["seed"] for each in line["drawn"]}) == 2
        ((pair, prompt, right),) = asked
        assert pair.answers == ("An apple.", "A stone.") and pair.reference == "apple" and prompt == ASKED.prompt


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (opinion(None), "tie"),
        (opinion(None, agreed=False), "order"),
        (opinion(None, clear=False), "unclear"),
        (None, "lost"),
    ],
)
def test_a_pair_without_a_better_answer_is_left_out_with_its_reason(said, reason):
    assert pairs(said)[0].reason == reason


def test_equal_answers_are_left_out_and_nobody_is_asked():
    made, asked = pairs(opinion(0), say=lambda turns, sampling: "An apple.")
    assert made.reason == "equal" and asked == []


def test_a_pair_whose_better_answer_is_graded_too_low_is_left_out():
    judge = {"kind": "model", "model_id": "starter", "grading": "absolute"}
    low = opinion(1, grades=[1, 2])
    assert pairs(low, judge=judge, least_grade=3)[0].reason == "grade"
    assert pairs(low, judge=judge, least_grade=2)[0].reason == ""


def test_two_models_write_the_two_answers_of_a_pair():
    other = Scripted(say=lambda turns, sampling: "A pear.")
    other.name = "other"
    settings = {"judge": {"kind": "model", "model_id": "starter"}, "kind": "pairs", "dataset_id": "data-x"}
    referee = Referee(lambda texts, prompts, right: [opinion(1)])
    made = maker(say=by_temperature, second=other, referee=referee, **settings).pairs([(0, ASKED)])[0]
    assert made.answers == ["An apple.", "A pear."] and [each["model"] for each in made.drawn] == ["scripted", "other"]


# ---- paraphrases


def test_a_paraphrase_takes_the_place_of_the_question_and_the_answer_stays():
    source = Source(0, [{"role": "user", "content": "Add 2 and 3."}], [{"role": "assistant", "content": "5"}], ("5",))
    write = maker(say=lambda turns, _: '"What is the sum of 2 and 3?"', kind="paraphrases", dataset_id="data-x")
    made = write.paraphrases([(0, source)])[0]
    assert not made.reason
    assert [turn["content"] for turn in made.messages] == ["What is the sum of 2 and 3?", "5"]


LONG = "Please explain to me in a few short words why the sky over the sea is blue in the morning and red at night."


@pytest.mark.parametrize(
    ("original", "said", "reason"),
    [
        (LONG, LONG.lower().replace(".", "!"), "copy"),
        (LONG, LONG.replace("night", "dusk"), "copy"),
        (LONG, "What makes the sky above the water change its colour between morning and night?", ""),
        (LONG, f'The request "{LONG}" can be simplified.', "copy"),
        ("What is the capital of France?", "It seems that this was not one of those answers.", "off"),
        ("法國的首都是哪裡？", "巴黎。", "off"),
        ("Add 2 and 3.", "Compute the sum of two and 3.", "details"),
        ("Translate 1,000 words.", "Bring 1,000 words into another language.", ""),
        (
            "請解釋為什麼早上的天空是藍色的，而晚上的天空卻是紅色的呢？",
            "請解釋為什麼早上的天空是藍色的，而晚上的天空卻是紅色的呢",
            "copy",
        ),
    ],
)
def test_a_paraphrase_is_no_copy_and_keeps_the_numbers(original, said, reason):
    assert unlike(original, said) == reason


def test_an_empty_paraphrase_is_left_out():
    source = Source(0, [{"role": "user", "content": "Name a colour."}], [{"role": "assistant", "content": "Blue."}])
    write = maker(say=lambda turns, _: Text("<request>\n</request>", True), kind="paraphrases", dataset_id="data-x")
    assert write.paraphrases([(0, source)])[0].reason == "short"


def test_grades_leave_out_what_is_too_low_or_unclear():
    for said, reason in (
        (opinion(None, grades=[2]), "grade"),
        (opinion(None, grades=[3]), ""),
        (opinion(None, clear=False), "unclear"),
    ):
        referee = Referee(lambda texts, prompts, right, said=said: [said])
        judge = {"kind": "model", "model_id": "starter"}
        made = maker(["good"], referee=referee, judge=judge, least_grade=3).conversations(out_of_nothing(0))
        assert made[0].reason == reason
