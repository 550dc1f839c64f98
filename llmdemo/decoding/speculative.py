"""Speculative decoding: greedy's text, several tokens a forward. Knows its model's own forward.

Some tokens are drafted, and one forward tells which of them greedy decoding would have said; the rest is thrown away. The
draft is what followed the latest tokens where they stood before, in prompt or answer, or what a smaller model says next. So this lane shares no forward with the others. The text is
greedy's wherever a forward of several tokens gives the logits of several forwards: in fp32 but for rounding.

Sources: Leviathan et al., arXiv 2211.17192, with greedy decoding on both sides; prompt lookup, Saxena 2023, as transformers' PromptLookupCandidateGenerator.
"""

from collections.abc import Callable

import torch

from llmdemo.decoding.lanes import Rows, TokenLane
from llmdemo.decoding.numbers import check_numbers
from llmdemo.decoding.own_forward import OwnForward
from llmdemo.decoding.steps import LaneResult, SpeculativeStep, TokenStep

_LONGEST_MATCH = 2
"""Most of the latest tokens that must have stood before; fewer if they did not. transformers' default."""


def lookup(ids: list[int], most: int, longest: int = _LONGEST_MATCH) -> list[int]:
    """At most `most` tokens that followed the first earlier place of the latest `longest` (else fewer) of `ids`."""
    for size in range(min(longest, len(ids) - 1), 0, -1):
        latest = ids[-size:]
        for at in range(len(ids) - size):
            if ids[at : at + size] == latest:
                return ids[at + size : at + size + most]
    return []


Draft = Callable[[list[int], int], list[int]]
"""(ids so far, most tokens) → what may come next."""


class ModelDraft:
    """A Draft by a smaller model with the same vocabulary: what it says greedily, one forward a token."""

    def __init__(self, model):
        self._forward = OwnForward(model)
        self._vocabulary = model.get_input_embeddings().weight.shape[0]
        self._context = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    def __call__(self, ids: list[int], most: int) -> list[int]:
        """At most `most` tokens; fewer where its context or its vocabulary ends."""
        if any(token >= self._vocabulary for token in ids):
            return []  # padded embeddings may differ between models of one family
        drafted: list[int] = []
        while len(drafted) < most and len(ids) + len(drafted) < (self._context or len(ids) + most):
            logits, _ = self._forward.after([*ids, *drafted])
            drafted.append(int(logits[0].argmax()))
        return drafted


class SpeculativeLane:
    """A greedy lane that is fed by forwards of its own; `advance` is one of them."""

    rows = 0
    """It has none in the forward that the other lanes share."""

    def __init__(self, model, prompt: list[int], greedy: TokenLane, draft: Draft, most: int, max_new: int):
        """`greedy` chooses among logits and keeps what was said; `most` tokens are drafted at once."""
        self.lane, self._greedy, self._draft, self._most, self._max_new = greedy.lane, greedy, draft, most, max_new
        self._ids = list(prompt)
        self._vocabulary = model.get_input_embeddings().weight.shape[0]
        self._forward = OwnForward(model)
        self.forwards = self.drafted = self.accepted = self.computed = 0

    @property
    def finish_reason(self) -> str | None:
        """None while the lane goes on."""
        return self._greedy.finish_reason

    def advance(self) -> SpeculativeStep:
        """One forward over what is drafted, and the tokens that it settles: one more than were drafted rightly."""
        room = self._max_new - len(self._greedy.tokens) - 1
        draft = self._draft(self._ids, min(self._most, room)) if self.forwards and room > 0 else []
        strange = next((at for at, token in enumerate(draft) if token >= self._vocabulary), len(draft))
        logits, _ = self._forward.after(self._ids, draft := draft[:strange])  # (1 + D, V)
        steps: list[TokenStep] = []
        for place in range(len(draft) + 1):
            steps.append(self._choose(logits[place : place + 1]))
            if self.finish_reason or place == len(draft) or steps[-1].token != draft[place]:
                break
        right = sum(step.token == token for step, token in zip(steps, draft, strict=False))
        self._ids += [step.token for step in steps]
        self.forwards += 1
        self.drafted += len(draft)
        self.accepted += right
        self.computed += len(draft) + 1
        return SpeculativeStep(self.lane.name, tuple(steps), tuple(draft), right, self.finish_reason)

    def _choose(self, logits: torch.Tensor) -> TokenStep:
        t = len(self._greedy.tokens)
        rows = Rows.of(logits, self._greedy.width)
        _, _, packed = self._greedy.choose(rows, torch.tensor([t], device=logits.device))
        return self._greedy.read(check_numbers(torch.cat([each.double() for each in packed]).tolist()), t)

    def result(self, seconds: float) -> LaneResult:
        """The lane's summary, `seconds` after the start."""
        plain = self._greedy.result(seconds)
        return LaneResult(
            lane=plain.lane,
            token_ids=plain.token_ids,
            logprobs=plain.logprobs,
            finish_reason=plain.finish_reason,
            seconds=seconds,
            tokens_per_second=plain.tokens_per_second,
            generated=self.computed,
            forwards=self.forwards,
            drafted=self.drafted,
            accepted=self.accepted,
        )
