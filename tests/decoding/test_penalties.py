"""Each penalty against transformers' own processor, or float64 by its definition; the well-known wrong versions fail."""

import math

import numpy as np
import pytest
import torch
from transformers import (
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, decode_lanes, penalties
from llmdemo.decoding.lane_maker import LaneMaker
from llmdemo.decoding.lanes import TokenLane
from llmdemo.decoding.penalties import Penalties, frequency_and_presence, repeated_ngrams, repetition
from llmdemo.settings.lane import LaneSettings, Resolved
from tests.decoding.test_filters import chi_square_fits
from tests.decoding.test_graphs import graph_run, ids

PROMPT = [5, 6, 7, 8, 5, 6, 7, 9, 5, 6]
V = 61


def random_case(seed, length=30, rows=3, vocabulary=12):
    generator = torch.Generator().manual_seed(seed)
    said = torch.randint(0, vocabulary, (rows, length), generator=generator)
    return said, torch.randn(rows, vocabulary, generator=generator) * 3


def written(said, room=6):
    """The history as a run holds it: with room for what is not yet said."""
    return torch.cat([said, torch.full((said.shape[0], room), penalties._UNWRITTEN)], dim=1)


def length_of(said):
    return torch.tensor([said.shape[1]])


# --- against transformers' processors, and mutants ----------------------------------------------------------------


def is_transformers_repetition(penalise):
    for seed in range(20):
        said, scores = random_case(seed, length=5)
        for penalty in (0.5, 1.3, 8.0):
            want = RepetitionPenaltyLogitsProcessor(penalty)(said, scores)
            assert torch.equal(penalise(scores, written(said), penalty), want)


def test_the_repetition_penalty_is_that_of_transformers():
    is_transformers_repetition(repetition)


def test_a_repetition_penalty_that_divides_negative_scores_too_fails_the_check():
    def divides(scores, history, penalty):
        said = torch.zeros(3, 13, dtype=torch.bool).scatter_(1, history.where(history >= 0, 12), True)[:, :-1]
        return torch.where(said, scores / penalty, scores)

    with pytest.raises(AssertionError):
        is_transformers_repetition(divides)


def bans_as_transformers(banned):
    for seed in range(20):
        for length in (1, 2, 3, 30):
            said, scores = random_case(seed, length=length)
            for size in (1, 2, 3, 5):
                want = NoRepeatNGramLogitsProcessor(size)(said, scores) == -torch.inf
                assert torch.equal(banned(written(said), length_of(said), size, 12), want)


def test_repeated_ngrams_are_those_of_transformers():
    bans_as_transformers(repeated_ngrams)


def test_an_ngram_longer_than_all_that_may_be_said_bans_nothing():
    assert not repeated_ngrams(torch.tensor([[1, 2, 1]]), torch.tensor([3]), 9, 5).any()


def test_a_ban_on_ngrams_one_too_long_fails_the_check():
    with pytest.raises(AssertionError):
        bans_as_transformers(lambda history, length, size, v: repeated_ngrams(history, length, size + 1, v))


BIASES = (((3,), -2.0), ((1, 4), 5.0), ((2, 2, 5), -math.inf), ((7, 5), 1.5))


def biased_as_transformers(values):
    finite = [([*ids], bias) for ids, bias in BIASES if bias > -math.inf]
    processors = [
        SequenceBiasLogitsProcessor([[ids, bias] for ids, bias in finite]),
        NoBadWordsLogitsProcessor([[2, 2, 5]], eos_token_id=torch.tensor([0])),
    ]
    for seed in range(40):
        said, scores = random_case(seed, length=4 if seed else 1, vocabulary=8)
        want = scores
        for processor in processors:
            want = processor(said, want)
        got = penalties._Biases(values, torch.device("cpu")).apply(scores, written(said), length_of(said))
        assert torch.allclose(got, want, atol=1e-6)
        ends = [ids[-1] for ids, _ in BIASES]
        assert torch.equal(
            got[:, [i for i in range(8) if i not in ends]], want[:, [i for i in range(8) if i not in ends]]
        )


def test_biases_of_tokens_and_sequences_are_those_of_transformers():
    biased_as_transformers(BIASES)


def test_a_bias_on_every_token_of_a_sequence_fails_the_check():
    with pytest.raises(AssertionError):
        biased_as_transformers(tuple(((token,), bias) for tokens, bias in BIASES for token in tokens))


def penalised(lane, scores, said=(), prompt=PROMPT, eos=(2,), resolved=None):
    """`scores` (V,) as the lane's penalties leave them after the answer `said`."""
    state = Penalties(lane, prompt, 1, 20, list(eos), resolved or Resolved(), torch.device("cpu"))
    for t, token in enumerate(said):
        state.extend(torch.tensor([token]), None, torch.tensor([t]))
    return state.apply(scores[None], torch.tensor([len(said)]))[0]


@pytest.mark.parametrize("said", [0, 2, 3])
def test_min_new_tokens_bans_the_end_as_transformers_does(said):
    scores = torch.randn(V, generator=torch.Generator().manual_seed(1))
    answer = [11, 12, 13][:said]
    want = MinNewTokensLengthLogitsProcessor(len(PROMPT), 3, torch.tensor([2]))(
        torch.tensor([[*PROMPT, *answer]]), scores[None]
    )
    assert torch.equal(penalised(LaneSettings("x", "greedy", min_new_tokens=3), scores, answer), want[0])


# --- frequency and presence: OpenAI's definition, float64 ---------------------------------------------------------

SAID = [3, 3, 3, 1]
LOGITS = torch.tensor([2.0, 1.6, 1.5, 2.7, 0.5, -0.3, -1.0])
LANE = LaneSettings("c", "sample", temperature=0.8, frequency_penalty=0.7, presence_penalty=0.4)


def wanted():
    """μ_j − count_j · frequency − [count_j > 0] · presence, then the temperature."""
    counts = np.bincount(SAID, minlength=len(LOGITS))
    scores = LOGITS.double().numpy() - 0.7 * counts - 0.4 * (counts > 0)
    weights = np.exp(scores / 0.8)
    return weights / weights.sum()


def draws_fit(scores_of):
    from llmdemo.decoding.lanes import draw, lane_uniforms, lane_weights

    weights, _ = lane_weights(scores_of(LANE, LOGITS), LANE)
    chi_square_fits(draw(weights, lane_uniforms(11, "c", 100_000)), wanted())


def engine(lane, logits):
    return penalised(lane, logits, SAID, prompt=[0, 1, 2, 2])


def counts_the_prompt(lane, logits):
    return penalised(lane, logits, SAID, prompt=[0, 1, 2, 2], resolved=Resolved(answer_tokens=4))


def presence_for_each_time(lane, logits):
    counts = torch.bincount(torch.tensor(SAID), minlength=len(logits))
    return logits - (lane.frequency_penalty + lane.presence_penalty) * counts


def after_the_temperature(lane, logits):
    return engine(lane, logits / lane.temperature) * lane.temperature


def test_a_hundred_thousand_draws_have_the_penalised_distribution():
    draws_fit(engine)


@pytest.mark.parametrize("mutant", [counts_the_prompt, presence_for_each_time, after_the_temperature])
def test_a_wrong_frequency_or_presence_penalty_fails_the_same_check(mutant):
    with pytest.raises(AssertionError):
        draws_fit(mutant)


def test_the_tokens_of_a_fork_are_counted_as_the_answers():
    whole = penalised(LANE, LOGITS, SAID, prompt=[0, 1])
    forked = penalised(LANE, LOGITS, SAID[2:], prompt=[0, 1, *SAID[:2]], resolved=Resolved(answer_tokens=2))
    assert torch.equal(whole, forked)


def test_a_token_that_has_no_score_is_passed_over():
    assert torch.equal(frequency_and_presence(torch.zeros(1, 3), torch.tensor([[9, 3]]), 1.0, 1.0), torch.zeros(1, 3))


def test_where_everything_would_be_banned_nothing_is():
    lane = LaneSettings("x", "greedy", no_repeat_ngram_size=1)
    scores = torch.randn(4)
    assert torch.equal(penalised(lane, scores, [0, 1, 2, 3], prompt=[0]), scores)
    assert penalised(lane, torch.full((4,), math.nan), [0], prompt=[0]).isnan().any()  # still told as what it is


# --- whole lanes ---------------------------------------------------------------------------------------------------

CHOICES = [
    {"repetition_penalty": 1.4},
    {"repetition_penalty": 0.8},
    {"no_repeat_ngram_size": 2},
    {"min_new_tokens": 12},
    {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "min_new_tokens": 8},
]


@pytest.mark.parametrize("values", CHOICES, ids=str)
@pytest.mark.parametrize("seed", [0, 3])
def test_greedy_and_beams_are_generates_with_the_same_penalties(tiny_llama, run, reference, values, seed):
    model = tiny_llama(seed, eos_token_id=[2, 11, 17])
    _, results = run(model, PROMPT, lanes=["greedy", "beam"], num_beams=3, max_new_tokens=24, **values)
    assert results["greedy"].token_ids == reference(model, PROMPT, max_new_tokens=24, **values)[0][0]
    tokens, score = reference(model, PROMPT, max_new_tokens=24, num_beams=3, **values)[0]
    assert results["beam"].token_ids == tokens
    assert results["beam"].score == pytest.approx(score, abs=1e-4)


def test_biases_reach_greedy_and_beams_as_in_generate(tiny_llama, run, reference):
    model = tiny_llama(3)
    bias = {"11": 6.0, "12": -50.0}
    sequence_bias = [[[11], 6.0], [[12], -50.0]]
    _, results = run(model, PROMPT, lanes=["greedy", "beam"], num_beams=3, max_new_tokens=16, logit_bias=bias)
    assert results["greedy"].token_ids == reference(model, PROMPT, max_new_tokens=16, sequence_bias=sequence_bias)[0][0]
    beams = reference(model, PROMPT, max_new_tokens=16, num_beams=3, sequence_bias=sequence_bias)[0]
    assert results["beam"].token_ids == beams[0] and results["beam"].score == pytest.approx(beams[1], abs=1e-4)


def test_the_trace_keeps_the_raw_models_probabilities_and_shows_what_was_drawn_from(tiny_llama, run):
    model = tiny_llama(4)
    steps, results = run(model, PROMPT, lanes=["sample", "beam"], max_new_tokens=12, repetition_penalty=3.0)
    changed = False
    for name in ("sample", "beam"):
        with torch.inference_mode():
            tokens = torch.tensor([[*PROMPT, *results[name].token_ids]])
            raw = model(input_ids=tokens).logits[0].double()
        for i, (token, logprob) in enumerate(zip(results[name].token_ids, results[name].logprobs, strict=True)):
            at = len(PROMPT) - 1 + i
            assert logprob == pytest.approx(raw[at].log_softmax(-1)[token].item(), abs=1e-4)
            if name == "sample":
                scores = RepetitionPenaltyLogitsProcessor(3.0)(tokens[:, : at + 1], raw[at][None])[0]
                drawn = (scores / 0.8).softmax(-1)
                assert steps[i].lanes[name].filtered == pytest.approx(drawn[token].item(), abs=1e-4)
                changed |= abs(drawn[token] - (raw[at] / 0.8).softmax(-1)[token]) > 1e-3
    assert changed


def test_no_lane_says_an_ngram_twice_however_it_chooses(tiny_llama, run):
    lanes = ["greedy", "top_k", "top_p", "min_p", "sample", "beam"]
    _, results = run(tiny_llama(3), PROMPT, lanes=lanes, max_new_tokens=40, no_repeat_ngram_size=2, eos_token_ids=[])
    for result in results.values():
        said = [*PROMPT, *result.token_ids]
        fresh = [tuple(said[i : i + 2]) for i in range(len(PROMPT) - 1, len(said) - 1)]
        assert len(fresh) == len(set(fresh))


def test_penalties_belong_to_their_lane_alone(tiny_llama, run):
    model = tiny_llama(3)
    _, plain = run(model, PROMPT, max_new_tokens=24)
    assert len(set(plain["greedy"].token_ids)) < 24  # it repeats itself
    lane = {"strategy": "greedy", "name": "fresh", "no_repeat_ngram_size": 1}
    _, mixed = run(model, PROMPT, max_new_tokens=24, lanes=["greedy", "top_k", "top_p", "beam", lane])
    assert all(mixed[name].token_ids == plain[name].token_ids for name in plain)
    assert len(set(mixed["fresh"].token_ids)) == len(mixed["fresh"].token_ids)


def test_lanes_without_penalties_keep_no_history(tiny_llama):
    settings = DecodeSettings.from_dict({"lanes": ["greedy"]})
    lane = LaneMaker(PROMPT, settings, 9, [2], torch.device("cpu")).lane(settings.lanes[0])
    assert isinstance(lane, TokenLane) and lane.penalties is None


@pytest.mark.parametrize("first_steps", [2, 128])
def test_a_step_of_fixed_shapes_gives_the_same_penalised_lanes(tiny_llama, run, monkeypatch, first_steps):
    from llmdemo.decoding import fused_llama

    monkeypatch.setattr(fused_llama, "_FIRST_STEPS", first_steps)
    values = dict(
        lanes=["greedy", "top_p", "sample", "beam"],
        repetition_penalty=1.3,
        no_repeat_ngram_size=2,
        frequency_penalty=0.5,
        presence_penalty=0.2,
        min_new_tokens=6,
        logit_bias={"11": 3},
        temperature=1.5,
    )
    model = tiny_llama(4)
    eos = list(range(2, 9))
    got = graph_run(model, eos=eos, prompt=PROMPT, **values)[1]
    want = run(model, PROMPT, eos_token_ids=eos, max_new_tokens=40, **values)[1]
    assert ids(got) == ids(want)
    assert min(len(result.token_ids) for result in want.values()) > 6


# --- bad input -----------------------------------------------------------------------------------------------------


def test_an_id_that_the_model_does_not_have_is_refused(tiny_llama, run):
    with pytest.raises(UserError, match="does not have"):
        run(tiny_llama(), PROMPT, logit_bias={"61": 3})


@pytest.mark.parametrize("values", [{"bad_words": ["a"]}, {"logit_bias": {"a": 2}}])
def test_a_text_cannot_be_banned_without_a_tokenizer(tiny_llama, values):
    with pytest.raises(UserError, match="has no(ne| tokenizer)"):
        decode_lanes(tiny_llama(), PROMPT, DecodeSettings.from_dict(values))


def dry_by_hand(history, breakers, vocabulary, multiplier, base, allowed):
    """What DRY takes off each token's score after `history`: its author's loop (text-generation-webui 5677)."""
    off, last = [0.0] * vocabulary, history[-1]
    if last in breakers:
        return off
    lengths = {}
    for i, token in enumerate(history[:-1]):
        following = history[i + 1]
        if token != last or following in breakers:
            continue
        length = 1
        while length < 50:
            j, previous = i - length, history[-(length + 1)] if length < len(history) else None
            if j < 0 or history[j] != previous or previous in breakers:
                break
            length += 1
        lengths[following] = max(length, lengths.get(following, 0))
    for token, length in lengths.items():
        if length >= allowed:
            off[token] = multiplier * base ** (length - allowed)
    return off


def dry_equals(cases):
    for history, breakers, allowed in cases:
        lane = LaneSettings("x", "greedy", dry_multiplier=0.8, dry_base=1.75, dry_allowed_length=allowed)
        resolved = Resolved(breakers=tuple(breakers))
        scores = torch.zeros(1, 7)
        changed = Penalties(lane, history, 1, 5, [], resolved, scores.device).apply(scores, torch.tensor([0]))
        assert changed[0].tolist() == pytest.approx(
            [-x for x in dry_by_hand(history, breakers, 7, 0.8, 1.75, allowed)], rel=1e-6
        )


def dry_cases():
    generator = torch.Generator().manual_seed(3)
    for case in range(200):
        history = torch.randint(0, 3 if case % 2 else 6, (1 + case % 40,), generator=generator).tolist()
        yield history, [[], [1], [0, 2]][case % 3], 1 + case % 4
    yield [4, 5] * 60, [], 2  # longer than DRY counts


def test_dry_is_its_authors_loop():
    dry_equals(dry_cases())


def test_a_dry_that_counts_across_its_breakers_fails_the_check(monkeypatch):
    right = penalties.repeat_lengths
    monkeypatch.setattr(penalties, "repeat_lengths", lambda h, n, breakers, v: right(h, n, breakers[:0], v))
    with pytest.raises(AssertionError):
        dry_equals(dry_cases())
