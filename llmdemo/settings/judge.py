"""Who judges answers in an evaluation, by what criterion and in which form. Imports no torch.

Knows nothing of how a judge is asked. A judge's key is no part of it: it is never written anywhere.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.schema import check

CRITERIA = "Is the response correct, complete and in the form that the instruction asks for?"
SCORES = (
    "Not at all; wrong, empty or off the subject.",
    "Mostly not; serious mistakes or omissions.",
    "In part; some of it is right and some is not.",
    "Mostly; small flaws.",
    "Fully, as the reference answer does.",
)
"""What each score from 1 to 5 means unless a rubric of one's own says so."""
MOST_CHARACTERS = 2000
USUAL_LIMIT = 32

Grading = Literal["scores", "absolute", "relative"]
Form = Literal["prometheus", "phudge"]


@dataclass(frozen=True)
class JudgeSpec:
    """Who judges the answers."""

    kind: Literal["none", "model", "endpoint", "reward"] = "none"
    """none, model (a local causal model), endpoint (an OpenAI-compatible address) or reward (a reward model of a run)."""
    model_id: str = ""
    """The local model, or the reward model."""
    url: str = ""
    """The endpoint's base address, such as http://localhost:11434/v1."""
    model: str = ""
    """The model's name there."""
    grading: Grading = "scores"
    """scores: both answers at once, each scored, in both orders; absolute: each answer by itself, feedback and a grade
    from 1 to 5; relative: the better of two with feedback, in both orders."""
    form: Form = "prometheus"
    """absolute and relative: the words in which a judge is asked. prometheus: those of Prometheus 2 (arXiv 2405.01535);
    phudge: those of PHUDGE (arXiv 2405.08029), for absolute grades."""
    criteria: str = CRITERIA
    """What is judged, as a question."""
    rubric: tuple[str, ...] = SCORES
    """absolute: what each grade from 1 to 5 means, in this order."""
    reference: bool = True
    """absolute and relative: whether the judge is shown the right answer."""
    max_new_tokens: Annotated[int, Field(ge=16, le=4096)] = 320
    """absolute and relative: longest feedback with its grade; a judge that is not at its end by then has given none."""
    limit: Annotated[int | None, Field(ge=1, le=100_000)] = None
    """Most records that are judged, by default 32; each takes two calls. Where a judge checks decoding strategies or grades a
    vote, no more than these are asked, by default the evaluation's limit; of data that is made, all is judged."""
    timeout: Annotated[float, Field(ge=0.1, le=600)] = 60.0
    """Seconds to wait for one answer of the endpoint."""

    @classmethod
    def from_value(cls, value: Any) -> "JudgeSpec":
        """From JSON; None: no judge. Raises UserError."""
        if value in (None, "", {}, "none"):
            return cls()
        if not isinstance(value, dict):
            raise UserError("err_judge_no_object")
        judge = cls(**check(cls, value, say("what_judge")))
        if judge.kind in ("model", "reward") and not judge.model_id:
            raise UserError("err_judge_no_model")
        if judge.kind == "endpoint" and not (judge.url.strip() and judge.model.strip()):
            raise UserError("err_judge_no_address")
        if judge.grading == "relative" and judge.form == "phudge":
            raise UserError("err_judge_form")
        check_rubric(judge.criteria, judge.rubric)
        return judge


def check_rubric(criteria: str, scores: tuple[str, ...]) -> None:
    """Raises UserError unless there is a criterion and a description of each of the five scores, none too long."""
    if not criteria.strip() or len(criteria) > MOST_CHARACTERS:
        raise UserError("err_judge_criterion")
    if len(scores) != 5 or not all(each.strip() and len(each) <= MOST_CHARACTERS for each in scores):
        raise UserError("err_judge_rubric", n=len(scores))
