"""The cards' numbers on data sets of each task, before and after a finished run."""

import math

import pytest

from llmdemo.core.errors import UserError
from llmdemo.learn import Learn


def test_before_any_run_there_is_no_after(bench):
    info = bench.add("chat")
    found = Learn(bench.home, bench.runs).numbers({"dataset_id": info.dataset_id})
    assert found["task"] == "chat" and found["after"] is None and found["run_id"] is None
    assert found["text"].startswith("Add ") and found["before"]["trained"] >= 2
    assert found["before"]["loss"] == pytest.approx(found["before"]["cross_entropy"], abs=1e-5)
    assert all(row["text"] for row in found["before"]["rows"])


def test_after_a_run_both_models_are_seen_on_the_same_tokens(bench, other_model):
    info = bench.add("chat")
    bench.finish(info, other_model)
    found = Learn(bench.home, bench.runs).numbers({"dataset_id": info.dataset_id})
    ids = [[row["id"] for row in found[when]["rows"]] for when in ("before", "after")]
    assert ids[0] == ids[1] and found["before"]["loss"] != found["after"]["loss"]
    assert found["run_id"] == "run-1"


def test_raw_text_trains_every_token_but_the_first(bench):
    info = bench.add("text")
    found = Learn(bench.home, bench.runs).numbers({"dataset_id": info.dataset_id})
    assert found["before"]["rows"][0]["position"] == 1 and found["before"]["trained"] > 10


def test_classes_have_a_logit_each(bench):
    info = bench.add("classify")
    found = Learn(bench.home, bench.runs).numbers({"dataset_id": info.dataset_id})
    assert {row["name"] for row in found["before"]["rows"]} == {"ham", "spam"}
    assert found["before"]["label"] in ("ham", "spam") and found["before"]["loss"] > 0


def test_a_pair_has_four_log_probabilities_and_a_margin(bench, other_model):
    info = bench.add("preference")
    bench.finish(info, other_model)
    found = Learn(bench.home, bench.runs).numbers({"dataset_id": info.dataset_id, "beta": 0.5})
    before, after = found["before"], found["after"]
    assert before["margin"] == 0 and before["loss"] == pytest.approx(math.log(2)) and found["beta"] == 0.5
    assert after["reference"] == before["policy"] and after["policy"] != after["reference"]
    gained = {key: after["policy"][key] - after["reference"][key] for key in ("chosen", "rejected")}
    assert after["margin"] == pytest.approx(gained["chosen"] - gained["rejected"])
    assert after["scaled"] == pytest.approx(0.5 * after["margin"])
    assert after["answers"]["chosen"].startswith("Here is")


def test_each_loss_has_numbers_of_its_own(bench, other_model):
    info = bench.add("preference")
    bench.finish(info, other_model)
    learn = Learn(bench.home, bench.runs)
    kinds = (
        {},
        {"label_smoothing": 0.2},
        {"preference_loss": "robust", "label_smoothing": 0.2},
        {"preference_loss": "ipo"},
    )
    found = [learn.numbers({"dataset_id": info.dataset_id, **kind})["after"] for kind in kinds]
    assert len({each["loss"] for each in found}) == 4
    ipo, lengths = found[3], found[3]["lengths"]
    gains = {key: (ipo["policy"][key] - ipo["reference"][key]) / lengths[key] for key in lengths}
    assert ipo["margin"] == pytest.approx(gains["chosen"] - gains["rejected"]) and lengths["chosen"] > 3
    assert ipo["loss"] == pytest.approx((ipo["margin"] - ipo["target"]) ** 2)


def test_settings_of_pairs_do_not_matter_to_other_tasks(bench):
    config = {"dataset_id": bench.add("chat").dataset_id, "preference_loss": "ipo", "label_smoothing": 0.2}
    assert Learn(bench.home, bench.runs).numbers(config)["before"]["loss"] > 0


def test_what_was_computed_is_remembered_until_there_is_a_newer_run(bench, other_model, monkeypatch):
    from llmdemo.learn import tasks

    loads, load = [], tasks.load_causal
    monkeypatch.setattr(tasks, "load_causal", lambda *args, **options: loads.append(1) or load(*args, **options))
    info = bench.add("chat")
    learn = Learn(bench.home, bench.runs)
    first = learn.numbers({"dataset_id": info.dataset_id})
    assert learn.numbers({"dataset_id": info.dataset_id}) is first and len(loads) == 1
    bench.finish(info, other_model)
    assert learn.numbers({"dataset_id": info.dataset_id})["after"] and len(loads) == 3


def test_other_records_can_be_looked_at_and_the_last_is_followed_by_the_first(bench):
    info = bench.add("chat")
    learn = Learn(bench.home, bench.runs)
    first = learn.numbers({"dataset_id": info.dataset_id})
    second = learn.numbers({"dataset_id": info.dataset_id}, 1)
    assert first["places"] > 1 and first["record"] != second["record"] and second["place"] == 1
    assert learn.numbers({"dataset_id": info.dataset_id}, first["places"])["record"] == first["record"]


def test_runs_on_other_data_or_without_a_model_are_no_after(bench, other_model):
    info, other = bench.add("chat"), bench.add("text")
    bench.finish(other, other_model, "run-2")
    bench.finish(info, other_model, "run-3", model_id=None)
    assert Learn(bench.home, bench.runs).numbers({"dataset_id": info.dataset_id})["after"] is None


@pytest.mark.parametrize("config", [{}, {"dataset_id": "data-none"}, {"dataset_id": "../x"}])
def test_data_that_is_not_there_is_a_sentence(bench, config):
    with pytest.raises(UserError):
        Learn(bench.home, bench.runs).numbers(config)
