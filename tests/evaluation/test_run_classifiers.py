"""Classifiers and folds from data set to result, with a tiny classifier."""

import shutil

import pytest

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.store import read_json, write_json
from llmdemo.evaluation import Evaluations
from llmdemo.evaluation.folds import start_folds
from llmdemo.jobs import Jobs
from llmdemo.jobs.damage import Damaged
from tests.waiting import over, until


def label_rows(count=120):
    spam, ham = "win a free prize number {n} now", "see you at {n} for lunch then"
    return [
        {"text": (spam if n % 4 == 0 else ham).format(n=n * 37), "label": "spam" if n % 4 == 0 else "ham"}
        for n in range(count)
    ]


@pytest.mark.slow
def test_a_classifier_stands_beside_the_small_models_on_the_same_records(evaluations, add, tiny_classifier):
    info = add(label_rows())
    evaluation_id = evaluations.start(
        {"dataset_id": info.dataset_id, "model_ids": [tiny_classifier], "eval_share": 0.3}
    )
    status = over(evaluations, evaluation_id)
    assert status["state"] == "completed", status
    result, records = evaluations.result(evaluation_id), evaluations.records(evaluation_id)
    assert result["labels"] == ["ham", "spam"] and [each["name"] for each in result["baselines"]] == [
        "logistic",
        "bayes",
    ]
    model = result["models"][0]
    right = sum(record["label"] == record["predicted"][0] for record in records)
    assert model["accuracy"] == pytest.approx(right / len(records))  # the model's own order of classes is another
    assert model["n"] == result["baselines"][0]["n"] == len(records) == len(model["truth"])
    assert result["baselines"][0]["accuracy"] == 1.0
    assert all(records[place]["label"] != records[place]["predicted"][0] for place in model["mistakes"])


def test_other_classes_than_the_models_are_a_sentence(evaluations, add, tiny_classifier):
    rows = [{**row, "label": row["label"] + "!"} for row in label_rows(40)]
    status = over(evaluations, evaluations.start({"dataset_id": add(rows).dataset_id, "model_ids": [tiny_classifier]}))
    assert status["state"] == "failed" and "knows the classes spam, ham" in status["message"]


def spelt_otherwise(rows):
    """The rows with labels that differ in case or blanks now and then."""
    odd = {0: str.upper, 1: "{} ".format, 2: str}
    return [{**row, "label": odd[n % 7](row["label"]) if n % 7 in odd else row["label"]} for n, row in enumerate(rows)]


def test_labels_that_differ_in_case_or_blanks_are_the_classes_of_training(evaluations, add, tiny_classifier):
    ids = [add(rows, f"rows{n}").dataset_id for n, rows in enumerate((label_rows(), spelt_otherwise(label_rows())))]
    found = []
    for dataset_id in ids:
        evaluation_id = evaluations.start({"dataset_id": dataset_id, "model_ids": [tiny_classifier], "eval_share": 0.3})
        assert over(evaluations, evaluation_id)["state"] == "completed", over(evaluations, evaluation_id)
        found.append(evaluations.result(evaluation_id))
    assert found[0]["labels"] == found[1]["labels"] == ["ham", "spam"]
    assert found[1]["baselines"][0]["accuracy"] == 1.0
    assert "merged" not in [note["code"] for note in found[0]["notes"]]
    assert {"code": "merged", "labels": "ham, spam"} in found[1]["notes"]


def test_texts_that_are_cut_are_counted(evaluations, add, tiny_classifier):
    rows = [{**row, "text": row["text"] + " and so on" * 9 * (n % 2)} for n, row in enumerate(label_rows())]
    config = {"dataset_id": add(rows).dataset_id, "model_ids": [tiny_classifier], "eval_share": 0.3, "max_length": 40}
    evaluation_id = evaluations.start(config)
    assert over(evaluations, evaluation_id)["state"] == "completed", over(evaluations, evaluation_id)
    texts = [record["text"] for record in evaluations.records(evaluation_id)]
    (note,) = [note for note in evaluations.result(evaluation_id)["notes"] if note["code"] == "cut_texts"]
    long = sum(text.endswith("and so on") for text in texts)
    assert (note["n"], note["of"], note["tokens"]) == (long, len(texts), 40) and 0 < long < len(texts)


def test_one_class_only_is_a_sentence(add):
    """Whoever refuses it first: such data is never evaluated."""
    with pytest.raises(UserError, match="label"):
        add([{"text": row["text"], "label": "ham"} for row in label_rows(40)])


class FakeRuns:
    """Takes runs and tells a state for all of them."""

    def __init__(self):
        self.configs, self.state, self.stopped = [], "running", []

    def start(self, config, name=None):
        self.configs.append(config)
        return f"run-2026010{len(self.configs)}-000000-abcdef"

    def status(self, run_id):
        return {"state": self.state}

    def stop(self, run_id):
        self.stopped.append(run_id)


@pytest.fixture
def folds_service(home, settings, work_here):
    runs = FakeRuns()
    with Evaluations(Jobs(home, settings, work_here), runs) as service:
        yield service, runs


@pytest.mark.parametrize("spelt", [list, spelt_otherwise])
@pytest.mark.slow
def test_cross_validation_waits_for_its_runs_and_tests_each_on_its_own_part(
    spelt, folds_service, add, models, tiny_classifier, home
):
    service, runs = folds_service
    info = add(spelt(label_rows()))
    evaluation_id = start_folds(home, runs, service, {"dataset_id": info.dataset_id, "seed": 3}, 3)
    assert [config["fold"] for config in runs.configs] == [0, 1, 2] and len(
        {c["group"]["id"] for c in runs.configs}
    ) == 1
    assert service.status(evaluation_id)["waits_for"] == 3
    for number, config in enumerate(runs.configs, 1):  # the runs end: each leaves a model
        folder = home.runs / f"run-2026010{number}-000000-abcdef"
        if folder.name != tiny_classifier:
            shutil.copytree(home.runs / tiny_classifier / "model", folder / "model", dirs_exist_ok=True)
        write_json(folder / "config.json", config)
    runs.state = "completed"
    service.jobs.wake()
    status = over(service, evaluation_id)
    assert status["state"] == "completed", status
    result = service.result(evaluation_id)
    assert [fold["fold"] for fold in result["folds"]] == [0, 1, 2] and result["records"] == info.kept
    assert result["spread"]["logistic"]["accuracy"]["mean"] == 1.0 and result["spread"]["model"]["f1"]["sd"] is not None
    records = data.open_records(home, info.dataset_id)
    parts = [set(data.split(records, 3, 0.1, fold, 3)[1].tolist()) for fold in range(3)]
    assert [fold["n"] for fold in result["folds"]] == [len(part) for part in parts]


def test_a_run_that_failed_ends_the_cross_validation_with_a_sentence(folds_service, add, models, home):
    service, runs = folds_service
    evaluation_id = start_folds(home, runs, service, {"dataset_id": add(label_rows(40)).dataset_id}, 2)
    runs.state = "failed"
    service.jobs.wake()
    assert "2 of the runs" in over(service, evaluation_id)["message"]


def test_a_run_that_cannot_be_looked_up_just_now_is_waited_for(folds_service, add, models, home, monkeypatch):
    service, runs = folds_service
    evaluation_id = start_folds(home, runs, service, {"dataset_id": add(label_rows(40)).dataset_id}, 2)
    asked = []

    def status(run_id):
        asked.append(run_id)
        raise Damaged("for a moment")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "status", status)
        until(lambda: service.jobs.wake() or len(asked) >= 3)
    assert service.status(evaluation_id)["state"] == "queued"


def test_folds_of_data_without_labels_are_refused_and_leave_no_run(folds_service, add, models, home):
    service, runs = folds_service
    info = add([{"instruction": f"Add {n}", "output": f"{n}"} for n in range(20)])
    with pytest.raises(UserError, match="no labels"):
        start_folds(home, runs, service, {"dataset_id": info.dataset_id}, 3)
    assert runs.configs == []


@pytest.mark.parametrize("steps_between", [0, 1])
def test_folds_do_not_start_from_what_has_learned_from_them(
    steps_between, folds_service, add, models, tiny_classifier, home
):
    service, runs = folds_service
    info = add(label_rows(40))
    start = tiny_classifier
    if steps_between:  # a run of a run on this data
        start = "run-20260303-000000-abcdef"
        shutil.copytree(home.runs / tiny_classifier, home.runs / start)
        write_json(
            home.runs / start / "config.json", {"model_id": tiny_classifier, "dataset": {"content_hash": "other"}}
        )
    about = {"model_id": "starter", "dataset": {"content_hash": info.content_hash}}
    write_json(home.runs / tiny_classifier / "config.json", about)
    with pytest.raises(UserError, match="has already learned from .*Start from its base model"):
        start_folds(home, runs, service, {"dataset_id": info.dataset_id, "model_id": start}, 2)
    assert runs.configs == []


def test_what_a_run_was_asked_says_which_part_it_held_out(folds_service, add, models, home):
    service, runs = folds_service
    info = add(label_rows(40))
    evaluation_id = start_folds(home, runs, service, {"dataset_id": info.dataset_id}, 2)
    spec = read_json(home.root / "evaluations" / evaluation_id / "config.json")["spec"]
    assert spec["kind"] == "kfold" and spec["run_ids"] == ["run-20260101-000000-abcdef", "run-20260102-000000-abcdef"]
