"""The table of strategies: words in each language, a shape, a trace, a reference it equals, a mutant that fails."""

import ast
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from llmdemo.core.languages import languages, texts
from llmdemo.decoding import DecodeSettings, decode_lanes, lanes
from llmdemo.decoding.lanes import TokenLane
from llmdemo.decoding.plain import chosen, is_plain
from llmdemo.settings.lane import BEAMS, OFF, OWN, STRATEGIES, Resolved
from tests.decoding import test_beams, test_engine

ROOT = Path(__file__).resolve().parents[2]
_DRAWS = (
    "decoding/test_filters.py",
    "a_hundred_thousand_draws_have_the_filtered_distribution",
    "a_wrong_sampler_fails_the_same_check",
)
_CUTS = (
    "decoding/test_truncations.py",
    "the_kept_set_is_that_of_transformers",
    "a_wrong_truncation_fails_the_same_check",
)
PROOFS = {
    "greedy": ("decoding/test_engine.py", "greedy_is_that_of_generate", "../test_every_strategy.py"),
    "top_k": _DRAWS,
    "top_p": (
        "decoding/test_filters.py",
        "the_filters_are_those_of_transformers",
        "a_filter_that_drops_the_crossing_token_fails_the_check",
    ),
    "min_p": _DRAWS,
    "sample": _DRAWS,
    "typical_p": _CUTS,
    "epsilon": _CUTS,
    "eta": _CUTS,
    "top_n_sigma": (
        "decoding/test_truncations.py",
        "top_n_sigma_keeps_the_same_tokens_at_any_temperature",
        "a_deviation_of_probabilities_fails_the_same_check",
    ),
    "xtc": ("decoding/test_truncations.py", "xtc_draws_from_its_mixture", "a_wrong_xtc_fails_the_same_check"),
    "mirostat": (
        "decoding/test_truncations.py",
        "mirostat_is_the_papers_second_algorithm",
        "a_mirostat_that_reads_its_surprise_in_nats_fails_the_same_check",
    ),
    "beam": (
        "decoding/test_beams.py",
        "beams_are_those_of_generate_with_all_that_it_returns",
        "../test_every_strategy.py",
    ),
    "diverse_beam": (
        "decoding/test_diverse_beams.py",
        "all_texts_and_scores_are_those_of_transformers",
        "another_diversity_fails_the_check",
    ),
    "stochastic_beam": (
        "decoding/test_stochastic_beams.py",
        "two_beams_over_two_steps_are_two_texts_drawn_without_replacement",
        "children_whose_maximum_is_not_their_parents_fail_the_check",
    ),
    "contrastive": (
        "decoding/test_own_forward.py",
        "contrastive_search_says_what_transformers_4_said",
        "a_contrastive_search_that_forgets_what_it_said_itself_fails_the_check",
    ),
    "dola": (
        "decoding/test_own_forward.py",
        "dola_says_what_transformers_4_said",
        "a_dola_that_takes_the_layer_that_differs_least_fails_the_check",
    ),
    "speculative": (
        "decoding/test_speculative.py",
        "the_text_is_greedys",
        "a_lane_that_takes_a_draft_unchecked_fails_the_check",
    ),
    "best_of_n": (
        "decoding/test_several.py",
        "the_best_of_n_has_the_highest_mean_log_probability_of_the_raw_model",
        "a_best_of_n_by_the_sum_of_log_probabilities_fails_the_check",
    ),
    "self_consistency": (
        "arena/test_ranking.py",
        "answers_that_come_to_the_same_vote_together_and_those_without_one_do_not_vote",
        "a_vote_for_the_first_number_fails_the_check",
    ),
    "mbr": (
        "arena/test_ranking.py",
        "the_expected_utility_is_the_mean_with_every_other_answer_as_the_reference",
        "a_chrf_with_a_beta_of_one_fails_the_check",
    ),
}
"""strategy: (file of tests, the test against a reference, the test of a wrong version; or the one below)."""


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_has_words_a_shape_a_reference_and_a_mutant(strategy):
    for language in languages():
        keys = [f"arena_name_{strategy}", f"arena_how_{strategy}"]
        if strategy not in ("sample", *BEAMS):  # of these a card says of no token that it is cut
            keys.append("arena_cut_" + {"top_k": "k", "top_p": "p"}.get(strategy, strategy))
        for key in keys:
            assert texts(language).get(key), (language, key)
        for setting in OWN.get(strategy, ()):
            assert texts(language).get(f"arena_help_{setting}"), (language, setting)
    shapes = (ROOT / "assets" / "lib" / "strategies.js").read_text(encoding="utf-8")
    assert re.search(rf"^  {strategy}: \"M", shapes, re.MULTILINE), "no shape"
    file, reference, mutant = PROOFS[strategy]
    assert f"test_{reference}" in names_in(file)
    assert mutant.startswith("..") or f"test_{mutant}" in names_in(file)


def test_every_filter_is_applied_and_by_its_own_lane_alone():
    """Lanes without a trace draw together where their settings are the same (plain.py): a filter is one of them."""
    assert set(lanes._FILTERS) == set(OFF)
    every = [{"strategy": each, "draws": "same"} for each in STRATEGIES]
    plain = [each for each in every if is_plain(DecodeSettings.from_dict({"lanes": [each]}), trace=False)]
    steps = 60
    apart = {"temperature": 1.5, "typical_p": 0.5, "epsilon_cutoff": 0.01, "eta_cutoff": 0.1}
    settings = DecodeSettings.from_dict({"lanes": plain, "max_new_tokens": steps, **apart})
    made = [(TokenLane(lane, 7, steps, [], torch.device("cpu")), t) for t in range(steps) for lane in settings.lanes]
    rows = 4 * torch.randn(steps, 300, generator=torch.Generator().manual_seed(1)).repeat_interleave(len(plain), 0)
    together = [token for token, _ in chosen(made, rows)]
    alone = [chosen([lane], row[None])[0][0] for lane, row in zip(made, rows, strict=True)]
    assert together == alone
    assert len({tuple(alone[at :: len(plain)]) for at in range(len(plain))}) == len(plain) > len(OFF)


class Plain:
    """A tokenizer's side for which each answer is as good as any."""

    def rank(self, lane, answers):
        return [(1.0, "")] * len(answers)

    def stops(self, token_ids):
        return False


def test_every_strategy_is_a_lane_with_a_trace_of_each_step(tiny_llama):
    for strategy in STRATEGIES:
        settings = DecodeSettings.from_dict({"lanes": [strategy], "max_new_tokens": 4, "num_return_sequences": 2})
        settings = replace(settings, resolved=Resolved(texts=Plain()))
        steps = list(decode_lanes(tiny_llama(1), [5, 6, 7], settings, eos_token_ids=[]))
        result = steps[-1].results[strategy]
        assert len(result.token_ids) == len(result.logprobs) == 4 and result.forwards >= 1, strategy
        for step in steps:
            (told,) = step.lanes.values()
            rows = getattr(told, "rows", None)
            tops = [each.top for each in rows.values()] if rows else getattr(told, "tops", None)
            tops = tops or [each.top for each in getattr(told, "tokens", ())] or [told.top]
            assert all(len(top.tokens) == len(top.filtered) > 1 for top in tops), strategy


def test_a_greedy_lane_that_takes_the_second_likeliest_fails_greedys_check(tiny_llama, run, reference, monkeypatch):
    plain = TokenLane.changed

    def second(self, scores, t):
        scores = plain(self, scores, t)
        return scores.scatter(1, scores.argmax(1, keepdim=True), -1e9)

    monkeypatch.setattr(TokenLane, "changed", second)
    with pytest.raises(AssertionError):
        test_engine.test_greedy_is_that_of_generate(tiny_llama, run, reference, 0)


def test_beams_without_the_length_penalty_fail_the_beams_check(tiny_llama, run, reference, monkeypatch):
    from llmdemo.decoding.beams import BeamLane

    plain = BeamLane._start_device

    def flat(self, eos, device):
        plain(self, eos, device)
        self.norms = self.norms**0

    monkeypatch.setattr(BeamLane, "_start_device", flat)
    check = test_beams.test_beams_are_those_of_generate_with_all_that_it_returns
    with pytest.raises(AssertionError):
        check(tiny_llama, run, reference, 1, 2.0, False)


def test_the_table_is_of_all_strategies():
    assert set(PROOFS) == set(STRATEGIES)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_is_offered_and_has_a_colour_on_the_page(strategy):
    offered = "".join((ROOT / f"assets/{name}.js").read_text() for name in ("arena/rare-lanes", "arena/more-lanes"))
    evaluated = (ROOT / "assets/evaluate/strategies-form.js").read_text()
    named = re.compile(rf"\b{strategy}\b")
    assert named.search(offered) and named.search(evaluated)
    colours = "".join(path.read_text() for path in (ROOT / "assets/arena").glob("*.css"))
    assert f'[data-strategy="{strategy}"]' in colours
