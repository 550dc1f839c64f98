"""Which of several answers to take, from their texts alone: the vote of self-consistency, and minimum Bayes risk by chrF.

Knows no tokens and no models. Sources: Wang et al., arXiv
2203.11171 (vote over final answers); Eikema & Aziz, arXiv 2108.04718 (expected utility over samples); Popović 2015 (chrF).
"""

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from llmdemo.core.patterns import last_match
from llmdemo.settings.lane import VoteOn

_ORDER = 6
"""chrF counts runs of 1 to 6 characters, without blanks."""
_BETA_SQUARED = 4.0
_NUMBER = re.compile(r"(?<![\w.])[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|(?<![\w.])[-−+]?\.\d+")
_MOST_SHOWN = 80


def vote(texts: Sequence[str], vote_on: VoteOn, pattern: str = "") -> list[tuple[float, str]]:
    """(share of all answers that voted the same, what this one voted for) of each text.

    An answer in which nothing is found votes for nothing: (0.0, "").
    """
    labels = [final_answer(text, vote_on, pattern) for text in texts]
    counts = Counter(label for label in labels if label is not None)
    return [(counts[label] / len(labels), label) if label is not None else (0.0, "") for label in labels]


def final_answer(text: str, vote_on: VoteOn, pattern: str = "") -> str | None:
    """What an answer comes to: its last number by value (1,000.50 is 1000.5), the last match of `pattern` (or of its
    first group), or the whole text without the blanks around it; None where nothing is found."""
    if vote_on == "number":
        return last_number(text)
    if vote_on == "regex":
        found = last_match(text, pattern)
        return found[:_MOST_SHOWN] if found is not None else None
    return text.strip() or None


def last_number(text: str) -> str | None:
    """The last number of a text, written by its value; None where there is none."""
    found = None
    for match in _NUMBER.finditer(text):
        found = match[0]
    if found is None:
        return None
    try:
        value = Decimal(found.replace(",", "").replace("−", "-"))
    except InvalidOperation:  # a digit of another script that Decimal does not read
        return found
    value = value.normalize()
    return "0" if value == 0 else f"{value:f}"[:_MOST_SHOWN]


def expected_utility(texts: Sequence[str]) -> list[float]:
    """The mean chrF, 0 to 100, of each text with every other as the reference; 0 for a single one."""
    counts = [ngrams(text) for text in texts]
    others = len(texts) - 1
    return [
        sum(chrf_of(one, other) for place, other in enumerate(counts) if place != own) / others if others else 0.0
        for own, one in enumerate(counts)
    ]


def ngrams(text: str) -> list[Counter]:
    """How often each run of 1, 2, … 6 characters is in the text without its blanks."""
    plain = "".join(text.split())
    return [Counter(plain[at : at + size] for at in range(len(plain) - size + 1)) for size in range(1, _ORDER + 1)]


def chrf_of(hypothesis: list[Counter], reference: list[Counter]) -> float:
    """chrF2, 0 to 100, as sacrebleu gives it (word order 0, effective order smoothing), of what `ngrams` counted."""
    precision = recall = 0.0
    orders = 0
    for own, wanted in zip(hypothesis, reference, strict=True):
        written, asked = own.total(), wanted.total()
        if not written or not asked:
            continue
        common = sum(min(count, wanted[run]) for run, count in own.items() if run in wanted)
        precision += common / written
        recall += common / asked
        orders += 1
    if not orders or not precision + recall:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return 100 * (1 + _BETA_SQUARED) * precision * recall / (_BETA_SQUARED * precision + recall)
