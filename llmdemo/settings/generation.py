"""The settings of making a data set with a model, checked before anything starts. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.schema import Setting, check

GenerationKind = Literal["magpie", "answers"]


@dataclass(frozen=True)
class GenerationSpec:
    """How records are made. Every field has a default that works."""

    model_id: str = "starter"
    """The model that writes; it must have a chat template, as instruction-tuned models do."""
    kind: GenerationKind = "magpie"
    """magpie: instructions and answers, from nothing but the model's chat template (arXiv 2406.08464); answers: new answers to
    the prompts of dataset_id."""
    number: Annotated[int, Field(ge=1, le=100_000), Setting("records")] = 200
    """Records to keep; with answers, at most as many as there are prompts."""
    name: Annotated[str, Field(max_length=120)] = ""
    """What the data set is called; empty: made of the model's name."""
    dataset_id: str = ""
    """answers: the data set whose prompts are answered."""
    system: Annotated[str, Field(max_length=4000)] = ""
    """A system prompt, which steers the topics; empty: the template's own."""
    turns: Annotated[int, Field(ge=1, le=4)] = 1
    """magpie: questions of a conversation, each with its answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """magpie: of the instructions; lower ones repeat each other more."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Of instructions and answers."""
    answer_temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Of the answers; 0: the likeliest token at every step."""
    max_prompt_tokens: Annotated[int, Field(ge=8, le=2048), Setting("tokens")] = 64
    """Longest instruction; one that goes on is left out."""
    max_new_tokens: Annotated[int, Field(ge=8, le=4096), Setting("tokens")] = 192
    """Longest answer; one that goes on ends with its last whole sentence, or is left out where that is less than half."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    """With a record's number, seeds its draws: the same settings make the same records."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GenerationSpec":
        """A checked spec. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("err_generation_no_object")
        spec = cls(**check(cls, values, say("what_settings")))
        if spec.kind == "answers" and not spec.dataset_id:
            raise UserError("err_generation_no_data")
        return spec

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` takes it back."""
        return asdict(self)
