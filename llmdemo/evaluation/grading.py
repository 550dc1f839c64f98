"""A judge that grades as Prometheus 2 and PHUDGE do: how it is asked, and what is read from its feedback.

Knows nothing of where the judge runs. Models that were trained to judge were trained on one wording, and grade worse in
any other; so these are the published ones: of Prometheus 2 (arXiv 2405.01535) as the package prometheus-eval 0.1.20 has
it, and of PHUDGE's causal model (arXiv 2405.08029), which is that of the first Prometheus (arXiv 2310.08491) between
Phi-3's markers. A grade counts only in the form that was asked for.

Prometheus' models, whose prompts these are, are published under Apache 2.0 (their pages on the hub, read in November 2026);
the package's metadata and PHUDGE's repository name no licence.
"""

import re
from dataclasses import dataclass
from typing import Literal

from llmdemo.evaluation.folder import content_key
from llmdemo.evaluation.judge import Pair, clipped
from llmdemo.settings.judge import JudgeSpec

FORM_VERSION = 1
"""Raised when what is asked changes."""
_FAIR = "You are a fair judge assistant "
_SYSTEM = {
    "absolute": f"{_FAIR}tasked with providing clear, objective feedback based on specific criteria, ensuring each "
    "assessment reflects the absolute standards set for performance.",
    "relative": f"{_FAIR}assigned to deliver insightful feedback that compares individual performances, highlighting how "
    "each stands relative to others within the same cohort.",
}
_GIVEN = {
    ("absolute", True): ", a reference answer that gets a score of 5,",
    ("relative", True): ", a reference answer,",
    ("absolute", False): ",",
    ("relative", False): ",",
}
_ASSESS = {"absolute": "the response", "relative": "two responses"}
_CHOOSE = {
    "absolute": "write a score that is an integer between 1 and 5.",
    "relative": "choose a better response between Response A and Response B.",
}
_RESULT = {"absolute": "(an integer number between 1 and 5)", "relative": "(A or B)"}
_SYSTEM_MARK, _USER_MARK, _END_MARK, _ASSISTANT_MARK = "<|system|>", "<|user|>", "<|end|>", "<|assistant|>"
MARKERS = (_SYSTEM_MARK, _USER_MARK, _END_MARK, _ASSISTANT_MARK)
"""Tokens that a tokenizer must have for a question's `raw` to be read as it is meant."""
_GRADE = re.compile(r"(.*?)\[RESULT\]\s*([1-5])\s*", re.DOTALL)
_BETTER = re.compile(r"(.*?)\[RESULT\]\s*([AB])\s*", re.DOTALL)


@dataclass(frozen=True)
class Question:
    """One call to a judge."""

    key: str
    """Equal for equal questions to one judge."""
    messages: tuple[dict[str, str], ...]
    """The conversation that the judge goes on from."""
    raw: str = ""
    """The whole prompt of a model whose form is not its chat template's; "" where that is used."""


@dataclass(frozen=True)
class Opinion:
    """What a judge said."""

    result: str
    """1 … 5, A or B; "" where it kept to no form."""
    feedback: str


def absolute(pair: Pair, side: int, spec: JudgeSpec) -> Question:
    """Asks for feedback on one answer of the pair and its grade."""
    response = clipped(pair.answers[side])
    parts = [("The instruction to evaluate", clipped(pair.instruction, True)), ("Response to evaluate", response)]
    if spec.reference:
        parts.append(("Reference Answer (Score 5)", clipped(pair.reference)))
    scores = "\n".join(f"Score {score}: {text.strip()}" for score, text in enumerate(spec.rubric, 1))
    parts.append(("Score Rubrics", f"[{spec.criteria.strip()}]\n{scores}"))
    return _question("absolute", parts, spec)


def relative(pair: Pair, swapped: bool, spec: JudgeSpec) -> Question:
    """Asks for feedback on both answers and the better one; `swapped` shows the second as A."""
    first, second = (clipped(text) for text in (reversed(pair.answers) if swapped else pair.answers))
    parts = [("Instruction", clipped(pair.instruction, True)), ("Response A", first), ("Response B", second)]
    if spec.reference:
        parts.append(("Reference Answer", clipped(pair.reference)))
    parts.append(("Score Rubric", f"[{spec.criteria.strip()}]"))
    return _question("relative", parts, spec)


def read_opinion(text: str, grading: Literal["absolute", "relative"]) -> Opinion:
    """The feedback and the result of a judge's text: "… [RESULT] 4" or "… [RESULT] A", once and at its end."""
    found = (_GRADE if grading == "absolute" else _BETTER).fullmatch(text)
    if found is None or "[RESULT]" in found[1]:
        return Opinion("", text.strip())
    return Opinion(found[2], found[1].strip().removeprefix("Feedback:").strip())


def _question(grading: Literal["absolute", "relative"], parts: list[tuple[str, str]], spec: JudgeSpec) -> Question:
    phudge = spec.form == "phudge"
    task = _task(grading, spec.reference, "Feedback: " if phudge else "")
    given = "\n\n".join(f"###{name}:\n{text}" for name, text in parts)
    if phudge:
        given = given.replace("<|", "< |")  # an answer cannot end its turn
        raw = f"{_SYSTEM_MARK}\n{task}{_END_MARK}\n\n{_USER_MARK}\n{given}{_END_MARK}\n\n{_ASSISTANT_MARK}\n"
        messages = _messages(task, given)
    else:
        raw = ""
        messages = _messages(_SYSTEM[grading], f"###Task Description:\n{task}\n\n{given}\n\n###Feedback: ")
    return Question(content_key({"v": FORM_VERSION, "m": list(messages), "r": raw}), messages, raw)


def _messages(system: str, user: str) -> tuple[dict[str, str], ...]:
    return {"role": "system", "content": system}, {"role": "user", "content": user}


def _task(grading: Literal["absolute", "relative"], reference: bool, before: str) -> str:
    """What is to be done, without a heading. `before`: what the feedback is to begin with."""
    return (
        f"An instruction (might include an Input inside it), a response to evaluate{_GIVEN[grading, reference]} and a score "
        "rubric representing a evaluation criteria are given.\n"
        f"1. Write a detailed feedback that assess the quality of {_ASSESS[grading]} strictly based on the given score "
        "rubric, not evaluating in general.\n"
        f"2. After writing a feedback, {_CHOOSE[grading]} You should refer to the score rubric.\n"
        f'3. The output format should look as follows: "{before}(write a feedback for criteria) [RESULT] '
        f'{_RESULT[grading]}"\n'
        "4. Please do not generate any other opening, closing, and explanations."
    )
