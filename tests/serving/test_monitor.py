"""The monitor over served models and the arena: what is counted over time, the training data beside it, drift of classes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from llmdemo import data
from llmdemo.serving.baselines import Baselines, training_prompts
from llmdemo.serving.drift import REFERENCE, Drift, classes_p_value, ks_p_value
from llmdemo.serving.registry import Served
from llmdemo.settings.training import TrainConfig

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "Tell me what a planet is, please"}], "max_tokens": 6}
RUN = "run-20260101-000000-abcdef"


def over_time(serving, name):
    serving.monitor.join()
    return next(one for one in serving.monitor.over_time() if one["name"] == name)


def test_requests_are_figures_over_time_without_their_texts(web, serving, home):
    for extra in ({}, {}, {"n": 1000}):
        web.post("/v1/chat/completions", json={**ASK, **extra})
    web.post("/v1/chat/completions", json={**ASK, "model": "nobody"})
    assert [one["name"] for one in serving.monitor.over_time()] == ["tiny", ""], "what is served stands first"
    assert b'llmdemo_drift_alarm{kind="drift",model_id="",name=""}' not in serving.monitor.prometheus()
    point = over_time(serving, "tiny")["points"][0]
    assert point["outcomes"] == {"answered": 2, "refused": 1} and point["tokens"] > 0
    assert point["languages"] == {"en": 1.0} and point["surprise"] > 0 and point["length"] > 0
    assert point["first"]["p50"] > 0 and 0 <= point["repetition"] <= 1
    serving.monitor.close()
    assert b"planet" not in b"".join(file.read_bytes() for file in home.serving.iterdir() if file.is_file())


def test_the_arenas_comparisons_are_counted_as_they_pass(serving, arena):
    from llmdemo.serving.arena_watch import watcher

    arena.watch = watcher(serving.monitor, serving.thumbs)
    *_, last = arena.compare("starter", "Tell me what a planet is", {"lanes": ["greedy", "top_k"], "max_new_tokens": 6})
    point = over_time(serving, "arena")["points"][0]
    said = sum(len(lane["token_ids"]) for lane in last["lanes"].values())
    assert point["outcomes"] == {"answered": 1} and point["tokens"] == said
    assert point["first"] and point["languages"] == {"en": 1.0}


def test_what_was_computed_for_another_before_is_no_measure_of_speed(serving):
    from llmdemo.serving.arena_watch import Comparison

    request = SimpleNamespace(
        model_ids=("starter",), run_id="r", prompt=SimpleNamespace(raw="Tell me what a planet is")
    )
    for end in ({}, {"shared": True}):
        comparison = Comparison(serving.monitor, request, serving.thumbs)
        comparison.add({"type": "begin", "prompt_tokens": [5]})
        comparison.add({"type": "step"})
        comparison.add({"type": "lane", "lane": "0:greedy", "generated": 3, "text": "A planet is"})
        comparison.add({"type": "end", "state": "done", **end})
    records = [one for one in serving.monitor.metrics.records() if one.name == "arena"]
    assert [(one.outcome, one.tokens, one.first is None) for one in records] == [
        ("answered", 3, False),
        ("answered", 3, True),
    ]


def test_a_model_that_there_is_not_makes_no_version(serving):
    refused = {"at": 1.0, "outcome": "refused", "prompt_tokens": 0, "tokens": 0}
    refused |= {"waited": None, "first": None, "each": None}
    for name in ("no-such-model", "starter"):  # the second is there, and refuses a prompt
        serving.monitor.compared([name], refused, SimpleNamespace(raw="word"), [])
    arenas = [one for one in serving.monitor.over_time() if one["name"] == "arena"]
    assert [one["model_id"] for one in arenas] == ["starter"]
    assert b"no-such-model" not in serving.monitor.prometheus()


@pytest.fixture
def trained(home, settings, tmp_path):
    """A data set, and a run's config that names it; the run's model id."""
    rows = [
        {"instruction": f"Which {word} is number {n}?", "output": "One."} for n in range(30) for word in ("star", "egg")
    ]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))
    info = data.add_dataset(home, settings, file, "rows")
    config = TrainConfig.from_dict({"dataset_id": info.dataset_id}).to_dict()
    config |= {"dataset": {"id": info.dataset_id, "content_hash": info.content_hash}}
    (home.runs / RUN).mkdir(parents=True)
    (home.runs / RUN / "config.json").write_text(json.dumps(config))
    return RUN


def test_the_training_datas_surprise_languages_and_topics_are_measured_once(home, trained):
    asked: list = []

    def measure(model_id, prompt):
        asked.append(prompt)
        return None if len(asked) == 1 else 2.5  # the first time somebody uses the model

    baselines = Baselines(home, measure)
    pauses = []
    while (pause := baselines.step(trained, True)) is not None:
        pauses.append(pause)
    assert pauses[0] > 0 and not any(pauses[1:])
    told = baselines.of(trained)
    assert told["surprise"] == 2.5 and len(told["surprises"]) == 60 and told["records"] == 60
    assert len(asked) == 61 and asked[0][-1]["role"] == "user" and "Which" in asked[0][-1]["content"]
    assert sum(told["languages"].values()) == pytest.approx(1, abs=0.01) and len(told["topics"]) > 1
    again = Baselines(home, lambda *_: 1 / 0)
    assert again.of(trained) == told and again.step(trained, True) is None
    assert training_prompts(home, "starter", 10) == []


def test_surprise_beside_that_of_the_training_data_has_a_p_value(serving):
    served = Served("tiny", "starter", {}, 0.0)
    rng = np.random.default_rng(0)
    serving.monitor.baselines._known["starter"] = {"surprise": 3.0, "surprises": list(rng.normal(3, 0.3, 100))}
    for value in rng.normal(5, 0.3, 40):
        serving.monitor.surprise.drift("tiny", "starter").add(float(value))
    told = serving.monitor.told(served.name, served.model_id)
    assert told["training"]["p"] < 1e-6 and "surprises" not in told["training"]
    assert told["drift"]["alarm_at"] is None  # it was never otherwise here


def labels(rng, number, share):
    return ["spam" if spam else "ham" for spam in rng.random(number) < share]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.slow
def test_classes_that_drift_raise_the_alarm_within_fifty_requests_and_others_never(seed):
    rng, drift = np.random.default_rng(seed), Drift(classes_p_value)
    assert not any([drift.add(label) for label in labels(rng, 1000 + REFERENCE, 0.2)])
    later = [drift.add(label) for label in labels(rng, 50, 0.9)]
    assert later[-1] and drift.to_dict()["reference"] is None


@pytest.mark.parametrize("seed", range(5))
def test_a_confidence_that_falls_raises_the_alarm_within_fifty_requests(seed):
    rng, drift = np.random.default_rng(seed), Drift(ks_p_value)
    assert not any([drift.add(value) for value in rng.beta(20, 2, 1000 + REFERENCE)])
    assert [drift.add(value) for value in rng.beta(5, 3, 50)][-1]


def test_classes_are_tested_as_scipys_fisher_does():
    from scipy.stats import fisher_exact

    p = classes_p_value(["a"] * 80 + ["b"] * 20, ["a"] * 5 + ["b"] * 15)
    assert p == pytest.approx(fisher_exact([[80, 20], [5, 15]]).pvalue)
    assert classes_p_value(["a"] * 9, ["a"]) == 1.0


def test_a_classifiers_classes_confidence_and_later_labels_are_counted(serving):
    served = Served("sorts", "run-1", {}, 0.0)
    for label, confidence in (("spam", 0.9), ("ham", 0.7), ("spam", 0.8)):
        serving.monitor.classified(served, "Win money now, my dear friend", label, confidence)
    serving.metrics.labelled("sorts", "run-1", True)
    serving.metrics.labelled("sorts", "run-1", False)
    point = over_time(serving, "sorts")["points"][0]
    assert point["classes"] == {"spam": 0.6667, "ham": 0.3333} and point["confidence"] == 0.8
    assert (point["right"], point["labelled"]) == (1, 2) and point["languages"] == {"en": 1.0}
    text = serving.monitor.metrics.prometheus().decode()
    assert 'llmdemo_classes_total{class="spam",model_id="run-1",name="sorts"} 2.0' in text
