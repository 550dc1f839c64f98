"""How close an answer is to the right one: exact, but for form, F1, ROUGE-L, chrF. Texts only: no models, no tokens.

Where a record has several right answers, `best` takes the one that the answer is closest to, as SQuAD's script does.

ROUGE-L gives what Google's rouge_score gives, which imports all of nltk for three CPU seconds, scikit-learn and pandas with
it. chrF is sacrebleu's, imported at its first use.
"""

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache

# An article stands before a word: the A that is an answer, or ends one ("vitamin A"), is none.
_ARTICLES = re.compile(r"(?<!\S)(?:an?|the)\s+(?=\S)")
_BULLET = re.compile(r"^\s*[-*•]\s+", re.MULTILINE)
_COMPARED = re.compile(r"\s*([<>=≤≥≠%])\s*")
_NUMBER = re.compile(r"([+-]?)(0|[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]*|(?=\.))(?:\.([0-9]+))?")
_SIGNS = str.maketrans({"−": "-", "–": "-", "’": None, "‘": None, "'": None})
_PUNCTUATION = frozenset('.,;:!?"()[]{}`*。、「」『』《》〈〉【】“”…·¿¡«»')
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_MOST_WORDS = 8


def best(metric: Callable[[str, str], float], answer: str, references: list[str]) -> float:
    """The metric's largest value over the right answers (SQuAD's metric_max_over_ground_truths); for yes or no: any."""
    return max(metric(answer, reference) for reference in references)


def exact_match(answer: str, reference: str) -> bool:
    """Equal but for blanks around them."""
    return answer.strip() == reference.strip()


def normalised_match(answer: str, reference: str) -> bool:
    """Equal as JSON values where the reference is JSON; else equal but for form, see `normalise`."""
    wanted = as_json(reference)
    if wanted is not None:
        got = as_json(answer)
        return got is not None and _same(got, wanted)
    plain = normalise(reference)
    if not plain:  # the reference is punctuation: then that is what counts
        return answer.strip().casefold() == reference.strip().casefold()
    return normalise(answer) == plain


def normalise(text: str) -> str:
    """Lower case, without articles, repeated blanks, and punctuation at the edges of words; numbers by their value.

    After SQuAD (arXiv 1606.05250), which drops all punctuation and so takes -5 for 5, 3.5 for 35 and C++ for C. Full-width
    letters count as plain ones.
    """
    text = _BULLET.sub("", unicodedata.normalize("NFKC", text).casefold().translate(_SIGNS))
    kept = (each for place, each in enumerate(text) if each not in _PUNCTUATION or _is_inside(text, place))
    words = _ARTICLES.sub(" ", " ".join("".join(kept).split())).split()
    return _COMPARED.sub(r"\1", " ".join(map(_by_value, words)))


def _is_inside(text: str, place: int) -> bool:
    """Whether the sign at `place` belongs to a word: 3.5, .5, a,b, !x. CJK characters are words of their own."""
    before, after = text[place - 1 : place] if place else "", text[place + 1 : place + 2]
    return _is_plain(after) and (_is_plain(before) or text[place] in ".!" and not _CJK.match(before or " "))


def _is_plain(character: str) -> bool:
    return character.isalnum() and not _CJK.match(character)


def _by_value(word: str) -> str:
    """1,000.50 as 1000.5, +5 as 5; a word that is no number stays, and so does 007."""
    found = _NUMBER.fullmatch(word)
    if not found:
        return word
    sign, whole, part = found[1], found[2].replace(",", "") or "0", (found[3] or "").rstrip("0")
    value = f"{whole}.{part}" if part else whole
    return f"-{value}" if sign == "-" and value != "0" else value


def token_f1(answer: str, reference: str) -> float:
    """F1 of the words that both have, 0 to 1, by the definition of SQuAD's evaluation script (arXiv 1606.05250).

    Words are what blanks part once lower case, without punctuation and articles; each CJK character is a word of its own,
    which that script does not know. Where one side has no word, 1 if the other has none either (SQuAD 2.0).
    """
    got, wanted = _squad_words(answer), _squad_words(reference)
    if not got or not wanted:
        return float(got == wanted)
    common = sum((Counter(got) & Counter(wanted)).values())
    return 2 * common / (len(got) + len(wanted))


def _squad_words(text: str) -> list[str]:
    plain = "".join(each for each in text.lower() if each not in _SQUAD_PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", " ", _CJK.sub(r" \g<0> ", plain)).split()


_SQUAD_PUNCTUATION = frozenset(string.punctuation) | (_PUNCTUATION - frozenset("·…"))


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


def fields_share(answer: str, reference: str) -> float | None:
    """Of the keys that either JSON object has, the share whose values are equal in both; 0 for an answer that is none, None where the
    reference is none or has no key. Only the outer object's keys count, each with the whole of its value."""
    wanted, got = as_json(reference), as_json(answer)
    if not isinstance(wanted, dict) or not wanted:
        return None
    if not isinstance(got, dict):
        return 0.0
    equal = sum(key in got and _same(got[key], value) for key, value in wanted.items())
    return equal / len(wanted.keys() | got.keys())


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


def _words(text: str) -> list[str]:
    """The words of a text for ROUGE: runs of letters and digits in lower case, each CJK character by itself.

    On ASCII texts it gives what rouge_score's own tokenizer (without stemming) gives, which drops everything else.
    """
    return _WORD.findall(text.lower())


def rouge_l(answer: str, reference: str) -> float:
    """F-measure of the longest common subsequence of words, 0 to 1 (Lin 2004; precision and recall weigh the same)."""
    said, right = _words(answer), _words(reference)
    common = _longest_common(said, right)
    return 2 * common / (len(said) + len(right)) if common else 0.0


def _longest_common(first: list[str], second: list[str]) -> int:
    """Length of the longest common subsequence, a row of the usual table in each step (Hyyrö 2004).

    Bit n of `row` is 0 where the table's row grows by one between the first n and the first n + 1 words of `first`.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    row = whole = (1 << len(first)) - 1
    for word in second:
        here = row & places.get(word, 0)
        row = (row + here | row - here) & whole
    return len(first) - row.bit_count()


def chrf(answer: str, reference: str) -> float:
    """chrF2 of one answer, 0 to 100 (sacrebleu's, which smooths by effective order)."""
    return float(_chrf().sentence_score(answer, [reference]).score)


def chrf_corpus(answers: list[str], references: list[list[str]]) -> float | None:
    """chrF2 over all answers together, 0 to 100; of each answer's references the one that it is closest to."""
    most = max(map(len, references), default=0)
    streams = [[each[place] if place < len(each) else each[0] for each in references] for place in range(most)]
    return float(_chrf().corpus_score(answers, streams).score) if answers else None


@cache
def _chrf():
    from sacrebleu.metrics import CHRF

    return CHRF()
