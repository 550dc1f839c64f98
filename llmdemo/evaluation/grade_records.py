"""All answers of an evaluation before a judge that grades, or a reward model; what they said is kept and used again.

Knows how judges are reached and nothing of how pages show it. A judge that fails ends the grading, not the evaluation; one
that keeps to no form is counted and told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.evaluation.answers import chunks, identity
from llmdemo.evaluation.folder import Kept
from llmdemo.evaluation.grading import FORM_VERSION, Question, absolute, read_opinion, relative
from llmdemo.evaluation.intervals import Ratio, difference, interval
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.judge import EQUAL, JudgeFailed, Pair, tally, verdict
from llmdemo.evaluation.judges import ready
from llmdemo.models import catalog
from llmdemo.settings.judge import JudgeSpec

_MOST_UNCLEAR = 8
"""So many answers in a row without a grade, and the judge is given up."""
_MOST_KEPT, _KEPT_END = 20_000, 2000
"""Characters of a judge's text that are kept, and how many of these from its end, where its result stands."""
_EXAMPLE = 400
"""Characters that are shown of an answer that keeps to no form."""


def _shortened(text: str) -> str:
    """`text` as it is kept; where it is too long, what is left out of its middle is told in its place."""
    if len(text) <= _MOST_KEPT:
        return text
    left = len(text) - _MOST_KEPT
    return f"{text[: _MOST_KEPT - _KEPT_END]}\n[… {left:,} characters left out …]\n{text[-_KEPT_END:]}"


def about_judge(home: Home, spec: JudgeSpec) -> dict:
    """What tells this judge from others."""
    if spec.kind == "endpoint":
        return {"url": spec.url.strip(), "model": spec.model.strip()}
    return {"model": identity(catalog.resolve(home, spec.model_id))}


class _Asked:
    """What a judge says to questions: {key: text}, kept between evaluations."""

    def __init__(self, job: Job, home: Home, spec: JudgeSpec, key: str):
        self._job, self._home, self._spec, self._key = job, home, spec, key
        about = {"v": FORM_VERSION, "most": spec.max_new_tokens, **about_judge(home, spec)}
        self._kept = Kept(home, "feedback", about)
        self.texts: dict[str, str | None] = {key: line["text"] for key, line in self._kept.lines.items()}

    def ask(self, questions: Sequence[Question], grading: Literal["absolute", "relative"]) -> None:
        """Adds the answers to these questions to `texts`; None: too long for the judge. Raises JudgeFailed, Stopped.

        An endpoint's answer in no form is not kept: asked again it may be in one. A local model's are always the same.
        """
        every = {each.key: each for each in questions}
        missing = [each for each in every.values() if each.key not in self.texts]
        done, unclear, first = len(every) - len(missing), 0, ""
        self._job.tell(done, len(every))
        local = self._spec.kind == "model"
        for part, texts in self._answers(missing):
            lines = []
            for question, text in zip(part, texts, strict=True):
                self.texts[question.key] = text
                clear = text is not None and bool(read_opinion(text, grading).result)
                unclear, first = (0, "") if clear else (unclear + 1, first or text or "")
                if clear or local:
                    lines.append({"id": question.key, "text": None if text is None else _shortened(text)})
            self._kept.add(lines)
            done += len(part)
            self._job.tell(done, len(every), fresh=len(part))
            if unclear >= _MOST_UNCLEAR:
                raise JudgeFailed(say("judge_off_form", n=unclear, said=_quoted(first)), say("judge_off_form_hint"))

    def _answers(self, questions: list[Question]) -> Iterator[tuple[list[Question], list[str | None]]]:
        if not questions:
            return
        with ready(self._home, self._spec, self._key, self._job.should_stop) as judge:
            for part in chunks(questions, judge.questions_at_once):
                self._job.check()
                yield part, judge.write(part)


def grade_all(
    job: Job, home: Home, spec: JudgeSpec, records: list[dict], pairs: list[Pair], key: str, seed: int
) -> dict[str, Any]:
    """What came out for these pairs: {tally, error, grades, difference, asked, off_form, long, example}. Raises Stopped.

    Each record gets "opinions", one of each answer (absolute) or of each order (relative): {"result", "feedback"}, result
    being the grade or the better answer's number from 0, None where the judge kept to no form; None instead of the list
    where nobody was asked. With two answers it gets a "verdict" too. `seed`: of the intervals.
    """
    reading: Literal["absolute", "relative"] = "relative" if spec.grading == "relative" else "absolute"
    found, told = opinions(job, home, spec, [pair for pair in pairs if reading == "absolute" or not equal(pair)], key)
    return {**told, **summed(records, pairs, found, reading, seed)}


def opinions(
    job: Job, home: Home, spec: JudgeSpec, pairs: list[Pair], key: str
) -> tuple[dict[int, list[dict | None]], dict[str, Any]]:
    """The opinions by the pairs' indices, as grade_all puts them into records, and {error, asked, off_form, long, example}.
    Raises Stopped."""
    reading: Literal["absolute", "relative"] = "relative" if spec.grading == "relative" else "absolute"
    asked = {
        pair.index: [_question(pair, place, spec, reading) for place in range(len(pair.answers))] for pair in pairs
    }
    error, texts = None, {}
    try:
        judge = _Asked(job, home, spec, key)
        texts = judge.texts
        judge.ask([each for some in asked.values() for each in some], reading)
    except UserError as failed:  # the judge; what the models did stays
        error = {"message": failed.message, "hint": failed.hint}
    found = {
        index: [_opinion(texts, each, reading, place) for place, each in enumerate(some)]
        for index, some in asked.items()
    }
    off = [each["feedback"] for some in found.values() for each in some if each and each["result"] is None]
    return found, {
        "error": error,
        "asked": sum(each is not None for some in found.values() for each in some),
        "off_form": sum(text != "" for text in off),
        "long": sum(text == "" for text in off),
        "example": next((text[:_EXAMPLE] for text in off if text), ""),
    }


def summed(
    records: list[dict],
    pairs: list[Pair],
    found: dict[int, list[dict | None]],
    reading: Literal["absolute", "relative"],
    seed: int,
) -> dict[str, Any]:
    """{tally, grades, difference} of the opinions by the pairs' indices, which are put into the records too.

    grades: of each answer {mean, low, high (95 %), n, counts [of 1 … 5]}; difference: second − first with its interval.
    """
    verdicts = {}
    for pair in pairs:
        if len(pair.answers) == 2:
            verdicts[pair.index] = EQUAL if equal(pair) else _verdict(found.get(pair.index, []), reading)
    for record in records:
        record["opinions"] = found.get(record["index"])
        record["verdict"] = verdicts.get(record["index"])
    result: dict[str, Any] = {"tally": None, "grades": None, "difference": None}
    if verdicts:
        result["tally"] = tally(list(verdicts.values())) | ({"agreement": None} if reading == "absolute" else {})
    if reading == "absolute":
        rows = [[each["result"] if each else None for each in some] for some in found.values()]
        sides = range(max(map(len, rows), default=0))
        known = [[value for row in rows if (value := row[side]) is not None] for side in sides]
        result["grades"] = [_grades(values, seed) for values in known]
        both = np.array([row for row in rows if len(row) == 2 and None not in row], float).reshape(-1, 2)
        if len(both) > 1:
            weights = np.ones(len(both))
            result["difference"] = difference(Ratio(both[:, 0], weights), Ratio(both[:, 1], weights), seed)
    return result


def _question(pair: Pair, place: int, spec: JudgeSpec, reading: Literal["absolute", "relative"]) -> Question:
    if not pair.reference.strip():  # of a prompt without one: there is nothing to show
        spec = replace(spec, reference=False)
    return relative(pair, bool(place), spec) if reading == "relative" else absolute(pair, place, spec)


def _opinion(
    texts: dict[str, str | None], question: Question, reading: Literal["absolute", "relative"], place: int
) -> dict | None:
    if question.key not in texts:
        return None
    said = read_opinion(texts[question.key] or "", reading)
    if not said.result:
        return {"result": None, "feedback": said.feedback}
    # in the second order, A is the second answer
    result = int(said.result) if reading == "absolute" else "AB".index(said.result) ^ place
    return {"result": result, "feedback": said.feedback}


def _verdict(opinions: list[dict | None], reading: Literal["absolute", "relative"]) -> dict:
    results = [each["result"] for each in opinions if each and each["result"] is not None]
    if len(results) < 2:
        return verdict([None, None])
    if reading == "absolute":
        sign = (results[1] > results[0]) - (results[1] < results[0])
        winner = {1: 1, -1: 0}.get(sign)
        return {"winner": winner, "agreed": True, "scores": results, "clear": True, "asked": True}
    agreed = results[0] == results[1]
    return {"winner": results[0] if agreed else None, "agreed": agreed, "scores": None, "clear": True, "asked": True}


def _grades(values: list[float], seed: int) -> dict:
    found = interval(Ratio(np.array(values, float), np.ones(len(values))), seed)
    counts = [sum(value == score for value in values) for score in range(1, 6)]
    return {"n": len(values), "counts": counts, **(found or {"mean": None, "low": None, "high": None})}


def equal(pair: Pair) -> bool:
    """Whether there are two answers and they say the same."""
    return len(pair.answers) == 2 and pair.answers[0].strip() == pair.answers[1].strip()


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    return f"{text[:120]}…" if len(text) > 120 else text
