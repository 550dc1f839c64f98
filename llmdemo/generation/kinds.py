"""The kinds of records that can be made: what each reads, what it gives, how a batch of it is made. Imports no torch.

A kind is defined here and nowhere else; its name stands in settings.generation.GenerationKind, its words are
generate_kind_NAME. The rest of the package treats all kinds alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llmdemo.core.store import Home
from llmdemo.generation.passages import passages
from llmdemo.generation.sources import Source, prompts
from llmdemo.settings.generation import GenerationKind, GenerationSpec

if TYPE_CHECKING:
    from llmdemo.generation.make import Made, Maker

Numbered = list[tuple[int, Source | None]]
"""The records of a batch: their numbers, and what each is made of; None where out of nothing."""
_TURNS = ("chat", "preference")


@dataclass(frozen=True)
class RecordKind:
    """One way of making records."""

    make: Callable[[Maker, Numbered], list[Made]]
    """A batch's records, in their order, each with its reason where it is none."""
    gives: Literal["chat", "preference"] = "chat"
    """The task of the data set that is made."""
    reads: tuple[str, ...] = ()
    """Tasks of the data sets that it can be made of; (): it reads none."""
    sources: Callable[[Home, str], Sequence[Source]] = prompts
    """What it is made of, from a data set's id; record number n is made of the n-th."""
    invents: bool = False
    """Whether an instruction is sampled from the model where there is no data set."""
    judged: bool = False
    """Whether a judge or a checker chooses between two answers."""
    texts: tuple[int, int] = (1, 1)
    """Short ones (instructions, questions) and answers that are written for a record."""
    keeps: float = 0.6
    """Share of the attempts that is kept of the starter's, roughly: what a time is foretold by before one was measured."""


KINDS: dict[GenerationKind, RecordKind] = {
    "magpie": RecordKind(lambda maker, batch: maker.conversations(batch), invents=True),
    "answers": RecordKind(lambda maker, batch: maker.answers(batch), reads=_TURNS, texts=(0, 1)),
    "pairs": RecordKind(
        lambda maker, batch: maker.pairs(batch),
        gives="preference",
        reads=_TURNS,
        invents=True,
        judged=True,
        texts=(1, 2),
        keeps=0.4,
    ),
    "paraphrases": RecordKind(lambda maker, batch: maker.paraphrases(batch), reads=("chat",), texts=(1, 0), keeps=0.4),
    "questions": RecordKind(
        lambda maker, batch: maker.questions(batch), reads=("text",), sources=passages, texts=(2, 0), keeps=0.4
    ),
}


def sources_of(home: Home, spec: GenerationSpec) -> Sequence[Source] | None:
    """What the records are made of; None where they are made of nothing, and there is no end of them."""
    kind = KINDS[spec.kind]
    return kind.sources(home, spec.dataset_id) if kind.reads and spec.dataset_id else None
