"""Figures of served models: percentiles against numpy, outcomes, Prometheus' text, who may read it, drift beside them."""

import time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmdemo.serving.metrics import Metrics, Record, percentiles
from llmdemo.serving.surprise import Surprise

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 6, "min_tokens": 6}


def test_percentiles_are_those_of_numpys_nearest_rank():
    values = np.random.default_rng(0).exponential(size=137).tolist()
    expected = np.percentile(values, [50, 95, 99], method="inverted_cdf")
    assert list(percentiles(values).values()) == pytest.approx(expected.round(5).tolist())
    assert percentiles([None]) is None and percentiles([0.25]) == {"p50": 0.25, "p95": 0.25, "p99": 0.25}


def test_requests_are_counted_by_model_outcome_and_code(web, serving):
    for body in (ASK, ASK, {**ASK, "n": 1000}, {**ASK, "model": "nobody"}):
        web.post("/v1/chat/completions", json=body)
    told = {one["name"]: one for one in serving.figures()}
    tiny = told["tiny"]
    assert tiny["outcomes"] == {"answered": 2, "refused": 1} and tiny["codes"] == {"invalid_value": 1}
    assert tiny["tokens"] == 12 and tiny["prompt_tokens"] > 0 and tiny["model_id"] == "starter"
    assert 0 < tiny["first"]["p50"] <= tiny["first"]["p99"] and tiny["each"]["p50"] > 0
    assert told[""]["codes"] == {"model_not_found": 1}
    assert serving.figures(since=time.time() + 1) == []


def test_prometheus_reads_the_figures_and_a_caller_makes_no_label(web, serving):
    web.post("/v1/chat/completions", json=ASK)
    web.post("/v1/chat/completions", json={**ASK, "model": "a-name-that-a-caller-made-up"})
    text = serving.metrics.prometheus().decode()
    assert "made-up" not in text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, sample.labels.get("outcome"), sample.labels.get("name")): sample.value for sample in samples}
    assert found["llmdemo_requests_total", "answered", "tiny"] == 1
    assert found["llmdemo_generated_tokens_total", None, "tiny"] == 6
    assert found["llmdemo_first_token_seconds_count", None, "tiny"] == 1
    assert found["llmdemo_running", None, None] == 0


def test_the_figures_are_for_owners_and_for_keys_that_were_made_for_them(web, serving):
    assert web.get("/metrics").status_code == 403
    assert web.get("/metrics", headers={"authorization": ""}).status_code == 401
    key = serving.create_key("prometheus", [], None, True)["key"]
    answer = web.get("/metrics", headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_counting_takes_less_than_two_per_cent_of_a_short_answer():
    """A hundredth of a second is less than any real model takes for its first token."""
    metrics = Metrics()
    record = Record(time.time(), "a", "b", "answered", "", 10, 20, 0.001, 0.01, 0.001)
    started = time.perf_counter()
    for _ in range(2000):
        metrics.add(record)
    assert (time.perf_counter() - started) / 2000 < 0.02 * 0.01


def test_the_surprise_at_a_prompt_is_transformers_own_loss(arena, serving, web):
    import torch

    from llmdemo.arena.prompt import Prompt

    prompt = Prompt.from_value("The quick brown fox")
    web.post("/v1/chat/completions", json=ASK)
    serving.join()  # nobody uses the model meanwhile
    found = arena.surprise("starter", prompt, 64)
    with arena._cache.use(next(iter(arena._cache._models.values())).entry) as loaded:
        ids = torch.tensor([prompt.encode(loaded.tokenizer)])
        expected = loaded.model(input_ids=ids, labels=ids).loss.item()
        assert found == pytest.approx(expected, abs=1e-5)
        with loaded.lock:
            assert arena.surprise("starter", prompt, 64) is None


def test_each_answered_prompt_is_measured_and_told(web, serving):
    for _ in range(3):
        web.post("/v1/chat/completions", json=ASK)
    serving.monitor.join()
    drift = serving.figures()[0]["drift"]
    assert drift["seen"] == 3 and drift["reference"] > 0 and drift["alarm_at"] is None


def test_prompts_that_come_faster_than_they_are_measured_are_left_out(serving):
    served = serving.registry.all()["tiny"]
    busy = Surprise(lambda *_: None, idle_seconds=0.0)
    for _ in range(500):
        busy.note(served, "prompt")
    busy.join()
    assert busy.drift("tiny", "starter").to_dict()["seen"] == 0
