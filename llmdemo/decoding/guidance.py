"""Classifier-free guidance: scores move away from what the model says to a negative prompt. Pays a forward of its own a step.

Sanchez et al., arXiv 2306.17806, as transformers' UnbatchedClassifierFreeGuidanceLogitsProcessor: with log-probabilities
p of the prompt and n of the negative prompt, both followed by the answer so far, the score is n + scale · (p − n). It comes
before biases and penalties. Rows of beams are followed to their parents. Knows token ids only.
"""

from typing import TYPE_CHECKING

import torch

from llmdemo.decoding.past import Past, way_of

if TYPE_CHECKING:
    from llmdemo.decoding.constraints import Constraint
    from llmdemo.decoding.penalties import Penalties


class Guidance:
    """As Penalties, which it may hold: the scores of R rows."""

    def __init__(self, model, context: list[int], rows: int, scale: float, penalties: "Penalties | Constraint | None"):
        """`context`: the negative prompt's tokens, and those of the answer that the prompt ends with."""
        self.scale, self.penalties = scale, penalties
        self._model, self._context, self._rows = model, context, rows
        self._past: Past | None = None
        self._next: torch.Tensor | None = None  # (R,) tokens that the past has not read yet
        self._logits = torch.empty(0)  # (R, V) after the negative prompt and the answer so far

    def apply(self, scores: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """As Penalties.apply; one forward of R rows."""
        if self._past is None:
            self._past = Past(self._model, way_of(self._model))
            self._logits = self._past.read(torch.tensor([self._context], device=scores.device)).expand(self._rows, -1)
            self._past.take(torch.zeros(self._rows, dtype=torch.int64, device=scores.device))
        elif self._next is not None:
            self._logits, self._next = self._past.read(self._next[:, None]), None
        prompted, negative = scores.log_softmax(-1), self._logits.float().log_softmax(-1)
        guided = negative + self.scale * (prompted - negative)  # (R, V)
        return guided if self.penalties is None else self.penalties.apply(guided, t)

    def extend(self, tokens: torch.Tensor, parents: torch.Tensor | None, t: torch.Tensor) -> None:
        """As Penalties.extend."""
        if parents is not None and self._past is not None:
            self._past.take(parents)
        self._next = tokens
        if self.penalties is not None:
            self.penalties.extend(tokens, parents, t)

    def keep(self, rows: torch.Tensor) -> None:
        """As Penalties.keep."""
        self._rows = len(rows)
        if self._past is not None:
            self._past.take(rows)
        if self.penalties is not None:
            self.penalties.keep(rows)
