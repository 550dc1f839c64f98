"""Speculative decoding by prompt lookup: its text is greedy's, whatever is drafted, and its drafts are transformers'."""

import pytest
import torch
from transformers.generation.candidate_generator import PromptLookupCandidateGenerator

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, SpeculativeStep, decode_lanes, speculative
from llmdemo.decoding.speculative import lookup

PROMPT = [5, 6, 7, 8, 5, 6, 7, 9, 5, 6]
REPEATING = [11, 12, 13, 14, 15] * 6


def says_what_greedy_says(run, make, **more):
    drafted = accepted = 0
    for seed in range(6):
        for prompt in (PROMPT, REPEATING):
            for eos in ([], [3, 4, 5]):
                lanes = ["greedy", "speculative"]
                _, got = run(make(seed), prompt, eos_token_ids=eos, lanes=lanes, max_new_tokens=30, **more)
                greedy, ours = got["greedy"], got["speculative"]
                assert ours.token_ids == greedy.token_ids and ours.finish_reason == greedy.finish_reason
                assert ours.logprobs == pytest.approx(greedy.logprobs, abs=1e-3)
                drafted += ours.drafted
                accepted += ours.accepted
    return drafted, accepted


@pytest.mark.parametrize("more", [{}, {"prompt_lookup_num_tokens": 1}, {"prompt_lookup_num_tokens": 64}])
@pytest.mark.slow
def test_the_text_is_greedys(run, tiny_llama, more):
    drafted, accepted = says_what_greedy_says(run, tiny_llama, **more)
    assert 0 < accepted < drafted


@pytest.mark.slow
def test_the_text_is_greedys_with_penalties_too(run, tiny_llama):
    says_what_greedy_says(run, tiny_llama, repetition_penalty=1.3, no_repeat_ngram_size=3, min_new_tokens=5)


def test_a_lane_that_takes_a_draft_unchecked_fails_the_check(run, tiny_llama, monkeypatch):
    class Trusting(speculative.SpeculativeLane):
        def _choose(self, logits):
            step = super()._choose(logits)
            draft = lookup(self._ids, 1)
            if draft and self.forwards:
                self._greedy.tokens[-1] = draft[0]
            return step

    monkeypatch.setattr("llmdemo.decoding.lane_maker.SpeculativeLane", Trusting)
    with pytest.raises(AssertionError):
        says_what_greedy_says(run, tiny_llama)


def test_a_model_whose_past_cannot_be_cut_reads_everything_again_and_says_the_same(run, tiny_gpt2):
    lanes = ["greedy", "speculative"]
    _, got = run(tiny_gpt2, REPEATING, eos_token_ids=[], lanes=lanes, max_new_tokens=20)
    assert got["speculative"].token_ids == got["greedy"].token_ids


def test_a_text_that_repeats_takes_fewer_forwards_than_tokens(run, tiny_llama):
    steps, got = run(tiny_llama(4), REPEATING, eos_token_ids=[], lanes=["speculative"], max_new_tokens=60)
    result = got["speculative"]
    assert len(result.token_ids) == 60 and result.forwards == len(steps) <= 60
    assert result.generated == result.forwards + result.drafted
    assert len(result.token_ids) == result.forwards + result.accepted - (steps[-1].lanes["speculative"].accepted == len(
        steps[-1].lanes["speculative"].tokens))  # fmt: skip


def test_a_step_tells_what_was_drafted_and_how_much_of_it_was_right(run, tiny_llama):
    steps, got = run(tiny_llama(1), PROMPT, eos_token_ids=[], lanes=["greedy", "speculative"], max_new_tokens=30)
    said = []
    for step in steps:
        part = step.lanes.get("speculative")
        if part is None:
            break
        assert isinstance(part, SpeculativeStep)
        assert [one.token for one in part.tokens][: part.accepted] == list(part.drafted[: part.accepted])
        assert len(part.tokens) in (part.accepted, part.accepted + 1)
        said += [one.token for one in part.tokens]
    assert tuple(said) == got["greedy"].token_ids


def is_transformers_draft(find):
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        ids = torch.randint(0, 6, (1, 20), generator=generator)
        theirs = PromptLookupCandidateGenerator(
            num_output_tokens=5, max_matching_ngram_size=2, max_length=1000, eos_token_id=torch.tensor([99])
        ).get_candidates(ids)[0][0, 20:]
        assert find(ids[0].tolist(), 5) == theirs.tolist()


def test_what_is_drafted_is_what_transformers_drafts():
    is_transformers_draft(lookup)


def test_a_draft_after_the_last_place_rather_than_the_first_fails_the_check():
    def latest(ids, most):
        for size in (2, 1):
            for at in range(len(ids) - size - 1, -1, -1):
                if ids[at : at + size] == ids[-size:]:
                    return ids[at + size : at + size + most]
        return []

    with pytest.raises(AssertionError):
        is_transformers_draft(latest)


def test_beside_sampling_and_beams_the_others_say_what_they_say_without_it(run, tiny_llama):
    others = ["beam", "sample", {"strategy": "best_of_n", "num_return_sequences": 3}]
    _, with_it = run(tiny_llama(4), PROMPT, lanes=["speculative", *others], max_new_tokens=15)
    _, without = run(tiny_llama(4), PROMPT, lanes=others, max_new_tokens=15)
    assert list(with_it) and all(with_it[name].token_ids == without[name].token_ids for name in without)


@pytest.mark.parametrize("value", [0, 65, 1.5, "many"])
def test_a_number_of_drafted_tokens_that_cannot_be_is_a_sentence(value):
    with pytest.raises(UserError, match="prompt_lookup_num_tokens"):
        DecodeSettings.from_dict({"lanes": ["speculative"], "prompt_lookup_num_tokens": value})


def drafted_by(make, assistant, lane=None, eos=(3, 4, 5), length=30):
    """{lane: LaneResult} of greedy and of a speculative lane for which `assistant` drafts."""
    lanes = ["greedy", {"strategy": "speculative", "assistant_model_id": "small", **(lane or {})}]
    settings = DecodeSettings.from_dict({"lanes": lanes, "max_new_tokens": length})
    steps = list(decode_lanes(make, PROMPT, settings, list(eos), assistants={"small": assistant}))
    return {name: result for step in steps for name, result in step.results.items()}


@pytest.mark.parametrize("tokens", [1, 5, 40])
@pytest.mark.slow
def test_with_a_draft_model_the_text_is_greedys_whatever_it_drafts(tiny_llama, tiny_gpt2, tokens):
    for seed in range(2):
        model, lane = tiny_llama(seed), {"num_assistant_tokens": tokens}
        for assistant in (tiny_llama(seed + 1), tiny_gpt2, model):
            got = drafted_by(model, assistant, lane, () if assistant is model else (3, 4, 5))
            assert got["speculative"].token_ids == got["greedy"].token_ids
            if assistant is model:  # it drafts what greedy says, so that all of it is right
                assert got["speculative"].accepted == got["speculative"].drafted > 0
                fewest = -(-(len(got["greedy"].token_ids) - 1) // (tokens + 1)) + 1
                assert got["speculative"].forwards == fewest


def test_a_draft_does_not_depend_on_what_was_drafted_and_thrown_away_before(tiny_llama):
    model, ids = tiny_llama(2), list(PROMPT)
    one = speculative.ModelDraft(model)
    for kept in (5, 0, 2, 5, 3):
        drafted = one(ids, 5)
        assert drafted == speculative.ModelDraft(model)(ids, 5)
        ids += [*drafted[:kept], (drafted[-1] + 1) % 61]


def test_a_draft_model_whose_context_or_vocabulary_ends_drafts_less_and_the_text_stays(tiny_llama):
    model = tiny_llama(1)
    for small in (tiny_llama(1, max_position_embeddings=16), tiny_llama(3, vocab_size=30)):
        got = drafted_by(model, small)
        assert got["speculative"].token_ids == got["greedy"].token_ids


def test_a_draft_model_that_is_not_there_is_refused(tiny_llama):
    settings = DecodeSettings.from_dict({"lanes": [{"strategy": "speculative", "assistant_model_id": "gone"}]})
    with pytest.raises(UserError, match="gone"):
        decode_lanes(tiny_llama(0), PROMPT, settings)
