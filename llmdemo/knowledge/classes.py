"""The four classes of knowledge by Gekhman et al. (arXiv 2405.05904), and what is right. Texts and counts only.

Highly known: the likeliest answer is right after every prompt; maybe known: after some; weakly known: after none, but a drawn
answer is; unknown: none is.
"""

import re
import unicodedata

CLASSES = ("highly", "maybe", "weakly", "unknown")
_SIGNS = re.compile(r"[^\w\s]")
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def class_of(greedy: list[bool], sampled: int) -> str:
    """greedy: whether the likeliest answer to each prompt was right; sampled: how many drawn ones were."""
    if greedy and all(greedy):
        return "highly"
    if any(greedy):
        return "maybe"
    return "weakly" if sampled else "unknown"


def normal(text: str) -> str:
    """Small letters without signs, articles and blanks beside each other, as SQuAD compares answers; an answer that is nothing
    but an article, such as the A of a multiple choice, keeps it."""
    text = _SIGNS.sub("", unicodedata.normalize("NFKC", text).casefold())
    return " ".join((_ARTICLES.sub(" ", text).strip() or text).split())


def is_right(said: str, references: list[str]) -> bool:
    """Whether the first line of what was said is one of the right answers (exact match, normalised)."""
    line = normal(said.strip().split("\n", 1)[0])
    return any(line == normal(each) for each in references) and bool(line)


def pair_of(record: dict) -> tuple[str, list[str]] | None:
    """(question, right answers) of a conversation with one question; None for another."""
    turns = [turn for turn in record["messages"] if turn["role"] != "system"]
    if [turn["role"] for turn in turns] != ["user", "assistant"]:
        return None
    return turns[0]["content"], [turns[1]["content"], *record.get("alternatives", ())]


def counted(found: list[dict]) -> dict[str, int]:
    """How many records each class has. found: {"class"} of each record."""
    return {name: sum(each["class"] == name for each in found) for name in CLASSES}


def changed(before: list[dict], after: list[dict]) -> dict[str, list[int]]:
    """{"lost", "learned"}: indices of records that some likeliest answer got right before and none does after, and the reverse.

    Records that only one of the two asked are left out, and those whose prompts did not fit one of the two models.
    """
    first, second = (
        {each["index"]: any(each["greedy"]) for each in found if each["greedy"]} for found in (before, after)
    )
    both = sorted(first.keys() & second.keys())
    return {
        "lost": [index for index in both if first[index] and not second[index]],
        "learned": [index for index in both if second[index] and not first[index]],
    }
