"""Speculative decoding: greedy's text, several tokens a forward. Knows its model's own forward, and joins one that branches.

Some tokens are drafted, and one forward tells which of them greedy decoding would have said; the rest is thrown away. The
draft is what followed the latest tokens where they stood before, in prompt or answer, or what a smaller model says next. What is
computed for it is a branch of the others' forward where that can branch (fused_llama.Chain), else a forward of its own. The text is
greedy's wherever a forward of several tokens gives the logits of several forwards: in fp32 but for rounding.

Sources: Leviathan et al., arXiv 2211.17192, with greedy decoding on both sides; prompt lookup, Saxena 2023, as transformers' PromptLookupCandidateGenerator.
"""

from collections.abc import Callable
from typing import Any

import torch

from llmdemo.decoding.fused_llama import Chain
from llmdemo.decoding.fused_text import FusedText
from llmdemo.decoding.lanes import Rows, TokenLane
from llmdemo.decoding.own_forward import OwnForward
from llmdemo.decoding.steps import LaneResult, SpeculativeStep, TokenStep, check_numbers

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


Forward = OwnForward | FusedText
Draft = Callable[[list[int], int], list[int]]
"""(ids so far, most tokens) → what may come next."""


class ModelDraft:
    """A Draft by a smaller model with the same vocabulary: what it says greedily, one forward a token."""

    def __init__(self, model, forward: Forward | None = None):
        """`forward`: a fresh one of the model's; None: its own."""
        self._forward = forward or OwnForward(model)
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

    def __init__(
        self,
        model,
        prompt: list[int],
        greedy: TokenLane,
        draft: Draft,
        most: int,
        max_new: int,
        forward: Forward | None = None,
    ):
        """`greedy` chooses among logits and keeps what was said; `most` tokens are drafted at once; `forward` as ModelDraft's."""
        self.lane, self._greedy, self._propose, self._most, self._max_new = greedy.lane, greedy, draft, most, max_new
        self._ids = list(prompt)
        self._vocabulary = model.get_input_embeddings().weight.shape[0]
        self._forward = forward or OwnForward(model)
        self._chain: Chain | None = None
        self._drafted: list[int] = []
        self._logits: torch.Tensor | None = None  # (1 + D, V) after the ids and each drafted token
        self.forwards = self.drafted = self.accepted = self.computed = 0

    @property
    def finish_reason(self) -> str | None:
        """None while the lane goes on."""
        return self._greedy.finish_reason

    def begin(self, chain: Chain, logits: torch.Tensor) -> None:
        """Goes on in a forward that others take part in, from logits (1, V) after the prompt."""
        self._chain, self._logits = chain, logits

    def draft(self) -> int:
        """Drafts what the next forward is to judge; how many tokens that forward reads."""
        room = self._max_new - len(self._greedy.tokens) - 1
        draft = self._propose(self._ids, min(self._most, room)) if self.forwards and room > 0 else []
        strange = next((at for at, token in enumerate(draft) if token >= self._vocabulary), len(draft))
        self._drafted = draft[:strange]
        return 1 + len(self._drafted)

    def request(self) -> tuple[torch.Tensor, Any]:
        """What it asks of the forward that others take part in, after `draft`."""
        assert self._chain is not None
        return self._chain.request([self._ids[-1], *self._drafted])

    def give(self, logits: torch.Tensor, first: int) -> int:
        """Takes its rows of that forward's logits (M, V), which are those from `first` on; where they end."""
        end = first + 1 + len(self._drafted)
        self._logits = logits[first:end]
        return end

    def advance(self) -> SpeculativeStep:
        """The step of one forward over what was drafted: one token more than were drafted rightly."""
        logits = self._logits
        if self._chain is None:
            self.draft()
            logits, _ = self._forward.after(self._ids, self._drafted)  # (1 + D, V)
        assert logits is not None
        draft, steps = self._drafted, []
        for place in range(len(draft) + 1):
            steps.append(self._choose(logits[place : place + 1]))
            if self.finish_reason or place == len(draft) or steps[-1].token != draft[place]:
                break
        right = sum(step.token == token for step, token in zip(steps, draft, strict=False))
        self._ids += [step.token for step in steps]
        if self._chain is not None and self.forwards and not self.finish_reason:
            self._chain.keep(1 + right)
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
