"""A local model that writes: how a user's turn, or an answer, goes on. Knows no kinds of records and no data sets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from llmdemo.arena.metrics import ending_loop
from llmdemo.core.errors import UserError
from llmdemo.data.encode import encode_prompt
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.draws import Draws
from llmdemo.decoding.engine import context_length, end_tokens
from llmdemo.decoding.prompts import written
from llmdemo.generation.template import UserTurn, user_turn

Tell = Callable[[float], None]
"""Called often with how much of a batch is done, 0 to 1; what it raises ends the work."""


@dataclass
class Text:
    """What was written in one place."""

    text: str = ""
    ended: bool = False
    """Whether it came to an end by itself."""
    loops: bool = False
    """Whether it ends in a loop."""
    logprobs: list[float] | None = None
    """Of its tokens under the raw model at temperature 1, in nats; None where they are not known."""
    reason: str = ""
    """Why there is none: no_room, refused (by the chat template), lost (the endpoint's failure, a stop); "" else."""


@dataclass(frozen=True)
class Sampling:
    """How texts are drawn."""

    seeds: list[int]
    """One a text."""
    temperature: float
    top_p: float
    most: int
    """Tokens, at most."""


class Writer(Protocol):
    """What writes. `failure`: what ended its work in the middle of a batch, whose other texts are "lost"."""

    name: str
    failure: BaseException | None

    def answers(self, conversations: list[list[dict]], sampling: Sampling) -> list[Text]:
        """The next answer of each conversation."""

    def instructions(self, conversations: list[list[dict]], sampling: Sampling) -> list[Text]:
        """A user's next turn of each. Raises UserError for a model that was not tuned to instructions."""


class LocalWriter:
    """Writes with a loaded model, a batch in one forward pass a token."""

    failure = None

    def __init__(self, name: str, model, tokenizer, tell: Tell):
        self.name = name
        self._model, self._tokenizer, self._tell = model, tokenizer, tell
        self._weights = fused_weights(model)
        self._ends = end_tokens(model)
        self._context = context_length(model) or 10**9
        self._pad = tokenizer.pad_token_id or 0

    def answers(self, conversations: list[list[dict]], sampling: Sampling) -> list[Text]:
        prompts, refused = [], []
        for place, turns in enumerate(conversations):
            try:
                prompts.append(encode_prompt(turns, self._tokenizer))
            except UserError:
                prompts.append([])
                refused.append(place)
        found = self._written(prompts, sampling, self._ends)
        for place in refused:
            found[place].reason = "refused"
        return found

    def instructions(self, conversations: list[list[dict]], sampling: Sampling) -> list[Text]:
        places: list[UserTurn] = [user_turn(turns, self._tokenizer) for turns in conversations]
        ends = sorted({*self._ends, *(token for place in places for token in place.end_ids)})
        found = self._written([place.ids for place in places], sampling, ends)
        for text, place in zip(found, places, strict=True):
            if place.end_text and not place.end_ids:
                text.text, end, _ = text.text.partition(place.end_text)
                text.ended = text.ended or bool(end)
        return found

    def _written(self, prompts: list[list[int]], sampling: Sampling, ends: list[int]) -> list[Text]:
        found = [Text(reason="no_room") for _ in prompts]
        fits = [n for n, prompt in enumerate(prompts) if 0 < len(prompt) <= self._context - sampling.most]
        draws = Draws([sampling.seeds[n] for n in fits], sampling.temperature, sampling.top_p)
        asked = [prompts[n] for n in fits]
        answers = written(
            self._model, asked, sampling.most, self._pad, draws, self._tell, end_ids=ends, weights=self._weights
        )
        for n, answer, logprobs in zip(fits, answers, draws.logprobs, strict=True):
            text = self._tokenizer.decode(
                answer.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            found[n] = Text(text, answer.ended, ending_loop(answer.token_ids) is not None, logprobs)
        return found
