"""Diverse beam search against transformers 4 (data/group_beams.py says how its results were made); mutants fail."""

import json
from pathlib import Path

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, penalties
from llmdemo.decoding.penalties import Diversity
from tests.decoding.data import group_beams
from tests.decoding.test_graphs import graph_run, ids

PROMPT = group_beams.PROMPT
CASES = json.loads((Path(group_beams.HERE) / "group_beams.json").read_text())["cases"]
NOT_SETTINGS = ("seed", "eos", "rows", "scores")


@pytest.fixture(scope="module")
def models():
    return {
        seed: group_beams.model(seed, list(eos)) for seed, eos in {(case["seed"], tuple(case["eos"])) for case in CASES}
    }


def ended(row, eos):
    """A row of generate up to its first EOS, without what fills it up."""
    end = next((at + 1 for at, token in enumerate(row) if token in eos), len(row))
    return tuple(row[:end])


def gives_what_transformers_gave(run, models, cases):
    for case in cases:
        lane = {"strategy": "diverse_beam", **{key: each for key, each in case.items() if key not in NOT_SETTINGS}}
        _, got = run(models[case["seed"]], PROMPT, eos_token_ids=case["eos"], lanes=[lane], max_new_tokens=10)
        result = got["diverse_beam"]
        want = [(ended(row, case["eos"]), score) for row, score in zip(case["rows"], case["scores"], strict=True)]
        assert result.token_ids == want[0][0]
        assert [one.score for one in result.sequences] == pytest.approx([score for _, score in want], abs=2e-4)
        assert sorted(one.token_ids for one in result.sequences) == sorted(tokens for tokens, _ in want)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.slow
def test_all_texts_and_scores_are_those_of_transformers(run, models, seed):
    gives_what_transformers_gave(run, models, [case for case in CASES if case["seed"] == seed])


@pytest.mark.parametrize("mutant", ["no diversity", "own group too", "once however many"])
@pytest.mark.slow
def test_another_diversity_fails_the_check(run, models, monkeypatch, mutant):
    def apply(self, scores, t):
        for tokens, counts in self.taken:
            if mutant == "own group too":
                tokens = torch.cat([tokens, tokens[:1]])
            off = torch.where(counts, self.weight, 0.0).expand(len(tokens))
            if mutant == "once however many":
                scores = scores.index_put((torch.arange(len(scores))[:, None], tokens[None]), scores[:, tokens] - off)
            elif mutant == "own group too":
                scores = scores - torch.zeros_like(scores[0]).index_add_(0, tokens, off)
        return scores if self.penalties is None else self.penalties.apply(scores, t)

    monkeypatch.setattr(Diversity, "apply", apply)
    with pytest.raises(AssertionError):
        gives_what_transformers_gave(run, models, [case for case in CASES if case["seed"] == 0])


def test_one_group_is_beam_search(run, tiny_llama):
    lanes = ["beam", {"strategy": "diverse_beam", "num_beam_groups": 1, "diversity_penalty": 5}]
    for eos in ([], list(range(2, 12))):
        _, got = run(tiny_llama(4), PROMPT, eos_token_ids=eos, lanes=lanes, num_beams=4, max_new_tokens=20)
        pairs = [[(one.token_ids, round(one.score, 4)) for one in got[name].sequences] for name in got]
        assert pairs[0] == pairs[1]


def test_a_diversity_of_zero_makes_every_group_the_same_search(run, tiny_llama):
    lane = {"strategy": "diverse_beam", "num_beam_groups": 2, "diversity_penalty": 0}
    _, got = run(tiny_llama(4), PROMPT, lanes=[lane], num_beams=4, max_new_tokens=12)
    texts = [one.token_ids for one in got["diverse_beam"].sequences]
    assert len(texts) == 4 and len(set(texts)) == 2


def test_the_groups_first_tokens_differ_where_diversity_costs_much(run, tiny_llama):
    lane = {"strategy": "diverse_beam", "num_beam_groups": 4, "diversity_penalty": 50}
    _, got = run(tiny_llama(4), PROMPT, lanes=[lane], num_beams=4, max_new_tokens=6)
    assert len({one.token_ids[0] for one in got["diverse_beam"].sequences}) == 4


@pytest.mark.parametrize("eos", [[], list(range(2, 12))])
def test_the_tree_spells_every_text(run, tiny_llama, eos):
    lane = {"strategy": "diverse_beam", "num_beam_groups": 2}
    steps, got = run(tiny_llama(4), PROMPT, eos_token_ids=eos, lanes=[lane], num_beams=4, max_new_tokens=14)
    before, spelt = [()], set()
    for step in steps:
        part = step.lanes["diverse_beam"]
        assert len(part.tops) == len(part.entropies) <= max(1, len(before))
        assert all(branch.parent < len(before) for branch in (*part.live, *part.finished, *part.pruned))
        spelt |= {(*before[branch.parent], branch.token) for branch in part.finished}
        before = [(*before[branch.parent], branch.token) for branch in part.live]
    assert {one.token_ids for one in got["diverse_beam"].sequences} <= spelt
    assert got["diverse_beam"].token_ids == steps[-1].lanes["diverse_beam"].best


@pytest.mark.parametrize("eos", [(), tuple(range(2, 12))])
def test_a_step_of_fixed_shapes_gives_the_same_texts(run, tiny_llama, eos):
    lanes = ["greedy", {"strategy": "diverse_beam", "num_beam_groups": 2, "no_repeat_ngram_size": 2}]
    _, got = graph_run(tiny_llama(4), eos=eos, lanes=lanes, num_beams=4)
    _, want = run(tiny_llama(4), PROMPT, eos_token_ids=list(eos), max_new_tokens=40, lanes=lanes, num_beams=4)
    assert ids(got) == ids(want)


def test_a_group_that_has_ended_lowers_nobodys_scores():
    diversity = Diversity(2.0, None)
    diversity.taken = [(torch.tensor([1, 1]), torch.tensor([True])), (torch.tensor([2, 2]), torch.tensor([False]))]
    assert diversity.apply(torch.zeros(1, 4), torch.tensor([3])).tolist() == [[0.0, -4.0, 0.0, 0.0]]
    assert penalties.Diversity is Diversity


@pytest.mark.parametrize("lane", [{"num_beams": 4, "num_beam_groups": 3}, {"num_beams": 2, "num_beam_groups": 4}])
def test_beams_that_cannot_be_dealt_into_groups_are_a_sentence(lane):
    with pytest.raises(UserError, match="cannot be divided evenly"):
        DecodeSettings.from_dict({"lanes": [{"strategy": "diverse_beam", **lane}]})
