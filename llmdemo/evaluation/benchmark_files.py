"""Files of standard benchmarks: HellaSwag-, ARC- and GSM8K-shaped rows to questions. No models.

Contexts and choices are what lm-eval 0.4 makes of them in its tasks hellaswag, arc_easy (arc_challenge) and gsm8k, without
examples before the question. What was read is kept in the home folder by its content, so that it can be asked again.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home, parse_json, write_atomic
from llmdemo.data.files import open_batches
from llmdemo.data.format_detection import detect_format, shown_name
from llmdemo.data.hub import stream_rows
from llmdemo.data.packed import unpacked_file
from llmdemo.data.rows import BadRow
from llmdemo.evaluation.folder import content_key
from llmdemo.settings import Settings
from llmdemo.settings.evaluation import MOST_QUESTIONS, BenchmarkSpec, Shape
from llmdemo.settings.schema import show

MOST_KEPT = 100
"""Benchmarks whose questions are kept, the last ones used."""
_SPLITS = ("test", "validation", "")
"""Those that a benchmark is asked from, the first that there is; "": the data set's usual one."""
_NOT_THIS_SPLIT = ("err_hub_no_split", "err_benchmark_question")
_GOLD = re.compile(r"####\s*(\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """What is asked: choices of which one is right, or (no choices) what the answer's text is compared with."""

    context: str
    choices: tuple[str, ...] = ()
    """As they stand in the answer, without the space before them."""
    right: int = 0
    answer: str = ""
    """Of a question without choices."""


def add_file(home: Home, settings: Settings, path: Path, name: str = "") -> BenchmarkSpec:
    """Reads a file of rows. Raises UserError with the row for what is no benchmark of a known shape."""
    with unpacked_file(Path(path), home.tmp, settings.max_upload_bytes) as inside:
        format_, encoding = detect_format(inside, settings.max_upload_bytes)
        batches = open_batches(inside, format_, encoding, settings.max_rows)
        return _kept(home, batches, name or shown_name(Path(path).name))


def add_source(home: Home, settings: Settings, source: str, split: str = "") -> BenchmarkSpec:
    """Reads a folder of this machine, or a data set of the hub: "owner/name", or "owner/name:configuration". Raises UserError.

    split: "" takes test; where there is none, or its answers are kept secret as HellaSwag's are, validation; else train.
    """
    source, _, config = source.strip().partition(":") if not source.startswith("/") else (source.strip(), "", "")
    title, most = (
        " ".join(filter(None, [source.rstrip("/").split("/")[-1], config])),
        min(MOST_QUESTIONS, settings.max_rows),
    )
    for wanted in (split,) if split else _SPLITS:
        rows = stream_rows(settings, source, config or None, wanted or None, most)
        try:
            return _kept(home, rows, f"{title} · {wanted}" if wanted else title)
        except UserError as error:
            if wanted in (split, "") or getattr(error.message, "key", "") not in _NOT_THIS_SPLIT:
                raise
    raise AssertionError("the last split is read, or an error says why not")


def read(home: Home, spec: BenchmarkSpec) -> list[Question]:
    """The questions that were kept. Raises UserError where they are gone."""
    try:
        path = _folder(home) / f"{spec.key}.jsonl"
        if path.is_file():
            path.touch()  # it is used
        with open(path, encoding="utf-8") as file:
            values = [json.loads(line) for line in file]  # str.splitlines would end a line at U+2028 too
    except FileNotFoundError:
        raise UserError("err_benchmark_gone", name=spec.name) from None
    return [Question(each["context"], tuple(each["choices"]), each["right"], each["answer"]) for each in values]


def questions_of(rows: Iterator[tuple[int, Any]]) -> tuple[Shape, list[Question]]:
    """(shape, questions) of numbered rows. Raises UserError."""
    shape: Shape | None = None
    found: list[Question] = []
    for number, row in rows:
        if not isinstance(row, dict):
            raise UserError("err_benchmark_row", n=number, got=show(row))
        if shape is None:
            shape = _shape_of(row)
        try:
            found.append(_READERS[shape](row))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise UserError("err_benchmark_question", n=number, shape=NAMES[shape]) from None
        if len(found) > MOST_QUESTIONS:
            raise UserError("err_benchmark_long", most=MOST_QUESTIONS)
    if shape is None:
        raise UserError("err_benchmark_empty")
    return shape, found


NAMES: dict[Shape, str] = {"hellaswag": "HellaSwag", "arc": "ARC", "gsm8k": "GSM8K"}


def _shape_of(row: dict) -> Shape:
    if {"endings", "label"} <= set(row) and ({"ctx_a", "ctx_b", "activity_label"} <= set(row)):
        return "hellaswag"
    if "answerKey" in row and ("choices" in row or isinstance(row.get("question"), dict)):
        return "arc"
    if {"question", "answer"} <= set(row) and isinstance(row["answer"], str) and _GOLD.search(row["answer"]):
        return "gsm8k"
    raise UserError("err_benchmark_shape", keys=", ".join(map(str, row))[:200] or "–")


def _hellaswag(row: dict) -> Question:
    context = row["ctx_a"] + " " + row["ctx_b"].capitalize()
    endings, right = [_cleaned(ending) for ending in row["endings"]], int(row["label"])
    return _choice(_cleaned(f"{row['activity_label']}: {context}"), endings, right)


def _cleaned(text: str) -> str:
    """lm-eval's: WikiHow's titles and brackets are left out."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def _arc(row: dict) -> Question:
    """Of the hub's form, {question, choices {text, label}}, or of the original files': {question {stem, choices [{…}]}}."""
    question: Any = row["question"]
    choices: Any = row.get("choices")
    if isinstance(question, dict):
        question, choices = question["stem"], question["choices"]
    if isinstance(choices, list):
        choices = {key: [each[key] for each in choices] for key in ("text", "label")}
    right = list(choices["label"]).index(row["answerKey"])
    return _choice(f"Question: {question}\nAnswer:", list(choices["text"]), right)


def _choice(context: str, choices: list[str], right: int) -> Question:
    if not 0 <= right < len(choices) or len(choices) < 2 or not all(isinstance(each, str) and each for each in choices):
        raise ValueError
    return Question(context, tuple(choices), right)


def _gsm8k(row: dict) -> Question:
    if not _GOLD.search(row["answer"]):
        raise ValueError
    return Question(f"Question: {row['question'].strip() and row['question']}\nAnswer:", answer=row["answer"])


_READERS: dict[Shape, Callable[[dict], Question]] = {"hellaswag": _hellaswag, "arc": _arc, "gsm8k": _gsm8k}


def _kept(home: Home, batches, name: str) -> BenchmarkSpec:
    with closing(batches):
        shape, questions = questions_of(_numbered(batches))
    values = parse_json(json.dumps([vars(each) | {"choices": list(each.choices)} for each in questions]))
    key = content_key({"shape": shape, "questions": values})
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in values)
    write_atomic(_folder(home) / f"{key}.jsonl", text)
    _prune(_folder(home))
    return BenchmarkSpec(key, name[:200], shape, len(questions))


def _prune(folder: Path) -> None:
    """Removes all but the files that were used last. Another process may do so at the same time."""
    times = {}
    for file in folder.glob("*.jsonl"):
        with suppress(FileNotFoundError):
            times[file] = file.stat().st_mtime
    for file in sorted(times, key=lambda each: times[each], reverse=True)[MOST_KEPT:]:
        file.unlink(missing_ok=True)


def _numbered(batches) -> Iterator[tuple[int, Any]]:
    for batch in batches:
        for place, row in enumerate(batch.rows):
            if isinstance(row, BadRow):
                raise UserError("err_benchmark_bad_row", n=batch.first_row + place, reason=row.reason)
            yield batch.first_row + place, row


def _folder(home: Home) -> Path:
    folder = home.root / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
