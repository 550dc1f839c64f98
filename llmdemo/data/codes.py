"""Every problem that a record can have: its code, what it is, and what happens to the record.

A row that makes no record at all is always left out. The others are flags of a record, one bit each; a filter
is a code whose records are left out while the filter is on.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """One kind of problem."""

    name: str
    title: str
    """What a person reads in a list of filters, in a few words."""
    message: str
    """The problem as a sentence; {other} stands for the row that it is about."""
    drops: bool
    """Whether its records are left out unless the person says otherwise."""
    bit: int | None = None
    """Its bit in a record's flags; None where there is no record and nothing to switch."""
    warns: bool = False
    """Worth a look although nothing is left out."""

    @property
    def mask(self) -> int:
        """The number in which only its bit is set, for a flag."""
        assert self.bit is not None, "only FLAGS have one"
        return 1 << self.bit


NO_RECORD = [
    Code("wrong_shape", "not like the other rows", "", True),
    Code("wrong_roles", "wrong roles or order of turns", "", True),
    Code("empty_response", "no answer", "", True),
    Code("empty_instruction", "no instruction", "", True),
    Code("too_long", "over 1,000,000 characters", "", True),
    Code("not_learned", "marked as not to be learned", "", True),
    Code("partly_learned", "a part of an answer is not to be learned", "", True),
    Code("same_answers", "chosen and rejected are the same", "", True),
]
_FLAGS = [
    ("duplicate", "duplicates", "The same record as row {other}.", True, False),
    ("leak", "in train and in eval",
     "The same instruction as row {other}, which is held out for evaluation.", True, True),
    ("prompt_too_long", "instruction fills the length",
     "No token of the answer is left at the greatest length.", True, True),
    ("template_refused", "refused by the chat template",
     "The model's chat template refuses this conversation.", True, True),
    ("response_cut", "cut at the greatest length",
     "Cut at the greatest length, so its end is not learned.", False, True),
    ("conflicting_answers", "conflicting answers",
     "The same instruction as row {other} with another answer.", False, True),
    ("near_duplicate", "near-duplicates", "Nearly the same instruction as row {other}.", False, False),
    ("cut_turns", "turns after the last answer", "The turns after the last answer were left off.", False, False),
    ("control_characters", "control characters", "Has control or invisible characters.", False, False),
    ("encoding_damage", "damaged encoding",
     "Has characters that a wrong encoding leaves behind, such as Ã© or �.", False, True),
    ("html", "HTML", "Has HTML tags or entities.", False, False),
    ("very_long", "very long", "Has over 30,000 characters.", False, False),
    ("special_tokens", "special tokens",
     "Has text that a model reads as the end or the beginning of a turn.", False, True),
    ("secret", "probable secrets", "Probably has a key, a token or a password.", False, True),
    ("email", "e-mail addresses", "Has an e-mail address.", False, True),
    ("not_text", "lists or objects for text",
     "Has a list or an object where a text should stand; if kept, its JSON is learned.", True, True),
    ("alternatives", "several answers",
     "Has several answers: the first one is learned, and in an evaluation any of them is right.", False, False),
    ("answer_hidden", "answers hidden by the chat template",
     "The model's chat template leaves out earlier answers or a part of an answer, such as its reasoning: that is not "
     "learned.", False, True),
    ("undesired", "undesired answers", "Marked as undesired: only KTO learns from it.", True, False),
]  # fmt: skip
"""(name, title, message, drops, warns) by bit."""
FLAGS = [Code(name, title, text, drops, bit, warns) for bit, (name, title, text, drops, warns) in enumerate(_FLAGS)]
CODES = {code.name: code for code in (*NO_RECORD, *FLAGS)}
BIT = {code.name: code.mask for code in FLAGS}
DEFAULT_FILTERS = tuple(code.name for code in FLAGS if code.drops)
ABOUT_TOKENS = ("prompt_too_long", "template_refused", "response_cut", "answer_hidden")
"""Flags that depend on a tokenizer and a length."""


def mask(filters) -> int:
    """The bits of these filters."""
    return sum(BIT[name] for name in set(filters))
