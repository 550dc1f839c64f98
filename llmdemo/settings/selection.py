"""How records of a data set are selected, checked before anything is read. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.schema import Setting, check

Method = Literal["random", "length", "perplexity", "ifd", "k_center", "clusters", "lima", "chosen"]
NEEDS_LOSSES = ("perplexity", "ifd")
"""Methods that read each record's loss out of a map that was made with losses."""


@dataclass(frozen=True)
class SelectionSpec:
    """A recipe: which of the records that are learned from stay. What a run would hold out always stays, held out."""

    method: Method = "random"
    """random; length of the answers; perplexity of the answers by the map's model; ifd, instruction-following difficulty (arXiv
    2308.12032); k_center, the most different ones (arXiv 1708.00489); clusters, as many of each; lima, a small set, the longest
    answer of each of `number` regions (after arXiv 2305.11206); chosen, those in `indices`."""
    number: Annotated[int, Field(ge=1, le=10_000_000), Setting("records")] = 500
    """Records to learn from that stay; all, where there are no more."""
    order: Literal["high", "low", "middle"] = "high"
    """length, perplexity, ifd: the highest, the lowest, or those nearest to the median. With ifd those of 1 and above, which the
    question misleads, are left out first, as in the paper."""
    map_id: str = ""
    """A finished map of this data set; empty: the newest. k_center, clusters and lima go by words (TF-IDF) where there is none."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    """Of random draws, and of the split whose held-out part stays: as a run's."""
    eval_share: Annotated[float, Field(gt=0, le=0.5), Setting("share")] = 0.1
    """Of that split: as a run's."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SelectionSpec":
        """A checked spec. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("err_selection_no_object")
        return cls(**check(cls, values, say("what_settings")))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` takes it back."""
        return asdict(self)
