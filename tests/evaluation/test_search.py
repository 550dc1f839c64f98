"""A search tells what it chose on records that did not choose it; planted tasks have the winner that they must have."""

import numpy as np
import pytest
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from llmdemo.core.errors import UserError
from llmdemo.evaluation import search
from llmdemo.evaluation.heldout import Example
from llmdemo.evaluation.run_decoding import Asking, _record, settings_of
from llmdemo.evaluation.strategies import table
from llmdemo.settings.evaluation_decoding import CheckerSpec, DecodingSpec


class PlantedConfig(PretrainedConfig):
    model_type = "planted"


class Planted(PreTrainedModel):
    """A language model whose next token depends on the last one alone: {character: {character: probability}}."""

    config_class = PlantedConfig

    def __init__(self, tokenizer, chain):
        size = len(tokenizer)
        super().__init__(PlantedConfig(vocab_size=size, eos_token_id=tokenizer.eos_token_id))
        self.generation_config.eos_token_id = tokenizer.eos_token_id
        self.embedding = torch.nn.Embedding(size, 1)
        logits = torch.full((size, size), -30.0)
        for before, after in chain.items():
            rows = slice(None) if before == "" else one(tokenizer, before)  # "", the first, is of all that have no own
            logits[rows] = -30.0
            for text, probability in after.items():
                token = tokenizer.eos_token_id if text == "" else one(tokenizer, text)
                logits[rows, token] = np.log(probability)
        self.logits = torch.nn.Parameter(logits)

    def get_input_embeddings(self):
        return self.embedding

    def can_generate(self):
        return True

    def forward(self, input_ids, use_cache=None):
        return CausalLMOutput(logits=self.logits[input_ids])


def one(tokenizer, character):
    (token,) = tokenizer.encode(character, add_special_tokens=False)
    return token


def asked(tokenizer, chain, lanes, right, records=40, **settings):
    """Records as an evaluation keeps them, of `records` questions that differ in their seed alone."""
    spec = DecodingSpec.from_value({"lanes": lanes, "settings": {"max_new_tokens": 12, "seed": 1, **settings}})
    asking = Asking(Planted(tokenizer, chain), tokenizer, settings_of(spec))
    turns = [{"role": "user", "content": "?"}]
    examples = [Example(place, place, turns, turns, right) for place in range(records)]
    return [_record(each, asking.cells(each), CheckerSpec("exact")) for each in examples]


def scores(tokenizer, chain, lanes, right, **settings):
    records = asked(tokenizer, chain, lanes, right, **settings)
    named = [{"name": str(lane), "strategy": "x"} for lane in lanes]
    return [row["score"] for row in table(records, 1, named, (), 0)]


NOISE = {str(digit): 0.1 for digit in range(10)}
GARDEN = {
    "": {"a": 0.6, "b": 0.4},
    "a": NOISE,
    "b": {"c": 1.0},
    "c": {"": 1.0},
    **dict.fromkeys("0123456789", {"": 1.0}),
}
"""The likeliest first token leads to ten unlikely answers, the other one to a likely one."""
VOTES = {
    "": {"w": 0.2, **dict.fromkeys("abcdefgh", 0.1)},
    "w": {"1": 1.0},
    **dict.fromkeys("abcdefgh", {"2": 0.9, "3": 0.1}),
}
VOTES |= dict.fromkeys("123", {"": 1.0})
"""Eight ways to the right answer, none of them as likely as the one to the wrong answer."""
CHAIN = {"": {"a": 0.8, "x": 0.2}, **{a: {b: 0.8, "x": 0.2} for a, b in zip("abcdef", "bcdefg", strict=True)}}
CHAIN |= {"g": {"": 1.0}, "x": {"": 1.0}}
"""One right answer of seven tokens, at each of which one in five draws goes astray."""


def test_beams_win_where_the_likeliest_first_token_leads_astray(tiny_tokenizer):
    beam, greedy, sample = scores(
        tiny_tokenizer, GARDEN, [{"strategy": "beam", "num_beams": 4}, "greedy", "sample"], "bc"
    )
    assert beam == 1 and greedy == 0 and sample < 0.7


def test_self_consistency_wins_where_many_ways_lead_to_one_answer(tiny_tokenizer):
    vote = {"strategy": "self_consistency", "num_return_sequences": 16, "vote_on": "regex", "vote_regex": "[0-9]"}
    lanes = ["greedy", "sample", {"strategy": "beam", "num_beams": 4}, vote]
    records = asked(tiny_tokenizer, VOTES, lanes, "2", temperature=1.0)
    right = [sum(record["cells"][lane]["text"].endswith("2") for record in records) / 40 for lane in range(4)]
    assert right[0] == 0 and 0.5 < right[1] < 0.9 and right[3] > max(right[:3]) and right[3] >= 0.9


def test_temperature_hurts_where_one_answer_is_right_token_by_token(tiny_tokenizer):
    lanes = [{"strategy": "sample", "name": str(heat), "temperature": heat, "draws": "x"} for heat in (0, 0.5, 1, 2)]
    got = scores(tiny_tokenizer, CHAIN, lanes, "abcdefg", records=60)
    assert got[0] == 1 and got[0] > got[1] > got[2] > got[3]


def searched(tokenizer, records=60):
    given = {"strategy": "sample", "values": {"temperature": [0.1, 0.6, 1, 2]}}
    spec = DecodingSpec.from_value({"search": given, "settings": {"max_new_tokens": 12}})
    lanes = spec.settings["lanes"]
    assert DecodingSpec.from_value({"settings": spec.settings, "search": spec.search}) == spec  # read again, as it was
    return spec, asked(tokenizer, CHAIN, lanes, "abcdefg", records), lanes


def test_a_search_finds_the_planted_value_and_the_ranking_of_one_half_predicts_the_other(tiny_tokenizer):
    spec, records, lanes = searched(tiny_tokenizer)
    (found,) = search.told(records, 1, len(lanes), spec.search["first"], 7)
    assert lanes[found["chosen"]]["temperature"] == 0.1 and found["n"] == [30, 30]
    assert found["score"] == found["base"] == 1 and found["agreement"] > 0.9
    assert found["difference"]["value"] == 0


def is_not_told_too_much(told):
    """Candidates that are all the same coin: the score that is told is on the mean that of a coin, the chooser's above it."""
    dice, differences = np.random.default_rng(0), []
    for seed in range(60):
        flips = dice.random((40, 17)) < 0.5
        cells = [{"cells": [{"correct": bool(flip), "tokens": 1} for flip in row]} for row in flips]
        (found,) = told(cells, 1, 17, 1, seed)
        assert found["chose"] > 0.55
        differences.append(found["score"] - 0.5)
    assert abs(np.mean(differences)) < 0.04


def test_the_score_that_is_told_knows_nothing_of_the_choice():
    is_not_told_too_much(search.told)


def test_a_search_that_tells_the_half_that_chose_fails_the_check(monkeypatch):
    right = search.halves
    monkeypatch.setattr(search, "halves", lambda records, seed: (right(records, seed)[0],) * 2)
    with pytest.raises(AssertionError):
        is_not_told_too_much(search.told)


@pytest.mark.parametrize(
    "given",
    [
        {"strategy": "luck", "values": {"temperature": [1, 2]}},
        {"strategy": "sample", "values": {}},
        {"strategy": "sample", "values": {"num_beams": [1, 2]}},
        {"strategy": "sample", "values": {"temperature": 1}},
        {"strategy": "sample", "values": {"temperature": [1]}},
        {"strategy": "sample", "values": {"temperature": list(range(10)), "top_k": list(range(1, 11))}},
        {"strategy": "sample", "values": {"temperature": [1, 99]}},
        {"strategy": "sample", "values": {"temperature": [[1], [2]]}},
        {"strategy": "sample", "values": {"temperature": [1, 2]}, "first": 5},
        {"strategy": "sample", "values": {"temperature": [1, 2]}, "first": "1"},
        "everything",
    ],
)
def test_a_search_over_what_cannot_be_searched_is_a_sentence(given):
    with pytest.raises(UserError):
        DecodingSpec.from_value({"search": given})
