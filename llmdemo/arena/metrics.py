"""Numbers about one generated text, or about several. Lists of token ids and log-probabilities only: no model, no text."""

import math
from bisect import bisect_left, bisect_right
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


def diversity(texts: list[list[int]]) -> float | None:
    """1: no n-gram is said twice in `texts` together; the product of distinct-n over n = 2, 3, 4 (Su et al.,
    arXiv 2202.06417, over all samples of a prompt instead of one). None when no text has four tokens."""
    product = 1.0
    for n in (2, 3, 4):
        grams: Counter = Counter()
        for text in texts:
            grams.update(_ngrams(text, n))
        if not grams:
            return None
        product *= len(grams) / grams.total()
    return product


def self_bleu(texts: list[list[int]]) -> float | None:
    """Mean BLEU of each text against all the others (Zhu et al., arXiv 1802.01886): 1 = all alike. None below two texts.

    BLEU of Papineni et al. with uniform weights up to 4-grams, the closest reference length, and epsilon smoothing
    (0.1 in place of a zero count): the numbers of nltk's sentence_bleu with its method1, in time linear in the texts.
    """
    kept = [text for text in texts if text]
    if len(kept) < 2:
        return None
    orders = [_Clips([_ngrams(text, n) for text in kept]) for n in range(1, 5)]
    lengths = sorted(len(text) for text in kept)
    return math.fsum(_bleu(index, len(text), orders, lengths) for index, text in enumerate(kept)) / len(kept)


class _Clips:
    """n-grams of all texts; how often each may count in one text is the most that any *other* text says it."""

    def __init__(self, texts: list[Counter]):
        self.texts = texts
        self.most: dict[tuple, tuple[int, int, int]] = {}  # n-gram: (most, whose, second most)
        for index, grams in enumerate(texts):
            for gram, count in grams.items():
                most, whose, second = self.most.get(gram, (0, -1, 0))
                if count > most:
                    self.most[gram] = count, index, most
                elif count > second:
                    self.most[gram] = most, whose, count

    def clipped(self, index: int) -> int:
        total = 0
        for gram, count in self.texts[index].items():
            most, whose, second = self.most[gram]
            total += min(count, second if whose == index else most)
        return total


def _bleu(index: int, size: int, orders: list[_Clips], lengths: list[int]) -> float:
    logs = []
    for n, order in enumerate(orders, 1):
        clipped = order.clipped(index)
        if n == 1 and clipped == 0:
            return 0.0
        logs.append(math.log((clipped or 0.1) / max(1, order.texts[index].total())))
    closest = _closest(size, lengths)
    brevity = 1.0 if size > closest else math.exp(1 - closest / size)
    return brevity * math.exp(math.fsum(logs) / len(logs))


def _closest(size: int, lengths: list[int]) -> int:
    """Of the sorted lengths without one `size`, the nearest to it; the shorter of two as near."""
    first, last = bisect_left(lengths, size), bisect_right(lengths, size)
    if last - first > 1:
        return size
    near = [lengths[at] for at in (first - 1, last) if 0 <= at < len(lengths)]
    return min(near, key=lambda length: (abs(length - size), length))


def _ngrams(token_ids: list[int], n: int) -> Counter:
    return Counter(tuple(token_ids[i : i + n]) for i in range(len(token_ids) - n + 1))


def _exp(value: float) -> float | None:
    return math.exp(value) if value < 700 else None  # beyond a float: a token that the model holds impossible
