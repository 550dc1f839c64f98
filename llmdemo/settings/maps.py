"""The settings of a map of a data set, checked before anything starts. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.schema import Setting, check


@dataclass(frozen=True)
class MapSpec:
    """How records are placed. Every field but dataset_id has a default that works."""

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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MapSpec":
        """A checked spec. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("err_map_no_object")
        spec = cls(**check(cls, values, say("what_settings")))
        if not spec.dataset_id:
            raise UserError("err_dataset_unnamed")
        return spec

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` takes it back."""
        return asdict(self)
