"""Many prompts through the same strategies: the trade-off of Holtzman et al. (arXiv 1904.09751) for one model and settings.

Knows the arena's events, not its models; a batch is one comparison after another, with several samples of a sampling
lane in one pass. The answer grows by one prompt at a time.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from llmdemo.arena.metrics import distinct, diversity, ending_loop, self_bleu
from llmdemo.arena.response import ResponseAccumulator
from llmdemo.core.errors import UserError
from llmdemo.decoding import DecodeSettings, LaneSettings

MOST_PROMPTS = 500
MOST_SAMPLES = 8
_MOST_ROWS = 32
_SHOWN_CHARACTERS = 600


@dataclass
class _Strategy:
    """What has been collected of one lane of the settings."""

    lane: LaneSettings
    tokens: int = 0
    logprob: float = 0.0
    """Of all tokens together."""
    loops: int = 0
    texts: list[list[int]] = field(default_factory=list)
    distincts: list[float] = field(default_factory=list)
    """Distinct-2 of each text."""
    self_bleus: list[float] = field(default_factory=list)
    diversities: list[float] = field(default_factory=list)
    """Of each prompt's samples, as the self-BLEUs before."""

    def collect(self, lanes: list[dict], special: set[int], samples: int) -> None:
        """Adds the answers to one prompt, as ResponseAccumulator gives them. A strategy that does not draw was asked once: asked
        `samples` times it would have said the same, and that is how alike its answers are."""
        texts = [[token for token in lane["token_ids"] if token not in special] for lane in lanes]
        for lane in lanes:
            self.tokens += len(lane["logprobs"])
            self.logprob += math.fsum(lane["logprobs"])
        self.loops += sum(1 for text in texts if ending_loop(text))
        self.texts += texts
        self.distincts += [value for text in texts if (value := distinct(text, 2)) is not None]
        alike = texts if len(texts) == samples else texts * samples
        if (value := diversity(alike)) is not None:
            self.diversities.append(value)
        if samples > 1 and (bleu := self_bleu(alike)) is not None:
            self.self_bleus.append(bleu)

    def summary(self) -> dict:
        """Numbers over all prompts so far. Perplexity weighs every token the same; self-BLEU is the mean over prompts of
        their samples' or, with one sample a prompt, that of the answers to different prompts, as in the paper."""
        return {
            **self.lane.to_dict(),
            "texts": len(self.texts),
            "tokens": self.tokens,
            "perplexity": math.exp(-self.logprob / self.tokens) if self.tokens else None,
            "repetition": self.loops / len(self.texts) if self.texts else None,
            "distinct_2": _mean(self.distincts),
            "diversity": _mean(self.diversities),
            "self_bleu": _mean(self.self_bleus) if self.self_bleus else self_bleu(self.texts),
        }


def check_batch(
    prompts, samples: int, settings: DecodeSettings, most: int = MOST_PROMPTS, variable: str = "LLMDEMO_MAX_PROMPTS"
) -> list[str]:
    """The prompts as clean texts; raises UserError when there are none, too many, or too many samples for one pass.

    `variable` is where `most` comes from.
    """
    if not isinstance(prompts, (list, tuple)) or not all(isinstance(prompt, str) for prompt in prompts):
        raise UserError("err_prompts_no_list")
    clean = [prompt.strip() for prompt in prompts if prompt.strip()]
    if not clean:
        raise UserError("err_no_prompts")
    if len(clean) > most:
        raise UserError("err_many_prompts_in_batch", n=len(clean), most=most, variable=variable)
    if type(samples) is not int or not 1 <= samples <= MOST_SAMPLES:
        raise UserError("err_odd_samples", samples=repr(samples), most=MOST_SAMPLES)
    rows = sum(lane.rows * (samples if lane.samples else 1) for lane in settings.lanes)
    if rows > _MOST_ROWS:
        raise UserError("err_samples_rows", samples=samples, rows=rows, most=_MOST_ROWS)
    return clean


def run_batch(events: Callable, prompts: list[str], samples: int, settings: DecodeSettings) -> Iterator[dict]:
    """Yields {type: "batch", done, total, strategies: [...], row: {prompt, texts: {lane: text}}} after each prompt.

    `events(prompt, settings)` gives one comparison's events. Ends early when one of them is stopped; raises UserError
    when one fails. Each prompt has a seed of its own, so that no two share their draws.
    """
    strategies = {lane.name: _Strategy(lane) for lane in settings.lanes}
    for index, prompt in enumerate(prompts):
        lanes = tuple(copy for lane in settings.lanes for copy in _copies(lane, samples))
        states = ResponseAccumulator()
        for event in events(prompt, replace(settings, seed=settings.seed + index, lanes=lanes)):
            states.add(event)
            if event["type"] in ("loading", "waiting"):
                yield event
        if states.error:
            raise states.error
        if states.ended != "done":
            return
        final = states.whole()["lanes"]
        for strategy in strategies.values():
            strategy.collect([final[copy.name] for copy in _copies(strategy.lane, samples)], states.special, samples)
        yield {
            "type": "batch",
            "done": index + 1,
            "total": len(prompts),
            "strategies": [strategy.summary() for strategy in strategies.values()],
            "row": {"prompt": prompt[:_SHOWN_CHARACTERS], "texts": _shown(strategies, final, samples)},
        }


def _copies(lane: LaneSettings, samples: int) -> list[LaneSettings]:
    """One lane a sample; a lane that does not draw says the same every time and is asked once."""
    if not lane.samples or samples == 1:
        return [lane]
    numbers = range(1, samples + 1)
    return [replace(lane, name=f"{lane.name} #{number}", draws=_numbered(lane.draws, number)) for number in numbers]


def _numbered(draws: str, number: int) -> str:
    return f"{draws[:30]} #{number}" if draws else ""


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _shown(strategies: dict[str, _Strategy], final: dict, samples: int) -> dict[str, str]:
    """The first sample of each strategy, shortened."""
    first = {name: _copies(strategy.lane, samples)[0].name for name, strategy in strategies.items()}
    return {name: final[copy]["text"][:_SHOWN_CHARACTERS] for name, copy in first.items()}
