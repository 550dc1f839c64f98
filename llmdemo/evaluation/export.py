"""An evaluation's records as a table for a spreadsheet: everything, whole. Knows no page and no model."""

import csv
from pathlib import Path

from llmdemo.data.report import safe_cell

_OF_EACH = ("loss", "exact", "normalised", "f1", "rouge_l", "chrf", "tokens", "ended")


def differs(record: dict) -> bool:
    """Whether two models did not say the same, letter for letter; of raw text, whether they find it equally likely; of
    strategies, whether some are right and some are not."""
    if "rewards" in record:
        return (
            len({pair[0] is not None and pair[1] is not None and pair[0] > pair[1] for pair in record["rewards"]}) > 1
        )
    if "cells" in record:
        return len({cell["correct"] for cell in record["cells"]}) > 1
    if "said" in record:
        return len(set(record["said"])) > 1
    both = record.get("answers") or record["loss"]
    return len(both) == 2 and both[0] != both[1]


def write_csv(records: list[dict], path: Path) -> None:
    """The records of answers or of raw text, one a line; with winner, score_1 and score_2 where a judge was asked.

    winner is 1, 2, tie, unclear, or nothing for a record that was not judged. Cells that a spreadsheet would run are
    made harmless.
    """
    answers, judged = "answers" in records[0], any(record.get("verdict") for record in records)
    sides = range(len(records[0]["loss"]))
    keys = [key for key in _OF_EACH if key in records[0]]
    head = ["row", "asked"] + ["reference"] * answers
    for side in sides:
        head += [f"answer_{side + 1}"] * answers + [f"{key}_{side + 1}" for key in keys]
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head + ["winner", "score_1", "score_2"] * judged)
        for record in records:
            cells = [record["row"], record["prompt"]] + ([record["reference"]] if answers else [])
            for side in sides:
                cells += [record["answers"][side]] if answers else []
                cells += [record[key][side] for key in keys]
            writer.writerow(map(safe_cell, cells + (_judged(record.get("verdict")) if judged else [])))


def _judged(verdict: dict | None) -> list:
    if not verdict:
        return ["", "", ""]
    winner = {0: 1, 1: 2, None: "tie"}[verdict["winner"]] if verdict["clear"] else "unclear"
    return [winner, *(verdict["scores"] or ("", ""))]
