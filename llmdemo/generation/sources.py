"""What records are made of: the conversations of another data set, by their place in it. Knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmdemo import data
from llmdemo.core.store import Home
from llmdemo.data.export import messages_row

Turns = list[dict[str, Any]]
"""{"role", "content"}, and of an answer "weight" 0 where it is not learned and "reasoning_content" where it has one."""


@dataclass(frozen=True)
class Source:
    """One conversation that a record is made of."""

    place: int
    """Its index among the data set's kept records."""
    prompt: Turns
    """The turns up to the first answer: a later question leans on answers that are not this model's."""
    rest: Turns
    """All that follows them; [] where nothing does."""
    right: tuple[str, ...] = ()
    """The answers that are right by the data set, the first of them shown as reference."""
    passage: str = ""
    """What a question is asked about, where a document is the source; there are no turns then."""
    beside: dict[str, Any] = field(default_factory=dict)
    """What the conversation has beside its turns: "tools", "other_answers" (than its last turn)."""


def prompts(home: Home, dataset_id: str) -> Sequence[Source]:
    """The conversations of a data set with tasks chat or preference that a user begins, in their order."""
    made = (_source(place, record) for place, record in enumerate(data.open_records(home, dataset_id)))
    return [each for each in made if any(turn["role"] == "user" for turn in each.prompt)]


def _source(place: int, record: dict[str, Any]) -> Source:
    beside = messages_row(record)
    turns = beside.pop("messages")
    if "chosen" in record:
        return Source(place, turns, [{"role": "assistant", "content": record["chosen"]}], (record["chosen"],))
    first = next((n for n, turn in enumerate(turns) if turn["role"] == "assistant"), len(turns))
    rest = turns[first:]
    others = record.get("alternatives") or () if len(rest) == 1 else ()
    return Source(place, turns[:first], rest, (rest[0]["content"], *others) if rest else (), beside=beside)
