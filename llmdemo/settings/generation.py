"""The settings of making a data set with a model, checked before anything starts. Imports no torch.

Keys of endpoints are no part of it: they are never written anywhere.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.evaluation_decoding import CheckerSpec
from llmdemo.settings.judge import JudgeSpec
from llmdemo.settings.schema import Setting, check

GenerationKind = Literal["magpie", "answers", "pairs", "paraphrases", "questions"]
NEEDS_DATA = ("answers", "paraphrases", "questions")
TurnTemplate = Literal["chatml", "llama3", "gemma", "phi3"]


@dataclass(frozen=True)
class GenerationSpec:
    """How records are made. Every field has a default that works."""

    model_id: str = "starter"
    """The model that writes, unless url names an endpoint; it must have a chat template, as instruction-tuned models do."""
    kind: GenerationKind = "magpie"
    """magpie: instructions and answers, from nothing but the model's chat template (arXiv 2406.08464); answers: new answers to
    the prompts of dataset_id; pairs: two answers to each prompt, of dataset_id or made as magpie does, and which is better by
    judge or checker: a preference data set; paraphrases: the instructions of dataset_id in other words, their answers kept; questions: a question about each passage of
    documents (a data set of raw text), answered from it; answers that do not stand in the passage are left out."""
    number: Annotated[int, Field(ge=1, le=100_000), Setting("records")] = 200
    """Records to keep; with a data set, at most as many as it has prompts."""
    name: Annotated[str, Field(max_length=120)] = ""
    """What the data set is called; empty: made of the model's name."""
    dataset_id: str = ""
    """answers, pairs, paraphrases: the data set whose prompts are used."""
    system: Annotated[str, Field(max_length=4000)] = ""
    """A system prompt, which steers the topics; empty: the template's own."""
    with_passage: bool = True
    """questions: whether the passage stands before its question in the data set; records.jsonl keeps it either way."""
    turns: Annotated[int, Field(ge=1, le=4)] = 1
    """magpie: questions of a conversation, each with its answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """magpie and paraphrases: of the instructions; lower ones repeat each other more."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Of instructions and answers."""
    answer_temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Of the answers; 0: the likeliest token at every step. pairs: of the first one; questions: of the questions too."""
    second_temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """pairs: of the second answer."""
    second_model_id: str = ""
    """pairs: a local model that writes the second answer; empty: the one that writes the first."""
    max_prompt_tokens: Annotated[int, Field(ge=8, le=2048), Setting("tokens")] = 64
    """Longest instruction; one that goes on is left out."""
    max_new_tokens: Annotated[int, Field(ge=8, le=4096), Setting("tokens")] = 192
    """Longest answer; one that goes on ends with its last whole sentence, or is left out where that is less than half."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    """With a record's number, seeds its draws: the same settings make the same records. An endpoint may not keep to seeds."""
    url: Annotated[str, Field(max_length=500)] = ""
    """An OpenAI-compatible endpoint that writes in the place of model_id, such as http://localhost:11434/v1."""
    model: Annotated[str, Field(max_length=200)] = ""
    """url: the model's name there."""
    second_model: Annotated[str, Field(max_length=200)] = ""
    """url, pairs: the model there that writes the second answer; empty: the same."""
    template: TurnTemplate = "chatml"
    """url, magpie: which turn markers the model there was trained with; instructions are sampled from its …/completions."""
    parallel: Annotated[int, Field(ge=1, le=32)] = 4
    """url: calls at a time."""
    timeout: Annotated[float, Field(ge=0.1, le=600)] = 60.0
    """url: seconds to wait for one answer."""
    most_perplexity: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """Leave out a record whose answer's perplexity by the model that wrote it is above this; 0: no bound."""
    perplexity_share: Annotated[float, Field(ge=0, le=0.9), Setting("share")] = 0.0
    """At the end, leave out this share of the records, those of the highest perplexity; so many more are made before."""
    least_grade: Annotated[int, Field(ge=0, le=5)] = 0
    """With a judge that grades: the lowest grade from 1 to 5 of the answer (of pairs, of the better one) that is kept; 0: any."""
    judge: JudgeSpec = field(default_factory=JudgeSpec)
    """pairs: who chooses the better answer; the others: who grades each answer. As in /evaluate."""
    checker: CheckerSpec | None = None
    """pairs: chooses by the data set's right answers, in the place of a judge; as in /evaluate."""

    @property
    def grades(self) -> bool:
        """Whether a judge grades each answer by itself."""
        return self.judge.kind in ("model", "endpoint") and self.judge.grading == "absolute"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GenerationSpec":
        """A checked spec. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("err_generation_no_object")
        values = dict(values)
        judge = JudgeSpec.from_value(values.pop("judge", None))
        asked = values.pop("checker", None)
        checker = None if asked in (None, "", "none") else CheckerSpec.from_value(asked)
        spec = replace(cls(**check(cls, values, say("what_settings"))), judge=judge, checker=checker)
        return spec._consistent()

    def _consistent(self) -> "GenerationSpec":
        """Itself, with a judge that fits. Raises UserError for settings that do not go together."""
        if self.kind in NEEDS_DATA and not self.dataset_id:
            raise UserError("err_generation_no_data")
        if self.url.strip() and not self.model.strip():
            raise UserError("err_generation_no_endpoint_model")
        if self.kind == "pairs":
            if self.judge.kind == "none" and self.checker is None:
                raise UserError("err_generation_no_judge")
            if self.checker is not None and not self.dataset_id:
                raise UserError("err_generation_checker_no_data")
            if self.least_grade and not self.grades:
                raise UserError("err_generation_grade_of_pairs")
            return self
        if self.checker is not None:
            raise UserError("err_generation_checker_kind", kind=self.kind)
        if self.judge.kind == "reward" or (self.judge.kind == "none" and self.least_grade):
            raise UserError("err_generation_no_grades")
        return self if self.judge.kind == "none" else replace(self, judge=replace(self.judge, grading="absolute"))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` takes it back."""
        return asdict(self)
