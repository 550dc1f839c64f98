"""The model card of a run."""

from llmdemo.publish.card import Facts, card


def test_the_card_counts_what_was_learned_from_and_not_what_was_kept():
    worker = {"train_records": 15, "held_out_records": 3, "left_out": {"too_long": 12}}
    text = card(Facts("run", {"task": "chat"}, {"worker": worker}, dataset={"rows": 30, "kept": 30}), "mit")
    assert "| learned from | 15 |" in text and "| held out | 3 |" in text
    assert "| not learned, or not whole: too long | 12 |" in text
    assert "learned from" not in card(Facts("run", {}, {"worker": None}), "mit")


def test_the_card_is_written_in_the_language_that_is_asked_for_and_names_settings_as_the_form_does():
    config = {"task": "chat", "method": "galore", "rank": 8, "learning_rate": 1e-3, "versions": {"torch": "2"}}
    curves = {"eval_loss": {"step": [0, 3], "value": [3.1, 1.9]}}
    samples = [{"prompt": "2 + 2?", "outputs": [{"step": 0, "text": "5"}, {"step": 3, "text": "4"}]}]
    facts = Facts("run", config, {}, curves, samples, {"rows": 30, "kept": 28})
    english, chinese = card(facts, "mit"), card(facts, "mit", language="zh-TW")
    assert "## Before and after" in english
    assert "| Learning rate (learning\\_rate) | 0.001 |" in english and "After, at step 3:\n\n    4" in english
    for said in (
        "## 訓練前後",
        "| 學習率 (learning\\_rate) | 0.001 |",
        "訓練後（第 3 步）：\n\n    4",
        "| 筆數 | 30 |",
    ):
        assert said in chinese, said
    assert not [line for line in english.split("\n") if any("\u3400" <= mark <= "\u9fff" for mark in line)]
    assert chinese.split("---")[1] == english.split("---")[1]  # the hub's front matter
