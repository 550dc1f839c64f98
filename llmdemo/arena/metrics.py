"""Numbers about one generated text, or about several. Lists of token ids and log-probabilities only: no model, no text."""

import math
from collections import Counter
from dataclasses import asdict, dataclass

_LONGEST_PHRASE = 90
_SHORTEST_PHRASE = 3
_MANY_REPEATS = 50


@dataclass(frozen=True)
class Loop:
    """The text ends in a phrase that is said again and again."""

    length: int
    """Of the phrase, in tokens."""
    times: int
    """How often it stands at the end, at least 2."""


@dataclass(frozen=True)
class LaneMetrics:
    """Of one lane. None where there is nothing to measure yet."""

    tokens: int
    mean_logprob: float | None
    """Mean log-probability of the tokens under the raw model at temperature 1, in nats."""
    perplexity: float | None
    """exp(-mean_logprob)."""
    distinct_1: float | None
    distinct_2: float | None
    loop: dict | None
    """A Loop as a dict, or None when the text does not end in one."""

    def to_dict(self) -> dict:
        return asdict(self)


def lane_metrics(token_ids: list[int], logprobs: list[float]) -> LaneMetrics:
    """`token_ids` and `logprobs` (raw model, one a token, nats) of the generated part."""
    mean = math.fsum(logprobs) / len(logprobs) if logprobs else None
    loop = ending_loop(token_ids)
    return LaneMetrics(
        tokens=len(token_ids),
        mean_logprob=mean,
        perplexity=_exp(-mean) if mean is not None else None,
        distinct_1=distinct(token_ids, 1),
        distinct_2=distinct(token_ids, 2),
        loop=asdict(loop) if loop else None,
    )


def distinct(token_ids: list[int], n: int) -> float | None:
    """Different n-grams / all n-grams (Li et al., arXiv 1510.03055); None when there are fewer than n tokens."""
    grams = _ngrams(token_ids, n)
    return len(grams) / grams.total() if grams else None


def ending_loop(token_ids: list[int]) -> Loop | None:
    """The repetition of Holtzman et al. (arXiv 1904.09751; their metrics/repetition.py).

    A text counts as repeating when it ends in a phrase of at least 3 tokens that stands there at least twice in a row,
    or in a shorter one that stands there more than 50 times. Of all phrase lengths up to 90 the one with most repeats is
    taken, the shortest first.
    """
    backwards = token_ids[::-1]
    best = Loop(0, 0)
    for length in range(1, min(_LONGEST_PHRASE, len(backwards)) + 1):
        times = _repeats(backwards, length)
        if times > best.times:
            best = Loop(length, times)
    counts = best.times > 1 and (best.length >= _SHORTEST_PHRASE or best.times > _MANY_REPEATS)
    return best if counts else None


def _repeats(backwards: list[int], length: int) -> int:
    phrase = backwards[:length]
    times = 1
    while backwards[length * times : length * (times + 1)] == phrase:
        times += 1
    return times


def self_bleu(texts: list[list[int]], max_n: int = 4) -> float | None:
    """Mean BLEU of each text against all the others (Zhu et al., arXiv 1802.01886): 1 = all alike. None below two texts.

    BLEU of Papineni et al. with uniform weights up to `max_n`, the closest reference length, and epsilon smoothing
    (0.1 in place of a zero count, as nltk's SmoothingFunction.method1).
    """
    kept = [text for text in texts if text]
    if len(kept) < 2:
        return None
    grams = [[_ngrams(text, n) for n in range(1, max_n + 1)] for text in kept]
    return math.fsum(_bleu(index, kept, grams) for index in range(len(kept))) / len(kept)


def _bleu(index: int, texts: list[list[int]], grams: list[list[Counter]]) -> float:
    others = [other for other in range(len(texts)) if other != index]
    logs = []
    for order, own in enumerate(grams[index]):
        clipped = sum(min(count, max(grams[other][order][gram] for other in others)) for gram, count in own.items())
        if order == 0 and clipped == 0:
            return 0.0
        logs.append(math.log((clipped or 0.1) / max(1, own.total())))
    size = len(texts[index])
    closest = min((len(texts[other]) for other in others), key=lambda length: (abs(length - size), length))
    brevity = 1.0 if size > closest else math.exp(1 - closest / size)
    return brevity * math.exp(math.fsum(logs) / len(logs))


def _ngrams(token_ids: list[int], n: int) -> Counter:
    return Counter(tuple(token_ids[i : i + n]) for i in range(len(token_ids) - n + 1))


def _exp(value: float) -> float | None:
    return math.exp(value) if value < 700 else None  # beyond a float: a token that the model holds impossible
