"""What two models' lines say together: each figure, the difference and how sure it is; a line a record for the table.

Numbers and texts only: knows no models. A difference counts as one only where its 95 % interval leaves out zero.
"""

import math

import numpy as np

from llmdemo.evaluation.intervals import Ratio, difference
from llmdemo.evaluation.text_metrics import (
    as_json,
    best,
    chrf,
    chrf_corpus,
    exact_match,
    is_checkable,
    normalised_match,
    rouge_l,
    token_f1,
)

_EXCERPT = 160


def record_of(example, lines: list[dict]) -> dict:
    """One held-out record with what each model did: lists have an entry for each model.

    Of several right answers each figure takes the one that the model's answer is closest to.
    """
    refused = any(line.get("refused") for line in lines)
    right, texts = example.references, [line["text"] for line in lines]
    checkable = not refused and is_checkable(example.reference)
    in_words = checkable and as_json(example.reference) is None
    return {
        "index": example.index,
        "row": example.row,
        "prompt": _last_user(example.prompt),
        "instruction": conversation_text(example.prompt),
        "reference": example.reference,
        **({"alternatives": list(example.alternatives)} if example.alternatives else {}),
        "checkable": checkable,
        "answers": texts,
        "loss": [line["loss"] / line["labels"] if line["labels"] else None for line in lines],
        "sum": [line["loss"] for line in lines],
        "labels": [line["labels"] for line in lines],
        "bytes": lines[0]["bytes"],
        "cut": [line["cut"] for line in lines],
        "whole": all(line["whole"] for line in lines),
        "exact": [bool(best(exact_match, text, right)) if checkable else None for text in texts],
        "normalised": [bool(best(normalised_match, text, right)) if checkable else None for text in texts],
        "f1": [round(best(token_f1, text, right), 4) if in_words else None for text in texts],
        "rouge_l": [round(best(rouge_l, text, right), 4) for text in texts],
        "chrf": [round(best(chrf, text, right), 2) for text in texts],
        "tokens": [line["tokens"] for line in lines],
        "ended": [line["ended"] for line in lines],
        "long": [line["long"] for line in lines],
        "refused": refused,
    }


def text_record(record: dict, index: int, lines: list[dict]) -> dict:
    """As `record_of`, for raw text: only likelihoods."""
    return {
        "index": index,
        "row": record["row"],
        "prompt": record["text"][:_EXCERPT],
        "loss": [line["loss"] / line["labels"] if line["labels"] else None for line in lines],
        "sum": [line["loss"] for line in lines],
        "labels": [line["labels"] for line in lines],
        "bytes": lines[0]["bytes"],
    }


def summary(records: list[dict], models: int, seed: int) -> list[dict]:
    """Each figure: {key, values [a model each], n, higher, difference {value, low, high} | None, better}.

    `higher` says whether more is better (None: neither), `better` is the index of the model that is clearly better, or
    None. Figures that nothing can be said of are left out.
    """
    found = []
    for key, higher, ratios, transform, count in _figures(records, models):
        values = [ratio.value() for ratio in ratios]
        if None in values:
            continue
        change = difference(ratios[0], ratios[1], seed, transform) if models == 2 and count > 1 else None
        found.append(
            {
                "key": key,
                "values": [_finite(transform(value) if transform else value) for value in values],
                "n": count,
                "higher": higher,
                "difference": change,
                "better": _better(change, higher),
            }
        )
    return _with_corpus_chrf(found, records, models)


def _figures(records: list[dict], models: int):
    sides = range(models)

    def column(key: str, some: list[dict]) -> list[np.ndarray]:
        return [np.array([float(record[key][side] or 0) for record in some]) for side in sides]

    # of the same records for each model: one may refuse, or cut away, what the other reads
    read = [record for record in records if all(record["labels"])]
    per_token = [Ratio(*each) for each in zip(column("sum", read), column("labels", read), strict=True)]
    yield "loss", False, per_token, None, len(read)
    yield "perplexity", False, per_token, _exp, len(read)
    # Of a record that was cut the bytes are those of the whole answers, and the loss is not.
    whole = [record for record in records if record["bytes"] and record.get("whole", True)]
    size = np.array([float(record["bytes"]) for record in whole])
    per_byte = [Ratio(loss / math.log(2), size) for loss in column("sum", whole)]
    yield "bits_per_byte", False, per_byte, None, len(whole)
    if not records or "answers" not in records[0]:
        return
    checked = [record for record in records if record["checkable"]]
    for key in ("exact", "normalised"):
        yield key, True, [Ratio(values, np.ones(len(checked))) for values in column(key, checked)], None, len(checked)
    short = [record for record in checked if None not in record.get("f1", [None])]
    if short:
        yield "f1", True, [Ratio(values, np.ones(len(short))) for values in column("f1", short)], None, len(short)
    answered = [record for record in records if not any(record["long"])]
    for key, higher in (("rouge_l", True), ("chrf", True), ("tokens", None), ("ended", None)):
        values = column(key, answered)
        yield key, higher, [Ratio(each, np.ones(len(answered))) for each in values], None, len(answered)


def _with_corpus_chrf(found: list[dict], records: list[dict], models: int) -> list[dict]:
    """chrF is shown over the whole corpus, as it is reported; its interval stays the one of the means of sentences."""
    for figure in found:
        if figure["key"] == "chrf":
            some = [record for record in records if not any(record["long"])]
            references = [[record["reference"], *record.get("alternatives", ())] for record in some]
            figure["values"] = [
                chrf_corpus([record["answers"][side] for record in some], references) for side in range(models)
            ]
    return found


def _better(change: dict | None, higher: bool | None) -> int | None:
    if change is None or higher is None or change["low"] <= 0 <= change["high"]:
        return None
    return int((change["value"] > 0) == higher)


def _exp(value):
    with np.errstate(over="ignore"):
        return np.exp(value)


def _finite(value) -> float | None:
    return float(value) if math.isfinite(value) else None


def _last_user(prompt: list[dict]) -> str:
    asked = [turn["content"] for turn in prompt if turn["role"] == "user"]
    return asked[-1] if asked else (prompt[-1]["content"] if prompt else "")


def conversation_text(prompt: list[dict]) -> str:
    """All turns, each with who says it; a single question as it is."""
    if [turn["role"] for turn in prompt] == ["user"]:
        return prompt[0]["content"]
    return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in prompt)
