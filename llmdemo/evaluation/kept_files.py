"""What an evaluation's files must hold for a page to show them. Knows no folder, no model, no page.

Only what is read again is checked, field by field: a file that was changed by hand or by a damaged disk is a sentence.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, Strict, StrictBool, StrictInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict

Name = Annotated[str, Field(max_length=1000)]
Count = Annotated[int, Strict(), Field(ge=0)]
Figure = Annotated[float, Strict()] | None


class _Judge(TypedDict):
    kind: NotRequired[Name]


class _Spec(TypedDict):
    dataset_id: NotRequired[Name]
    kind: NotRequired[Name]
    limit: NotRequired[Count | None]
    run_ids: NotRequired[list[Name]]
    model_ids: NotRequired[list[Name]]
    judge: NotRequired[_Judge | None]


class _Titles(TypedDict):
    data: NotRequired[Name]
    models: NotRequired[list[Name]]


class _Config(TypedDict):
    spec: _Spec
    titles: _Titles


class _Verdict(TypedDict):
    winner: StrictInt | None
    clear: StrictBool
    scores: list[Figure] | None


class _Opinion(TypedDict):
    result: float | int | None
    feedback: str


class _Record(TypedDict):
    index: Count
    row: StrictInt


class _TextRecord(_Record):
    prompt: str
    loss: list[Figure]
    sum: NotRequired[list[Figure]]
    labels: NotRequired[list[Count]]


class _AnswerRecord(_TextRecord):
    instruction: NotRequired[str]
    reference: str
    alternatives: NotRequired[list[str]]
    checkable: NotRequired[StrictBool]
    answers: list[str]
    exact: NotRequired[list[StrictBool | None]]
    normalised: NotRequired[list[StrictBool | None]]
    f1: NotRequired[list[Figure]]
    rouge_l: NotRequired[list[Figure]]
    chrf: NotRequired[list[Figure]]
    tokens: NotRequired[list[Count]]
    ended: NotRequired[list[StrictBool]]
    verdict: NotRequired[_Verdict | None]
    opinions: NotRequired[list[_Opinion | None] | None]


class _VotedRecord(_Record):
    prompt: str
    answers: list[str]
    lanes: list[Name]
    votes: list[Count]
    majority: Count
    verdict: NotRequired[_Verdict | None]
    opinions: NotRequired[list[_Opinion | None] | None]


class _RewardRecord(_Record):
    prompt: str
    kind: Name
    chosen: str
    rejected: str
    rewards: list[list[Figure]]


class _ClassRecord(_Record):
    text: str
    label: Name
    predicted: list[Name]
    probability: list[Figure]


class _Cell(TypedDict):
    text: str
    correct: StrictBool | None
    n: Count
    right: Count
    agreement: NotRequired[Figure]
    opinion: NotRequired[_Opinion | None]
    tokens: Count
    forwards: Count
    seconds: Figure


class _DecodedRecord(_Record):
    prompt: str
    messages: list[dict[str, str]]
    reference: str
    cells: list[_Cell]


class _Question(_Record):
    prompt: str
    reference: str
    said: list[str]
    acc: NotRequired[list[StrictBool]]
    acc_norm: NotRequired[list[StrictBool]]
    strict: NotRequired[list[StrictBool]]
    flexible: NotRequired[list[StrictBool]]


class _Difference(TypedDict):
    value: Figure
    low: Figure
    high: Figure


class _Figures(TypedDict):
    key: Name
    values: list[Figure]
    n: Count
    higher: StrictBool | None
    difference: _Difference | None
    better: StrictInt | None
    intervals: NotRequired[list[list[Figure]]]


class _Calibration(TypedDict):
    error: Figure
    bins: list[list[Figure | Count]]


class _Strategy(TypedDict):
    model: Count
    lane: Count
    name: Name
    strategy: Name
    score: Figure
    low: Figure
    high: Figure
    n: Count
    forwards: Figure
    tokens: Figure
    seconds: Figure
    difference: _Difference | None
    pass_at: dict[Name, Figure]
    dominated: dict[Name, StrictBool]
    calibration: NotRequired[_Calibration | None]


class _Model(TypedDict):
    id: Name
    title: Name


class _Classifier(_Model):
    mistakes: list[Count]
    curves: dict[Name, Any]
    scores: dict[Name, list[Figure]]


class _Note(TypedDict):
    code: Name


class _Result(TypedDict):
    records: Count
    notes: list[_Note]


class _Told(TypedDict):
    n: list[Count]
    chosen: Count
    chose: Figure
    score: Figure
    low: Figure
    high: Figure
    base: Figure
    difference: dict[Name, Figure] | None
    agreement: Figure


class _Search(TypedDict):
    strategy: Name
    values: dict[Name, list[Any]]
    first: Count
    told: list[_Told]


class _Compared(_Result):
    kind: Literal["answers", "perplexity"]
    models: list[_Model]
    figures: list[_Figures]
    judge: dict[Name, Any] | None


class _Benchmark(_Result):
    kind: Literal["benchmark"]
    shape: Name
    models: list[_Model]
    figures: list[_Figures]


class _Decoded(_Result):
    kind: Literal["decoding"]
    models: list[_Model]
    checker: Name
    settings: dict[str, Any]
    lanes: list[dict[str, Any]]
    table: list[_Strategy]
    search: NotRequired[_Search | None]


class _Voted(_Result):
    kind: Literal["votes"]
    models: list[_Model]
    judge: dict[Name, Any]
    agreement: dict[Name, Any] | None


class _CategoryValue(TypedDict):
    right: Count
    accuracy: Figure
    low: Figure
    high: Figure
    margin: Figure


class _Category(TypedDict):
    name: Name
    n: Count
    values: list[_CategoryValue]


class _Rewarded(_Result):
    kind: Literal["reward"]
    models: list[_Model]
    categories: list[_Category]
    mean: list[Figure] | None
    difference: _Difference | None


class _Classified(_Result):
    kind: Literal["classify"]
    labels: list[Name]
    models: list[_Classifier]
    baselines: list[dict[Name, Any]]


class _Folded(_Result):
    kind: Literal["kfold"]
    labels: list[Name]
    folds: list[dict[Name, Any]]
    spread: dict[Name, dict[Name, dict[Name, Any]]]


_CONFIG: TypeAdapter[Any] = TypeAdapter(_Config)
_RESULT: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        _Compared | _Benchmark | _Decoded | _Voted | _Rewarded | _Classified | _Folded, Field(discriminator="kind")
    ]
)
_RECORDS: dict[str, TypeAdapter[Any]] = {
    "votes": TypeAdapter(list[_VotedRecord]),
    "rewards": TypeAdapter(list[_RewardRecord]),
    "answers": TypeAdapter(list[_AnswerRecord]),
    "predicted": TypeAdapter(list[_ClassRecord]),
    "cells": TypeAdapter(list[_DecodedRecord]),
    "said": TypeAdapter(list[_Question]),
    "": TypeAdapter(list[_TextRecord]),
}
"""By a key that only records of this kind have."""
_OF_EACH = (
    "answers",
    "loss",
    "exact",
    "normalised",
    "f1",
    "rouge_l",
    "chrf",
    "tokens",
    "ended",
    "predicted",
    "probability",
    "cells",
    "said",
    "acc",
    "acc_norm",
    "strict",
    "flexible",
)
"""Lists in a record with one value for each model."""


def odd_config(value: Any) -> str:
    """What is wrong in the content of config.json; "" for nothing."""
    return _first(_CONFIG, value)


def odd_result(value: Any) -> str:
    """What is wrong in the content of result.json; "" for nothing."""
    return _first(_RESULT, value)


def odd_records(records: list[dict[str, Any]]) -> str:
    """What is wrong in the content of records.jsonl; "" for nothing."""
    kind = next((key for key in _RECORDS if records and key in records[0]), "")
    if found := _first(_RECORDS[kind], records):
        return found
    kinds = {tuple(len(record[key]) if key in record else -1 for key in _OF_EACH) for record in records}
    counts = {count for each in kinds for count in each} - {-1}
    return "the records are not of the same models" if len(kinds) > 1 or len(counts) > 1 else ""


def odd_mistakes(result: dict[str, Any], records: list[dict[str, Any]]) -> str:
    """What is wrong between a classifier's result and its records, which it names by their places; "" for nothing."""
    most = max((place for model in result["models"] for place in model["mistakes"]), default=-1)
    if most >= len(records):
        return f"mistakes: record {most} of {len(records)}"
    sides = {len(record["predicted"]) if "predicted" in record else 0 for record in records}
    return "" if sides <= {len(result["models"])} else "the records are not of these models"


def _first(adapter: TypeAdapter[Any], value: Any) -> str:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg'][:100]}"
    return ""
