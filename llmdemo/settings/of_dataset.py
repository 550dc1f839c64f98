"""What the settings of a job on one data set have in common: from JSON and back. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.schema import check


@dataclass(frozen=True)
class OfDataset:
    """A schema in which only `dataset_id` has no default that works."""

    noun: ClassVar[str]
    """The key of what it makes: noun_map."""
    dataset_id: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A checked spec. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("err_job_settings_no_object", noun=say(cls.noun))
        spec = cls(**check(cls, values, say("what_settings")))
        if not spec.dataset_id:
            raise UserError("err_dataset_unnamed")
        return spec

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` takes it back."""
        return asdict(self)
