"""Several answers in one lane: each is a plain lane's, and the one that is chosen is the best by its definition."""

import time
from dataclasses import replace

import pytest
import torch

from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, decode_lanes, several
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.graphs import GraphRun, StaticForward
from llmdemo.decoding.several import answers_of
from llmdemo.settings.lane import Resolved
from tests.decoding.test_graphs import graph_run, ids

PROMPT = [5, 6, 7, 8]
EOS = list(range(2, 9))


class Letters:
    """A text side whose tokens are letters: it ranks by how many of an answer's tokens are even."""

    stop = ()

    def stops(self, token_ids):
        return any(list(token_ids[at : at + len(self.stop)]) == list(self.stop) for at in range(len(token_ids)))

    def rank(self, lane, answers):
        return [(sum(token % 2 == 0 for token in ids) / len(ids), str(len(ids))) for ids in answers]


def decode(model, lanes, texts=None, eos=EOS, **values):
    settings = DecodeSettings.from_dict({"lanes": lanes, "max_new_tokens": 12, "temperature": 1.4, **values})
    settings = replace(settings, resolved=Resolved(texts=texts))
    steps = list(decode_lanes(model, PROMPT, settings, eos))
    return steps, {name: result for step in steps for name, result in step.results.items()}


@pytest.mark.parametrize("strategy", ["best_of_n", "self_consistency", "mbr"])
@pytest.mark.parametrize("extra", [{}, {"top_p": 0.7}, {"repetition_penalty": 1.4, "top_k": 5}, {"temperature": 0}])
def test_one_answer_alone_is_the_plain_lanes(tiny_llama, strategy, extra):
    several_lane = {"strategy": strategy, "num_return_sequences": 1, "draws": "same", **extra}
    plain = {"strategy": "sample", "draws": "same", **extra}
    _, got = decode(tiny_llama(4), [several_lane, plain], Letters())
    assert got[strategy].token_ids == got["sample"].token_ids
    assert got[strategy].logprobs == pytest.approx(got["sample"].logprobs, abs=1e-5)
    assert got[strategy].finish_reason == got["sample"].finish_reason


def test_each_answer_is_a_lane_that_draws_with_its_own_numbers(tiny_llama):
    lane = {"strategy": "best_of_n", "num_return_sequences": 6, "top_k": 20}
    plain = [{"strategy": "sample", "name": f"a{n}", "top_k": 20, "draws": f"best_of_n #{n}"} for n in range(2, 7)]
    first = {"strategy": "sample", "name": "a1", "top_k": 20, "draws": "best_of_n"}
    _, got = decode(tiny_llama(4), [lane, first, *plain])
    rows = {one.row: one.token_ids for one in got["best_of_n"].sequences}
    assert rows == {n: got[f"a{n + 1}"].token_ids for n in range(6)}
    assert len(set(rows.values())) > 3


def mean_logprobs(model, sequences):
    """Of each sequence, by one forward over all of it in float64."""
    wide = model.double()
    found = []
    for one in sequences:
        with torch.inference_mode():
            logits = wide(torch.tensor([PROMPT + list(one.token_ids)])).logits[0, len(PROMPT) - 1 : -1]
        found.append(float(logits.log_softmax(-1)[range(len(one.token_ids)), list(one.token_ids)].mean()))
    return found


def chooses_the_best_of_n(make_model):
    chosen_by_sum = 0
    for seed in range(6):
        model = make_model(4)
        _, got = decode(model, [{"strategy": "best_of_n", "num_return_sequences": 8}], seed=seed)
        result = got["best_of_n"]
        means = mean_logprobs(model, result.sequences)
        assert means == sorted(means, reverse=True)
        assert [one.score for one in result.sequences] == pytest.approx(means, abs=1e-4)
        assert result.token_ids == result.sequences[0].token_ids and result.score == result.sequences[0].score
        sums = [mean * len(one.token_ids) for mean, one in zip(means, result.sequences, strict=True)]
        chosen_by_sum += sums.index(max(sums)) != 0
    assert chosen_by_sum  # the check tells the mean from the sum


def test_the_best_of_n_has_the_highest_mean_log_probability_of_the_raw_model(tiny_llama):
    chooses_the_best_of_n(tiny_llama)


def test_a_best_of_n_by_the_sum_of_log_probabilities_fails_the_check(tiny_llama, monkeypatch):
    class Sums:
        @staticmethod
        def fsum(values):
            return sum(values) * len(values)  # divided by the length again

    monkeypatch.setattr(several, "math", Sums)
    with pytest.raises(AssertionError):
        chooses_the_best_of_n(tiny_llama)


@pytest.mark.parametrize("strategy", ["self_consistency", "mbr"])
def test_who_has_the_tokenizer_ranks_what_is_about_texts(tiny_llama, strategy):
    _, got = decode(tiny_llama(4), [{"strategy": strategy, "num_return_sequences": 5}], Letters())
    result = got[strategy]
    want = Letters().rank(None, [one.token_ids for one in result.sequences])
    assert [(one.score, one.label) for one in result.sequences] == want
    assert [one.score for one in result.sequences] == sorted((score for score, _ in want), reverse=True)
    assert result.token_ids == result.sequences[0].token_ids


def test_answers_that_score_the_same_are_told_apart_by_their_mean_log_probability(tiny_llama):
    class Alike(Letters):
        def rank(self, lane, answers):
            return [(0.5, "x") for _ in answers]

    _, got = decode(tiny_llama(4), [{"strategy": "self_consistency", "num_return_sequences": 6}], Alike())
    means = [sum(one.logprobs) / len(one.logprobs) for one in got["self_consistency"].sequences]
    assert means == sorted(means, reverse=True)


def test_answers_that_have_ended_leave_the_forward_and_cost_is_counted(tiny_llama):
    steps, got = decode(tiny_llama(4), ["greedy", {"strategy": "best_of_n", "num_return_sequences": 6}])
    result = got["best_of_n"]
    lengths = [len(one.token_ids) for one in result.sequences]
    texts = [got["greedy"].token_ids, *(one.token_ids for one in result.sequences)]
    assert len(set(lengths)) > 1
    for step in steps[1:]:
        going = [each for each in texts if len(each) > step.index]
        assert step.rows == len({each[: step.index] for each in going})
    assert result.generated == sum(lengths) and result.forwards == max(lengths)
    assert got["greedy"].generated == got["greedy"].forwards == len(texts[0])


@pytest.mark.parametrize("eos", [(), tuple(EOS)])
def test_a_step_of_fixed_shapes_gives_the_same_answers(tiny_llama, run, eos):
    values = dict(lanes=["greedy", "best_of_n", "beam"], temperature=1.5, num_return_sequences=5, seed=3)
    _, got = graph_run(tiny_llama(4), eos=eos, **values)
    _, want = run(tiny_llama(4), [5, 6, 7, 8], eos_token_ids=list(eos), max_new_tokens=40, **values)
    assert ids(got) == ids(want)
    rows = [[(one.row, one.token_ids) for one in each["best_of_n"].sequences] for each in (got, want)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("strategy", ["self_consistency", "mbr"])
def test_without_a_tokenizer_what_is_about_texts_is_refused_in_a_sentence(tiny_llama, strategy):
    with pytest.raises(UserError, match=f"{strategy} needs a tokenizer"):
        decode(tiny_llama(4), [strategy])
    with pytest.raises(UserError, match="Stop strings need a tokenizer"):
        decode(tiny_llama(4), ["greedy"], stop=["x"])


def test_the_answers_of_a_lane_are_sampling_lanes_with_its_values():
    lane = DecodeSettings.from_dict({"lanes": [{"strategy": "mbr", "name": "m", "top_p": 0.5, "temperature": 2}]}).lanes
    answers = answers_of(lane[0])
    assert [each.draws for each in answers] == ["m", *(f"m #{n}" for n in range(2, 9))]
    assert {(each.strategy, each.top_p, each.temperature, each.rows) for each in answers} == {("sample", 0.5, 2.0, 1)}


# --- stop strings ---------------------------------------------------------------------------------------------------


def stopping(stop):
    texts = Letters()
    texts.stop = stop
    return texts


def test_every_lane_ends_where_its_text_holds_the_stop_string(tiny_llama):
    lanes = ["greedy", "sample", "beam", {"strategy": "best_of_n", "num_return_sequences": 3}]
    _, plain = decode(tiny_llama(4), lanes, eos=[], max_new_tokens=30)
    for name in ("greedy", "sample", "beam", "best_of_n"):
        said = plain[name].token_ids
        stop = said[4:6]
        first = next(at for at in range(len(said)) if said[at : at + 2] == stop) + 2
        _, got = decode(tiny_llama(4), lanes, stopping(stop), eos=[], max_new_tokens=30, stop=["x"])
        if name != "beam":  # another hypothesis may win, once some have ended
            rows = got[name].sequences or (got[name],)
            assert any(row.token_ids == said[:first] for row in rows)
        assert all(
            row.finish_reason == ("stop" if row.token_ids[-2:] == stop else "length")
            for result in got.values()
            for row in (result.sequences or (result,))
        )


def test_a_lane_that_ends_in_eos_says_so_even_with_a_stop_string(tiny_llama):
    _, got = decode(tiny_llama(4), ["greedy"], stopping((60, 60, 60)), stop=["x"])
    _, want = decode(tiny_llama(4), ["greedy"])
    assert got["greedy"].token_ids == want["greedy"].token_ids
    assert got["greedy"].finish_reason == want["greedy"].finish_reason


def test_a_step_of_fixed_shapes_stops_at_the_same_tokens(tiny_llama):
    model = tiny_llama(4)
    _, plain = graph_run(model)
    stop = plain["greedy"].token_ids[7:9]
    settings = DecodeSettings.from_dict({"lanes": ["greedy", "sample"], "max_new_tokens": 40, "stop": ["x"]})
    settings = replace(settings, resolved=Resolved(texts=stopping(stop)))
    run = GraphRun(StaticForward(fused_weights(model)), PROMPT, settings, 40, [], time.perf_counter(), capture=False)
    got = {name: result for step in run.steps() for name, result in step.results.items()}
    want = {name: result for step in decode_lanes(model, PROMPT, settings, []) for name, result in step.results.items()}
    assert ids(got) == ids(want)
    assert got["greedy"].token_ids[-2:] == stop and got["greedy"].finish_reason == "stop"


def test_a_lane_of_several_has_a_row_for_each_answer():
    settings = DecodeSettings.from_dict({"lanes": ["greedy", "best_of_n", "beam"], "num_return_sequences": 5})
    assert settings.rows == 1 + 5 + 4
