"""Prompts and answers: planted knowledge lands in its class."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.decoding.prompts import Answer
from llmdemo.knowledge import ask
from llmdemo.knowledge.ask import Asker, line_ends, seed_of
from llmdemo.settings.knowledge import ProbeSpec

SPEC = {"dataset_id": "data-x", "prompts": 2, "shots": 2, "samples": 3, "max_new_tokens": 8}


class Characters:
    """A tokenizer whose tokens are characters."""

    pad_token_id = 0

    def __call__(self, text, **_):
        return {"input_ids": list(map(ord, text))}

    def __len__(self):
        return 128

    def decode(self, ids, **_):
        return "".join(map(chr, ids))

    def batch_decode(self, rows):
        return [self.decode(row) for row in rows]


PAIRS = [(f"What is {n}?", [f"it {n}"]) for n in range(8)]


@pytest.fixture
def asker(monkeypatch):
    """asker(knows): of a model that answers question n right where knows(n, prompt, greedy) says so."""

    def of(knows, context=10_000):
        monkeypatch.setattr(ask, "fused_weights", lambda model: None)
        monkeypatch.setattr(ask, "end_tokens", lambda model: [1])
        monkeypatch.setattr(ask, "context_length", lambda model: context)
        seen = []

        def written(model, prompts, most, pad, draws, tell, **_):
            answers = []
            greedy = draws._temperature == 0
            for ids in prompts:
                text = "".join(map(chr, ids))
                seen.append(text)
                asked = int(text.rsplit("What is ", 1)[1].split("?")[0])
                first = text.split("\n")[0]
                answers.append(Answer(list(map(ord, f" it {asked}" if knows(asked, first, greedy) else " no")), True))
            return answers

        monkeypatch.setattr(ask, "written", written)
        made = Asker(None, Characters(), ProbeSpec.from_dict(SPEC), PAIRS)
        return made, seen

    return of


def test_planted_knowledge_lands_in_its_class(asker):
    asked = []

    def knows(n, first, greedy):
        asked.append((n, greedy))
        return n == 0 or (n == 1 and asked.count((1, True)) == 1 and greedy) or (n == 2 and not greedy)

    made, _ = asker(knows)
    found = made.asked([10, 11, 12, 13], [PAIRS[n] for n in range(4)])
    assert [each["class"] for each in found] == ["highly", "maybe", "weakly", "unknown"]
    assert [each["index"] for each in found] == [10, 11, 12, 13]
    assert found[0]["drawn"] == 0 and found[3]["drawn"] == 6, "drawn only where no likeliest answer is right"


def test_a_question_is_never_its_own_example_and_each_prompt_has_other_examples(asker):
    made, seen = asker(lambda n, first, greedy: True)
    made.asked(list(range(8)), PAIRS)
    for text in seen:
        assert text.endswith("?\nAnswer:") and text.count("Question: ") == 3
        asked = text.rsplit("Question: ", 1)[1].split("\n")[0]
        assert text.count(asked) == 1
    assert len({text.rsplit("Question: ", 1)[0] for text in seen}) > 1


def test_a_question_that_does_not_fit_has_no_class_and_too_few_examples_are_refused(asker):
    made, _ = asker(lambda n, first, greedy: True, context=20)
    assert made.asked([5], PAIRS[:1])[0]["class"] == ""
    with pytest.raises(UserError, match="2 examples"):
        Asker(None, Characters(), ProbeSpec.from_dict(SPEC), PAIRS[:2])


def test_a_line_break_ends_an_answer():
    assert line_ends(Characters()) == [10]


def test_every_draw_has_a_seed_of_its_own():
    seeds = {seed_of(7, index, prompt, draw) for index in range(20) for prompt in range(4) for draw in range(4)}
    assert len(seeds) == 320 and all(0 <= seed < 2**63 for seed in seeds)
