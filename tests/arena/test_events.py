"""Steps as events for the page: their size, and the text of tokens that are half a character."""

import json
import random

from llmdemo.arena.events import EventEncoder
from llmdemo.decoding import BeamStep, Branch, Candidates, Step, TokenStep

TOKENS = 512
BEAMS = 8
VOCABULARY = 49_152


class Words:
    """A tokenizer whose every token is a word."""

    all_special_ids = ()

    def convert_ids_to_tokens(self, token):
        return f" word{token}"

    def decode(self, ids, **_):
        return "".join(f" word{token}" for token in ids)


def long_run():
    """512 steps of three token lanes and eight beams, with numbers as long as a real model's."""
    dice = random.Random(0)

    def token():
        return dice.randrange(VOCABULARY)

    def branch(step):
        return Branch(dice.randrange(BEAMS) if step else 0, token(), -9 * dice.random(), -step * dice.random())

    def top():
        return Candidates(
            *(tuple(draw() for _ in range(10)) for draw in (token, lambda: -9 * dice.random(), dice.random))
        )

    said = []
    for index in range(TOKENS):
        lanes = {
            name: TokenStep(
                name,
                token(),
                -9 * dice.random(),
                dice.random(),
                dice.randrange(50),
                50,
                dice.random(),
                5.1,
                top(),
                None,
            )
            for name in ("greedy", "top_k", "top_p")
        }
        rows = BEAMS if index else 1
        branches = [tuple(branch(index) for _ in range(BEAMS)) for _ in range(2)]
        said = [*said, token()]
        lanes["beam"] = BeamStep(
            "beam", branches[0], (), branches[1], tuple(top() for _ in range(rows)),
            tuple(dice.random() for _ in range(rows)), tuple(said), False, None,
        )  # fmt: skip
        yield Step(index, lanes, index * 0.03, 3 + BEAMS, False)


def test_what_the_page_keeps_and_exports_of_512_tokens_is_under_five_megabytes():
    maker = EventEncoder(Words())
    events = [event for step in long_run() for event in maker.events(step)]
    size = sum(len(json.dumps(event, separators=(",", ":"))) for event in events)
    assert 1e6 < size < 5e6


def test_a_fork_in_the_middle_of_a_character_is_told_as_the_text_that_it_completes(tiny_tokenizer):
    ids = tiny_tokenizer("a🦊", add_special_tokens=False)["input_ids"]
    texts = EventEncoder(tiny_tokenizer).begin_lane("greedy", tuple(ids))
    assert "".join(texts) == "a🦊" and texts.count("") == len(ids) - 2
