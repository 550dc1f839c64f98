"""Stochastic beams: the texts are a sample without replacement, by chi-square; the wrong version fails the same check."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import chi2

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, stochastic_beams
from llmdemo.decoding.lanes import Rows
from llmdemo.decoding.stochastic_beams import StochasticBeamLane, perturbed_children

PROMPT = [5, 6, 7, 8]
FIRST = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
SECOND = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.4, 0.35, 0.25]], dtype=torch.float64)
TEXTS = (FIRST[:, None] * SECOND).flatten()  # of the nine texts of two tokens
DRAWS = 100_000


def drawn_pairs(children) -> torch.Tensor:
    """(DRAWS, 2): the two texts of a stochastic beam of two beams over two steps, in their order."""
    generator = torch.Generator().manual_seed(3)
    possible = torch.ones(DRAWS, 3, dtype=torch.bool)
    top = children(
        FIRST.log().expand(DRAWS, 3), torch.zeros(DRAWS, 1, dtype=torch.float64), possible,
        torch.rand(DRAWS, 3, generator=generator, dtype=torch.float64),
    ).topk(2)  # fmt: skip
    found = []
    for beam in range(2):
        token = top.indices[:, beam]
        logprobs = FIRST.log()[token][:, None] + SECOND.log()[token]
        uniforms = torch.rand(DRAWS, 3, generator=generator, dtype=torch.float64)
        found.append((children(logprobs, top.values[:, beam : beam + 1], possible, uniforms), token))
    values = torch.cat([each for each, _ in found], dim=1)  # (DRAWS, 6)
    names = torch.cat([token[:, None] * 3 + torch.arange(3) for _, token in found], dim=1)
    return names.gather(1, values.topk(2).indices)


def draws_without_replacement(children):
    """Chi-square of all 72 ordered pairs against drawing one text and then another of the rest."""
    pairs = drawn_pairs(children)
    counts = torch.bincount(pairs[:, 0] * 9 + pairs[:, 1], minlength=81).double()
    statistic, cells = 0.0, 0
    for one, other in itertools.product(range(9), repeat=2):
        expected = 0.0 if one == other else DRAWS * float(TEXTS[one] * TEXTS[other] / (1 - TEXTS[one]))
        if expected == 0:
            assert counts[one * 9 + other] == 0
            continue
        statistic += (float(counts[one * 9 + other]) - expected) ** 2 / expected
        cells += 1
    assert statistic < chi2.ppf(0.9999, cells - 1)


def test_two_beams_over_two_steps_are_two_texts_drawn_without_replacement():
    draws_without_replacement(perturbed_children)


def test_children_whose_maximum_is_not_their_parents_fail_the_check():
    def unconditioned(logprobs, perturbed, children, uniforms):
        return logprobs - (-torch.log1p(-uniforms)).log()

    with pytest.raises(AssertionError):
        draws_without_replacement(unconditioned)


def test_children_that_are_only_shifted_to_their_parents_maximum_fail_the_check():
    def shifted(logprobs, perturbed, children, uniforms):
        gumbels = logprobs - (-torch.log1p(-uniforms)).log()
        return gumbels - gumbels.amax(-1, keepdim=True) + perturbed

    with pytest.raises(AssertionError):
        draws_without_replacement(shifted)


def test_the_best_child_has_its_parents_perturbed_log_probability():
    generator = torch.Generator().manual_seed(1)
    uniforms = torch.rand(50, 400, generator=generator, dtype=torch.float64)
    uniforms[:, 0] = 0.0
    logprobs = torch.randn(50, 400, generator=generator, dtype=torch.float64).log_softmax(-1) * 30
    possible = torch.rand(50, 400, generator=generator) > 0.5
    possible[:, 1] = True
    parent = torch.randn(50, 1, generator=generator, dtype=torch.float64) * 20
    got = perturbed_children(logprobs, parent, possible, uniforms)
    assert torch.allclose(got.amax(-1, keepdim=True), parent, atol=0, rtol=0)
    assert not got.isnan().any() and bool((got[~possible] == -torch.inf).all())


class Table:
    """Logits of texts of two tokens, and of an end after some of them."""

    def __init__(self, eos=()):
        self.lane_settings = DecodeSettings.from_dict(
            {"lanes": ["stochastic_beam"], "num_beams": 3, "temperature": 1.0}
        )
        self.eos = list(eos)

    def texts(self, seed):
        lane = StochasticBeamLane(self.lane_settings.lanes[0], seed, 2, self.eos, torch.device("cpu"))
        logits = FIRST.log().float().expand(3, -1)
        for t in range(2):
            tokens, _, numbers = lane.choose(Rows.of(logits, 3), torch.tensor([t]))
            lane.read(numbers[0].tolist(), t)
            if lane.finish_reason:
                break
            logits = SECOND[tokens].log().float()
        return lane.result(1.0)


@pytest.mark.slow
def test_the_lanes_first_text_is_a_sample_of_the_model_and_no_two_are_the_same():
    counts = dict.fromkeys(itertools.product(range(3), repeat=2), 0)
    draws = 3000
    table = Table()
    for seed in range(draws):
        texts = [one.token_ids for one in table.texts(seed).sequences]
        assert len(set(texts)) == 3
        counts[texts[0]] += 1
    expected = [draws * float(p) for p in TEXTS]
    statistic = sum((got - want) ** 2 / want for got, want in zip(counts.values(), expected, strict=True))
    assert statistic < chi2.ppf(0.9999, 8)


@pytest.mark.slow
def test_a_text_that_has_ended_stays_among_the_beams_with_its_score():
    firsts = {}
    for seed in range(2000):
        result = Table(eos=[0]).texts(seed)
        texts = [one.token_ids for one in result.sequences]
        assert len(set(texts)) == 3 and all((text == (0,)) == (len(text) == 1) for text in texts)
        assert all(one.finish_reason == ("eos" if one.token_ids[-1] == 0 else "length") for one in result.sequences)
        assert [one.score for one in result.sequences] == sorted((one.score for one in result.sequences), reverse=True)
        firsts[texts[0]] = firsts.get(texts[0], 0) + 1
    assert abs(firsts[(0,)] / 2000 - 0.5) < 4 * math.sqrt(0.25 / 2000)


@pytest.mark.parametrize("eos", [[], list(range(2, 12))])
def test_the_tree_spells_every_text_and_rows_are_those_that_go_on(run, tiny_llama, eos):
    steps, got = run(
        tiny_llama(4), PROMPT, eos_token_ids=eos, lanes=["greedy", "stochastic_beam"], num_beams=5, max_new_tokens=14
    )
    before, spelt = [()], set()
    for step in steps:
        part = step.lanes.get("stochastic_beam")
        if part is None:
            break
        assert len(part.tops) == len(part.entropies) == len(before)
        spelt |= {(*before[branch.parent], branch.token) for branch in part.finished}
        before = [(*before[branch.parent], branch.token) for branch in part.live]
    result = got["stochastic_beam"]
    texts = [one.token_ids for one in result.sequences]
    assert len(texts) == len(set(texts)) == 5 and set(texts) <= spelt
    assert all(len(one.logprobs) == len(one.token_ids) for one in result.sequences)


def test_the_same_seed_gives_the_same_texts_beside_whatever_other_lanes(run, tiny_llama):
    alone = run(tiny_llama(4), PROMPT, lanes=["stochastic_beam"], max_new_tokens=8)[1]["stochastic_beam"]
    beside = run(tiny_llama(4), PROMPT, lanes=["beam", "stochastic_beam", "sample"], max_new_tokens=8)[1]
    other = run(tiny_llama(4), PROMPT, lanes=["stochastic_beam"], max_new_tokens=8, seed=8)[1]["stochastic_beam"]
    assert alone.token_ids == beside["stochastic_beam"].token_ids
    assert {one.token_ids for one in alone.sequences} != {one.token_ids for one in other.sequences}


def test_penalties_follow_each_texts_own_history(run, tiny_llama):
    lane = {"strategy": "stochastic_beam", "no_repeat_ngram_size": 1, "num_beams": 4, "temperature": 2}
    _, got = run(tiny_llama(4), PROMPT, lanes=[lane], max_new_tokens=20)
    for one in got["stochastic_beam"].sequences:
        said = [*PROMPT, *one.token_ids]
        assert len(set(said)) == len(said)


def test_more_beams_than_there_are_texts_give_all_of_them():
    table = Table()
    table.lane_settings = replace(table.lane_settings, lanes=(replace(table.lane_settings.lanes[0], num_beams=20),))
    lane = table.lane_settings.lanes[0]
    made = StochasticBeamLane(lane, 1, 1, [], torch.device("cpu"))
    made.choose(Rows.of(FIRST.log().float().expand(20, -1), 3), torch.tensor([0]))
    made.read([0.0], 0)
    assert sorted(one.token_ids for one in made.result(1.0).sequences) == [(0,), (1,), (2,)]


def test_a_temperature_of_zero_leaves_nothing_to_draw():
    with pytest.raises(UserError, match="nothing to sample"):
        DecodeSettings.from_dict({"lanes": ["stochastic_beam"], "temperature": 0})
    assert stochastic_beams._SHOWN_PRUNED > 0
