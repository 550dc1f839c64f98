"""The model card of a run."""

from llmdemo.publish.card import Facts, card


def test_the_card_counts_what_was_learned_from_and_not_what_was_kept():
    worker = {"train_records": 15, "held_out_records": 3, "left_out": {"too_long": 12}}
    text = card(Facts("run", {"task": "chat"}, {"worker": worker}, dataset={"rows": 30, "kept": 30}), "mit")
    assert "| learned from | 15 |" in text and "| held out | 3 |" in text
    assert "| not learned, or not whole: too long | 12 |" in text
    assert "learned from" not in card(Facts("run", {}, {"worker": None}), "mit")
