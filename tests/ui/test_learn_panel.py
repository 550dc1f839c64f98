"""The learn-by-doing card's texts and the function behind it."""

import pytest

from llmdemo.core.errors import UserError
from llmdemo.ui import words
from llmdemo.ui.learn_panel import LearnPages
from llmdemo.ui.services import ASSETS
from llmdemo.ui.train_pages import SAMPLE_ID


@pytest.mark.parametrize("task", ["chat", "text", "classify", "preference"])
def test_each_task_has_three_sentences_or_so_a_title_and_what_torch_does(task):
    for language in words.languages():
        texts = words.texts(language)
        about = texts[f"learn_about_{task}"]
        assert 3 <= sum(about.count(stop) for stop in (". ", "。")) + about.endswith(".") <= 4
        assert texts[f"learn_title_{task}"]
        assert "cross_entropy" in texts[f"learn_torch_{task}"]


@pytest.mark.parametrize("loss", ["smoothed", "robust", "ipo"])
def test_each_loss_of_preferences_has_words_and_a_formula_of_its_own(loss):
    assert all("cross_entropy" in words.texts(each)[f"learn_torch_preference_{loss}"] for each in words.languages())
    assert f"preference_{loss}: ()" in (ASSETS / "learn" / "formulas.js").read_text(encoding="utf-8")


def test_the_numbers_are_of_the_forms_data_or_of_the_sample(services):
    pages = LearnPages(services)
    found = pages.numbers({"config": {"dataset_id": SAMPLE_ID, "model_id": "starter"}, "place": 0})
    assert found["task"] == "chat" and found["before"]["rows"] and found["after"] is None
    for wrong in ({}, {"config": "all"}, {"config": {"dataset_id": "data-none"}}):
        with pytest.raises(UserError):
            pages.numbers(wrong)
