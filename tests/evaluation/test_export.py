"""All records as a table: whole texts, verdicts, nothing that a spreadsheet would run."""

import csv

import pytest

from llmdemo.evaluation.export import differs, write_csv
from llmdemo.evaluation.judge import EQUAL, verdict

ANSWERED = {
    "row": 3,
    "prompt": "=1+1 " + "long " * 100,
    "reference": "apple",
    "answers": ["same " * 40 + "a", "same " * 40 + "b"],
    "loss": [0.5, None],
    "exact": [True, None],
    "normalised": [True, None],
    "rouge_l": [1.0, 0.5],
    "chrf": [100.0, 50.0],
    "tokens": [3, 4],
    "ended": [True, False],
}


def table(records, path):
    write_csv(records, path)
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "said, winner, scores",
    [
        (verdict([(1, 3), (2, 4)]), "2", ("1.5", "3.5")),
        (verdict([(3, 1), (4, 2)]), "1", ("3.5", "1.5")),
        (EQUAL, "tie", ("", "")),
        (verdict([None, None]), "unclear", ("", "")),
        (None, "", ("", "")),
    ],
)
def test_texts_are_whole_and_verdicts_stand_beside_them(said, winner, scores, tmp_path):
    judged = {**ANSWERED, "verdict": verdict([(1, 3), (2, 4)])}
    line = table([{**ANSWERED, "verdict": said}, judged], tmp_path / "records.csv")[0]
    assert line["asked"] == "'" + ANSWERED["prompt"] and line["answer_2"] == ANSWERED["answers"][1]
    assert (line["loss_1"], line["loss_2"], line["ended_2"], line["row"]) == ("0.5", "", "False", "3")
    assert (line["winner"], line["score_1"], line["score_2"]) == (winner, *scores)


def test_without_a_judge_there_are_no_verdicts_and_raw_text_has_losses_alone(tmp_path):
    assert "winner" not in table([ANSWERED], tmp_path / "records.csv")[0]
    (line,) = table([{"row": 1, "prompt": "a text", "loss": [0.5]}], tmp_path / "text.csv")
    assert line == {"row": "1", "asked": "a text", "loss_1": "0.5"}


def test_answers_differ_also_where_only_their_ends_do():
    assert differs(ANSWERED) and not differs({**ANSWERED, "answers": ["a", "a"]})
    assert (
        differs({"loss": [0.5, 0.6]}) and not differs({"loss": [0.5]}) and not differs({**ANSWERED, "answers": ["a"]})
    )
