"""Passages of documents as ground for questions: cut out of raw text, how a question and its answer are asked for, and whether an
answer stands in its passage. Texts only."""

import re
from collections.abc import Sequence

from llmdemo import data
from llmdemo.core.store import Home
from llmdemo.generation.sources import Source

SHORTEST, LONGEST = 160, 900
"""Characters of a passage: of less nothing can be asked, of more a small model loses the thread."""
GROUNDED = 0.7
"""Share of an answer's telling words that must stand in the passage."""
ASK = (
    "Write one question that the passage below answers. Ask for a fact that the passage states, and name what you ask about, so "
    "that the question can be understood without the passage. Reply with the question only.\n\n<passage>\n{passage}\n</passage>"
)
_EXAMPLES = (
    (
        "The Thames is a river in southern England. It is 346 kilometres long and flows through London into the North Sea.",
        "How long is the Thames?",
    ),
    (
        "Marie Curie was born in Warsaw in 1867. She was the first woman to win a Nobel Prize, for her work on radioactivity.",
        "Where was Marie Curie born?",
    ),
)
_EXAMPLES_CHINESE = (
    ("濁水溪是臺灣最長的河流，全長186.6公里，由東向西流入臺灣海峽。", "濁水溪有多長？"),
    ("居禮夫人1867年生於華沙，因放射性的研究成為第一位獲得諾貝爾獎的女性。", "居禮夫人在哪裡出生？"),
)
"""Passages and questions that a model is shown as turns of its own before it asks: without them a small one asks what the passage is
about, or nothing."""
ANSWER = (
    "Answer the question from the passage alone, in as few words as it takes.\n\n<passage>\n{passage}\n</passage>\n\n"
    "Question: {question}"
)
_BREAKS = re.compile(r"\n\s*\n|(?<=[.!?])\s+(?=[A-Z“\"(])|(?<=[。！？])|\n")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_EMPTY = "about above answer does following mentioned passage question text that this what when where which whom whose"
"""Words of a question that name nothing."""
_HAN = re.compile(r"[\u3400-\u9fff]")
_WORD = re.compile(r"[^\W\d_]+")
_TELLING = 4
"""Letters from which on a word counts: shorter ones are mostly particles."""
_STEM = 5
"""Letters by which words are compared, so that endings do not matter."""


def passages(home: Home, dataset_id: str) -> Sequence[Source]:
    """The passages of a data set of raw text, in their order; `place` is the record that one is cut out of."""
    records = data.open_records(home, dataset_id)
    return [
        Source(place, [], [], passage=passage)
        for place, record in enumerate(records)
        for passage in cut(record["text"])
    ]


def cut(text: str) -> list[str]:
    """Whole sentences or paragraphs together up to LONGEST characters; what stays below SHORTEST is left off, and so is a single
    sentence that is longer."""
    found, waiting, start = [], "", 0
    for end in [*(each.end() for each in _BREAKS.finditer(text)), len(text)]:
        piece, start = text[start:end], end
        if len(waiting) + len(piece) > LONGEST:
            found.append(waiting)
            waiting = ""
        waiting += piece
    stripped = [each.strip() for each in (*found, waiting)]
    return [each for each in stripped if SHORTEST <= len(each) <= LONGEST]


def asking(passage: str) -> list[dict[str, str]]:
    """The turns after which a model writes a question about the passage, with examples in its script."""
    examples = _EXAMPLES_CHINESE if len(_HAN.findall(passage)) > len(passage) / 2 else _EXAMPLES
    turns = [
        turn
        for text, question in examples
        for turn in (
            {"role": "user", "content": ASK.format(passage=text)},
            {"role": "assistant", "content": question},
        )
    ]
    return [*turns, {"role": "user", "content": ASK.format(passage=passage)}]


def is_question(text: str, passage: str) -> bool:
    """Whether it ends as a question does, on one line, and names something that the passage names, or a number of it."""
    if not text.endswith(("?", "？")) or "\n" in text:
        return False
    numbers = set(NUMBER.findall(text)) & set(NUMBER.findall(passage))
    return bool(numbers or (_stems(text) - _stems(_EMPTY)) & _stems(passage))


def is_grounded(answer: str, passage: str, question: str) -> bool:
    """Whether an answer stands in its passage: all of its numbers do, and of its telling words, those of the question aside, a share
    of GROUNDED by their first letters (of Chinese and Japanese, pairs of characters). An answer without any of both does not."""
    numbers = set(NUMBER.findall(answer))
    if numbers - set(NUMBER.findall(passage)):
        return False
    there, asked = _stems(passage), _stems(question)
    telling = _stems(answer) - asked
    if not telling:
        return bool(numbers)
    return len(telling & there) >= GROUNDED * len(telling)


def _stems(text: str) -> set[str]:
    found = set()
    for word in _WORD.findall(text.casefold()):
        if "\u3040" <= word[0] <= "\u9fff":
            found |= {word[place : place + 2] for place in range(max(1, len(word) - 1))}
        elif len(word) >= _TELLING:
            found.add(word[:_STEM])
    return found
