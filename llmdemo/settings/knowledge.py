"""How a model is asked what it knows of a data set's answers, checked before anything starts. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.schema import Setting, check


@dataclass(frozen=True)
class ProbeSpec:
    """Every field but dataset_id has a default that works; the paper (arXiv 2405.05904) takes 10 prompts of 4 and 16 samples."""

    dataset_id: str = ""
    """Questions with short answers."""
    model_id: str = "starter"
    """The model that is asked, before it is trained on them, or after."""
    limit: Annotated[int, Field(ge=1, le=100_000), Setting("records")] = 200
    """Most records that are asked, drawn by the seed."""
    prompts: Annotated[int, Field(ge=1, le=20)] = 4
    """Prompts a question, each with other examples before it; the likeliest answer to each counts."""
    shots: Annotated[int, Field(ge=1, le=16)] = 4
    """Examples of question and answer in a prompt, of the same data set."""
    samples: Annotated[int, Field(ge=1, le=64)] = 4
    """Answers that are drawn to each prompt where no likeliest one was right."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 0.5
    """Of those."""
    max_new_tokens: Annotated[int, Field(ge=1, le=256), Setting("tokens")] = 24
    """Longest answer. Records whose own answer is longer cannot be asked."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    """Of examples and samples."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ProbeSpec":
        """A checked spec. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("err_probe_no_object")
        spec = cls(**check(cls, values, say("what_settings")))
        if not spec.dataset_id:
            raise UserError("err_dataset_unnamed")
        return spec

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` takes it back."""
        return asdict(self)
