"""How close an answer is to the right one: exact, but for form, ROUGE-L, chrF. Texts only: no models, no tokens.

ROUGE-L is Google's rouge_score and chrF is sacrebleu's; both are imported at their first use.
"""

import json
import re
import string
import unicodedata
from functools import cache

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation + "。，、；：？！「」『』（）《》“”‘’…")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_MOST_WORDS = 8


def exact_match(answer: str, reference: str) -> bool:
    """Equal but for blanks around them."""
    return answer.strip() == reference.strip()


def normalised_match(answer: str, reference: str) -> bool:
    """Equal as JSON values where the reference is JSON; else equal as SQuAD compares (arXiv 1606.05250):

    lower case, without punctuation, articles and repeated blanks; full-width letters count as plain ones.
    """
    wanted = as_json(reference)
    if wanted is not None:
        got = as_json(answer)
        return got is not None and _same(got, wanted)
    return normalise(answer) == normalise(reference)


def normalise(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def as_json(text: str):
    """The JSON object or list that a text is, perhaps inside a code fence; None for anything else."""
    text = text.strip()
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*?)\n?```", text, re.DOTALL)
    text = fenced[1].strip() if fenced else text
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _same(one, other) -> bool:
    """Equal as JSON values: 1 is 1.0, but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def is_checkable(reference: str) -> bool:
    """Whether there is one right answer to compare with: JSON, or at most eight words."""
    return bool(reference.strip()) and (as_json(reference) is not None or len(_WORD.findall(reference)) <= _MOST_WORDS)


class Words:
    """The words of a text for ROUGE: runs of letters and digits in lower case, each CJK character by itself.

    On ASCII texts it gives what rouge_score's own tokenizer (without stemming) gives, which drops everything else.
    """

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.lower())


def rouge_l(answer: str, reference: str) -> float:
    """F-measure of the longest common subsequence of words, 0 to 1."""
    return float(_rouge().score(reference, answer)["rougeL"].fmeasure)


def chrf(answer: str, reference: str) -> float:
    """chrF2 of one answer, 0 to 100 (sacrebleu's, which smooths by effective order)."""
    return float(_chrf().sentence_score(answer, [reference]).score)


def chrf_corpus(answers: list[str], references: list[str]) -> float | None:
    """chrF2 over all answers together, 0 to 100."""
    return float(_chrf().corpus_score(answers, [references]).score) if answers else None


@cache
def _rouge():
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=Words())


@cache
def _chrf():
    from sacrebleu.metrics import CHRF

    return CHRF()
