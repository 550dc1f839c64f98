"""How a model is asked what it knows of a data set's answers, checked before anything starts. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from llmdemo.settings.of_dataset import OfDataset
from llmdemo.settings.schema import Setting


@dataclass(frozen=True)
class ProbeSpec(OfDataset):
    """Every field but dataset_id has a default that works; the paper (arXiv 2405.05904) takes 10 prompts of 4 and 16 samples."""

    noun: ClassVar[str] = "noun_probe"
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
