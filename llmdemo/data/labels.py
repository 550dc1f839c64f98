"""The classes that the labels of a data set stand for. Knows no torch; training, evaluation and folds all ask here."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say

MOST_CLASSES = 1000
"""More different labels than this are not classes but texts."""


@dataclass(frozen=True)
class Classes:
    """The classes that labels stand for."""

    names: list[str]
    index: dict[str, int]
    """The class of each label as it is written in the data."""
    notes: list[str]
    """What people should know of the labels, in sentences."""

    def numbers(self, labels: list[str]) -> np.ndarray:
        """int64 (N,): the class of each of these labels, as they are written in the data."""
        return np.array([self.index[label] for label in labels], np.int64)

    def merged(self) -> list[str]:
        """The names of the classes that have more than one spelling."""
        spellings = Counter(self.index.values())
        return [name for number, name in enumerate(self.names) if spellings[number] > 1]


_WHOLE = re.compile(r"(-?[0-9]+)\.0+")


def spelling(label: str) -> str:
    """What labels of one class have in common: case and blanks do not count, and 1.0 is 1."""
    spelled = " ".join(label.casefold().split())
    whole = _WHOLE.fullmatch(spelled)
    return whole[1] if whole else spelled


def merge_labels(labels: list[str], most: int | None = MOST_CLASSES) -> Classes:
    """The classes of these labels (one a record), by name; spellings that differ only in case, in blanks or as 1 and 1.0 do are one class.

    A class has the name of its most frequent spelling. Raises UserError for fewer than two classes or more
    than `most` (None: any number).
    """
    counts = Counter(labels)
    spellings: dict[str, list[str]] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        spellings.setdefault(spelling(label), []).append(label)
    names = sorted(group[0] for group in spellings.values())
    if len(names) < 2:
        shown = say("word_the_label", label=repr(names[0][:40])) if names else say("word_no_label")
        raise UserError("err_all_one_label", n=len(labels), shown=shown)
    if most is not None and len(names) > most:
        raise UserError("err_too_many_labels", n=len(names), most=most)
    place = {name: number for number, name in enumerate(names)}
    index = {label: place[group[0]] for group in spellings.values() for label in group}
    return Classes(names, index, [_merged(group) for group in spellings.values() if len(group) > 1])


def _merged(group: list[str]) -> str:
    others = ", ".join(repr(label[:40]) for label in group[1:4])
    return say("note_labels_merged", first=repr(group[0][:40]), others=others)
