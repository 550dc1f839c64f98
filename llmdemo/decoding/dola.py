"""DoLa: greedy decoding by what the last layer says more than an earlier one does. Own forwards, one a token.

The head reads the hidden states of earlier layers too; of those the one that differs most from the last (Jensen-Shannon)
is taken, and its log-probabilities are taken off. Tokens below a tenth of the likeliest one's probability are left out.
Source: Chuang et al., arXiv 2309.03883, as transformers 4 had it.
"""

import math
from dataclasses import replace

import torch

from llmdemo.decoding.lanes import Rows, TokenLane
from llmdemo.decoding.own_forward import OwnForward
from llmdemo.decoding.steps import LaneResult, TokenStep, check_numbers

_LEAST_SHARE = 0.1
"""Of the likeliest token's probability."""
_LEFT_OUT = -1e-3
"""The earlier layer's log-probability of what is left out, as in the authors' code; the last layer's is −∞."""
_BEHIND = 1e3
"""What a token that is left out has less than its log-probability: it is said only where all others are forbidden."""
_MOST_LAYERS = 40
"""In deeper models only the first 20 layers, or the last 20, are looked at."""


def early_layers(layers: int, which: str, tied: bool) -> list[int]:
    """Indices of hidden states that stand for an earlier exit, of a model of so many layers: its lower or its higher half.
    With tied embeddings the lowest say only the input again, and are passed over."""
    if which == "high":
        return list(range(layers // 2 if layers <= _MOST_LAYERS else layers - 20, layers, 2))
    start = 0 if not tied else 2 if layers > 2 else 1 if layers == 2 else 0
    if start >= layers // 2:  # three tied layers have none below their middle
        return [start]
    return list(range(start, layers // 2 if layers <= _MOST_LAYERS else 20, 2))


def contrasted(last: torch.Tensor, early: torch.Tensor) -> torch.Tensor:
    """Scores (V,) of the last layer's logits (V,) against the one of E earlier layers' (E, V) that differs most."""
    ours, theirs = last.log_softmax(-1), early.log_softmax(-1)
    middle = 0.5 * (ours.exp() + theirs.exp())  # (E, V)
    divergence = _kl_to(middle, ours).mean(-1) + _kl_to(middle, theirs).mean(-1)  # (E,)
    base = theirs[int(divergence.argmax())]
    out = ours < ours.amax() + math.log(_LEAST_SHARE)
    return ours.masked_fill(out, -torch.inf) - base.masked_fill(out, _LEFT_OUT)


def _kl_to(middle: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """The terms of KL(middle ‖ the distribution of `logprobs`), as transformers computes them."""
    return torch.where(middle > 0, middle * (middle.log() - logprobs), 0.0)


class DolaLane:
    """A lane of one text that is fed by forwards of its own; `advance` is one of them."""

    rows = 0
    """It has none in the forward that the other lanes share."""

    def __init__(self, model, prompt: list[int], greedy: TokenLane):
        """`greedy` keeps what was said and changes scores."""
        self.lane, self._greedy, self._ids = greedy.lane, greedy, list(prompt)
        self._forward, self._head = OwnForward(model, hidden=True), model.get_output_embeddings()
        config = model.config.get_text_config()
        tied = bool(getattr(config, "tie_word_embeddings", False))
        self._layers = early_layers(config.num_hidden_layers, greedy.lane.dola_layers, tied)
        self.forwards = 0

    @property
    def finish_reason(self) -> str | None:
        """None while the lane goes on."""
        return self._greedy.finish_reason

    def advance(self) -> TokenStep:
        """One token, one forward."""
        logits, hidden = self._forward.after(self._ids)  # (1, V)
        early = self._head(torch.stack([hidden[layer][0, -1] for layer in self._layers])).float()  # (E, V)
        t = torch.tensor([len(self._greedy.tokens)], device=logits.device)
        contrast = contrasted(logits[0], early)  # (V,)
        # Not −∞: a form may forbid all that is left, and guidance multiplies scores.
        behind = logits[0].float().log_softmax(-1) - _BEHIND
        scores = self._greedy.changed(torch.where(contrast > -torch.inf, contrast, behind)[None], t)[0]
        _, _, packed = self._greedy.choose(Rows.of(logits, self._greedy.width), t, scores)
        step = self._greedy.read(check_numbers(torch.cat([each.double() for each in packed]).tolist()), int(t))
        self._ids.append(step.token)
        self.forwards += 1
        return step

    def result(self, seconds: float) -> LaneResult:
        """The lane's summary, `seconds` after the start."""
        return replace(self._greedy.result(seconds), forwards=self.forwards)
