"""How long making data is said to take: by like jobs where there are any, else by what this machine trains a second."""

import pytest

from llmdemo.generation.forecast import forecast
from llmdemo.settings.generation import GenerationSpec


def spec_of(**values):
    return GenerationSpec.from_dict(values)


def job_of(each, **values):
    return {"seconds_each": each, "spec": spec_of(**values).to_dict()}


def test_jobs_of_the_same_kind_and_model_tell_the_median_and_others_do_not():
    like = [job_of(2.0), job_of(100.0), job_of(3.0), job_of(None)]
    unlike = [job_of(9.0, turns=3), job_of(9.0, model_id="other"), job_of(9.0, url="http://x/v1", model="m")]
    told = forecast(spec_of(number=100), None, unlike + like, 1e9)
    assert told == {"seconds": 310, "seconds_low": 210, "seconds_high": 460, "rough": False}, "eight to start"
    assert forecast(spec_of(number=100), None, unlike, 1e9)["rough"]


def test_a_guess_grows_with_records_and_texts_and_shrinks_with_the_speed():
    seconds = lambda speed=100.0, prompts=None, **values: forecast(spec_of(**values), prompts, [], speed)["seconds"]  # noqa: E731
    assert seconds(number=400) == pytest.approx(2 * seconds(number=200), rel=0.05)
    assert seconds(speed=50.0) == pytest.approx(2 * seconds(), rel=0.05)
    assert seconds(turns=2) > 2 * seconds(), "a conversation is kept whole or not at all"
    judged = {"kind": "pairs", "judge": {"kind": "model", "model_id": "starter"}}
    asked = {"kind": "pairs", "judge": {"kind": "endpoint", "url": "http://x/v1", "model": "m"}}
    assert seconds(**judged) > seconds(**asked) > seconds()
    answers = {"kind": "answers", "dataset_id": "data-x"}
    assert seconds(**answers, prompts=20, number=200) == pytest.approx(seconds(**answers, number=20), rel=0.05)


def test_a_share_that_is_left_out_at_the_end_is_made_too():
    whole, more = (forecast(spec_of(number=100, perplexity_share=share), None, [], 100.0) for share in (0, 0.5))
    assert more["seconds"] == pytest.approx(2 * whole["seconds"], rel=0.05)
