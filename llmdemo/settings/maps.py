"""The settings of a map of a data set, checked before anything starts. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from llmdemo.settings.of_dataset import OfDataset
from llmdemo.settings.schema import Setting


@dataclass(frozen=True)
class MapSpec(OfDataset):
    """How records are placed. Every field but dataset_id has a default that works."""

    noun: ClassVar[str] = "noun_map"
    dataset_id: str = ""
    """The data set that is mapped."""
    model_id: str = "starter"
    """The model whose hidden states place the records: a language model, or an encoder such as a sentence-embedding model."""
    depth: Annotated[float, Field(ge=0, le=1), Setting("share")] = 0.2
    """Which hidden states: 0 the token embeddings, 1 the last layer. Of an encoder, always the last."""
    max_tokens: Annotated[int, Field(ge=4, le=4096), Setting("tokens")] = 64
    """Of each record, the first so many tokens are read for its place."""
    clusters: Annotated[int, Field(ge=0, le=200)] = 0
    """How many clusters; 0: the number with the best silhouette."""
    duplicates: Annotated[float, Field(ge=0, le=1)] = 0.98
    """Records whose vectors have at least this cosine count as near-duplicates by meaning."""
    losses: bool = False
    """Also each record's loss, perplexity and IFD by the model, which takes several times as long."""
    after_id: str = ""
    """A finished run's model: each record's loss by it as well, so before and after."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    """Of clusters and layout."""
