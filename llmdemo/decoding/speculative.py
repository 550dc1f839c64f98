"""Speculative decoding by prompt lookup: greedy's text, several tokens a forward. Knows its model's own forward.

What followed the latest tokens where they stood before, in prompt or answer, is drafted, and one forward tells which of it
greedy decoding would have said; the rest is thrown away. So this lane shares no forward with the others. The text is
greedy's wherever a forward of several tokens gives the logits of several forwards: in fp32 but for rounding.

Sources: Leviathan et al., arXiv 2211.17192; prompt lookup, Saxena 2023, as transformers' PromptLookupCandidateGenerator.
"""

import inspect

import torch

from llmdemo.decoding.lanes import Rows, TokenLane
from llmdemo.decoding.numbers import check_numbers
from llmdemo.decoding.past import PROVED
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


class SpeculativeLane:
    """A greedy lane that is fed by forwards of its own; `advance` is one of them."""

    rows = 0
    """It has none in the forward that the other lanes share."""

    def __init__(self, model, prompt: list[int], greedy: TokenLane, draft: int, max_new: int):
        """`greedy` chooses among logits and keeps what was said; `draft`: most tokens that are drafted at once."""
        self.lane, self._greedy, self._draft, self._max_new = greedy.lane, greedy, draft, max_new
        self._ids = list(prompt)
        self._logits = _Logits(model)
        self.forwards = self.drafted = self.accepted = self.computed = 0

    @property
    def finish_reason(self) -> str | None:
        """None while the lane goes on."""
        return self._greedy.finish_reason

    def advance(self) -> SpeculativeStep:
        """One forward over what is drafted, and the tokens that it settles: one more than were drafted rightly."""
        room = self._max_new - len(self._greedy.tokens) - 1
        draft = lookup(self._ids, min(self._draft, room)) if self.forwards and room > 0 else []
        logits = self._logits.after(self._ids, draft)  # (1 + D, V)
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


class _Logits:
    """The model's logits after several tokens at once. Keeps keys and values where the class is known to give them back
    as they were (past.PROVED); else everything is read again."""

    def __init__(self, model):
        self._model = model
        self._keeps = type(model).__name__ in PROVED
        self._takes = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._device = next(model.parameters()).device
        self._past = None
        self._read = 0  # tokens whose keys and values are kept

    def after(self, ids: list[int], draft: list[int]) -> torch.Tensor:
        """(1 + D, V) float32: after `ids`, and after each of the D tokens of `draft` behind them."""
        count = 1 + len(draft)
        if self._past is not None:
            wrong = self._read - (len(ids) - 1)  # the last token is always read: its logits are wanted
            if wrong > 0:
                self._past.crop(-wrong)
                self._read -= wrong
        new = torch.tensor([[*ids[self._read :], *draft]], device=self._device)
        given: dict = {"logits_to_keep": count} if self._takes else {}
        if self._keeps:
            given |= {"past_key_values": self._past, "use_cache": True}
        else:
            given["use_cache"] = False
        out = self._model(input_ids=new, **given)
        if self._keeps:
            self._past, self._read = out.past_key_values, len(ids) + len(draft)
        return out.logits[0, -count:].float()
