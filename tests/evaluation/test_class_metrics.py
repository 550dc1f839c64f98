"""A classifier's figures against scikit-learn's own and against plain counting."""

import json

import numpy as np
import pytest
from sklearn import metrics

from llmdemo.evaluation import baselines
from llmdemo.evaluation import class_metrics as cm
from llmdemo.evaluation.run_classifiers import _brief, spread


def made(classes=2, count=300, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.choice(classes, count, p=np.array([1, *[6] * (classes - 1)]) / (1 + 6 * (classes - 1)))
    logits = generator.normal(0, 1, (count, classes)) + 1.5 * np.eye(classes)[truth]
    return truth, cm.softmax(logits)


@pytest.mark.parametrize("classes", [2, 4])
def test_every_figure_is_scikit_learns(classes):
    truth, shares = made(classes)
    predicted = shares.argmax(1)
    found = cm.figures(truth, shares, [f"c{n}" for n in range(classes)])
    report = metrics.classification_report(truth, predicted, output_dict=True, zero_division=0)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert found["macro"]["f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    for number, each in enumerate(found["classes"]):
        assert each["f1"] == pytest.approx(report[str(number)]["f1-score"])
        assert each["support"] == report[str(number)]["support"]
    assert found["confusion"] == metrics.confusion_matrix(truth, predicted).tolist()
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, shares))
    if classes == 2:
        positive = found["positive"]
        assert positive == 0
        assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth == 0, shares[:, 0]))
        assert found["pr_auc"] == pytest.approx(metrics.average_precision_score(truth == 0, shares[:, 0]))
    else:
        assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, shares, multi_class="ovr"))


def test_one_class_alone_has_no_curves_and_no_areas_but_an_accuracy():
    truth, shares = np.ones(5, int), cm.softmax(np.tile([0.0, 1.0], (5, 1)))
    found = cm.figures(truth, shares, ["a", "b"])
    assert (found["accuracy"], found["roc_auc"], found["pr_auc"]) == (1.0, None, None)
    assert cm.curves(truth, shares[:, 1], 1)["roc"] is None


def test_expected_calibration_error_by_hand():
    shares = np.array([[0.95, 0.05], [0.92, 0.08], [0.4, 0.6], [0.35, 0.65]])
    found = cm.calibration(np.array([0, 1, 1, 1]), shares)
    assert found["ece"] == pytest.approx(0.5 * abs(0.935 - 0.5) + 0.5 * abs(0.625 - 1.0))
    assert [row["n"] for row in found["bins"]] == [2, 2]


def test_curves_are_thinned_and_keep_their_ends():
    truth, shares = made(count=5000)
    roc = cm.curves(truth, shares[:, 0], 0)["roc"]
    assert len(roc["x"]) <= 200 and (roc["x"][0], roc["y"][0], roc["x"][-1], roc["y"][-1]) == (0, 0, 1, 1)
    area = np.trapezoid(roc["y"], roc["x"])
    assert area == pytest.approx(metrics.roc_auc_score(truth == 0, shares[:, 0]), abs=0.005)


def test_the_worst_mistakes_are_the_most_confident():
    shares = np.array([[0.9, 0.1], [0.4, 0.6], [0.99, 0.01], [0.2, 0.8]])
    assert cm.worst(np.array([1, 0, 1, 1]), shares, 2) == [2, 0]


def test_baselines_learn_words_and_know_all_classes():
    texts = ["free prize now", "win free cash", "see you at lunch", "are you home", "free win"] * 4
    truth = np.array([1, 1, 0, 0, 1] * 4)
    for name in baselines.NAMES:
        shares, _ = baselines.fit_and_predict(name, texts, truth, ["free cash", "lunch at home"], 3)
        assert shares.argmax(1).tolist() == [1, 0] and shares[:, 2].tolist() == [0, 0]
        assert shares.sum(1) == pytest.approx(1)
    alone, _ = baselines.fit_and_predict("bayes", texts[:2], np.array([1, 1]), ["x"], 2)
    assert alone.tolist() == [[0, 1]]


def test_the_spread_over_folds_is_mean_and_sample_deviation_of_the_folds_that_have_the_figure():
    found = spread([{"f1": 0.8, "roc_auc": None}, {"f1": 0.9, "roc_auc": 1.0}])
    sd = pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert found == {
        "f1": {"mean": pytest.approx(0.85), "sd": sd, "values": [0.8, 0.9], "n": 2},
        "roc_auc": {"mean": 1.0, "sd": None, "values": [1.0], "n": 1},
    }
    assert spread([{"f1": 0.8, "ece": None}]) == {"f1": {"mean": 0.8, "sd": None, "values": [0.8], "n": 1}}


def test_a_positive_class_that_is_missing_has_no_area_and_no_f1_and_the_others_have():
    generator = np.random.default_rng(0)
    truth = np.array([1, 2] * 10)
    shares = cm.softmax(generator.normal(0, 1, (20, 3)) + np.eye(3)[truth])
    found = cm.figures(truth, shares, ["rare", "b", "c"], positive=0)
    areas = [metrics.roc_auc_score(truth == label, shares[:, label]) for label in (1, 2)]
    assert found["roc_auc"] == pytest.approx(np.mean(areas))
    assert _brief(found)["f1"] is None
    json.dumps(found, allow_nan=False)  # what the evaluation is written with


def test_thousands_of_classes_stay_small():
    truth = np.arange(300) * 16
    found = cm.figures(truth, np.full((300, 5000), 1 / 5000, np.float32), [str(n) for n in range(5000)])
    assert (found["confusion"], found["roc_auc"]) == (None, None) and len(found["classes"]) == 5000
    assert baselines.names_for(5000) == ("bayes",) and baselines.names_for(2) == baselines.NAMES
