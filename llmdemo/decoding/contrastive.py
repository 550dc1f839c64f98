"""Contrastive search: of the k likeliest tokens, one that is likely and unlike what was said before. Own forwards.

Each of the k candidates goes through the model, and its last hidden state is compared with those of all tokens before: the
score is (1 − α) · p − α · (its highest cosine similarity). So a step is a forward of k rows, which no other lane shares.
Source: Su et al., arXiv 2202.06417, as transformers 4 had it.
"""

from dataclasses import replace

import torch
from torch.nn.functional import normalize

from llmdemo.decoding.lanes import Rows, TokenLane
from llmdemo.decoding.own_forward import OwnForward
from llmdemo.decoding.steps import LaneResult, TokenStep, check_numbers


def contrastive_scores(
    probabilities: torch.Tensor, candidates: torch.Tensor, context: torch.Tensor, alpha: float
) -> torch.Tensor:
    """Scores (K,) of candidates with these probabilities (K,) and hidden states (K, d), after tokens with hidden states (T, d)."""
    likeness = normalize(candidates, dim=-1) @ normalize(context, dim=-1).T  # (K, T)
    return (1 - alpha) * probabilities - alpha * likeness.amax(-1)


class ContrastiveLane:
    """A lane of one text that is fed by forwards of its own; `advance` is one of them."""

    rows = 0
    """It has none in the forward that the other lanes share."""

    def __init__(self, model, prompt: list[int], chooser: TokenLane):
        """`chooser`: a greedy lane, which keeps what was said and changes logits."""
        self.lane, self._chooser = chooser.lane, chooser
        self._ids = list(prompt)
        self._forward = OwnForward(model, hidden=True)
        self._logits = torch.empty(0)  # (1, V) after the ids
        self._context = torch.empty(0)  # (T, d) the last hidden states of the ids
        self.forwards = self.computed = 0

    @property
    def finish_reason(self) -> str | None:
        """None while the lane goes on."""
        return self._chooser.finish_reason

    def advance(self) -> TokenStep:
        """One token: a forward of top_k rows, and before the first one that of the prompt."""
        if not self.forwards:
            self._logits, layers = self._forward.after(self._ids)
            self._context = layers[-1][0]
            self.forwards = 1
        t = torch.tensor([len(self._chooser.tokens)], device=self._logits.device)
        scores = self._chooser.changed(self._logits, t)  # (1, V)
        likeliest = scores[0].softmax(-1).topk(min(self.lane.top_k, scores.shape[-1]))
        logits, hidden = self._forward.each(self._ids, likeliest.indices)
        contrast = contrastive_scores(likeliest.values, hidden.float(), self._context.float(), self.lane.penalty_alpha)
        contrast = contrast.masked_fill(likeliest.values == 0, -torch.inf)  # what is banned is no candidate
        chosen = int(contrast.argmax())
        self._forward.take(chosen)
        by = torch.full_like(scores[0], -torch.inf).scatter(0, likeliest.indices, contrast)
        step = self._read(by, t)
        self._ids.append(step.token)
        self._logits = logits[chosen : chosen + 1]
        self._context = torch.cat([self._context, hidden[chosen : chosen + 1]])
        self.forwards += 1
        self.computed += len(likeliest.indices)
        return step

    def _read(self, scores: torch.Tensor, t: torch.Tensor) -> TokenStep:
        _, _, packed = self._chooser.choose(Rows.of(self._logits, self._chooser.width), t, scores)
        return self._chooser.read(check_numbers(torch.cat([each.double() for each in packed]).tolist()), int(t))

    def result(self, seconds: float) -> LaneResult:
        """The lane's summary, `seconds` after the start."""
        return replace(self._chooser.result(seconds), generated=self.computed, forwards=self.forwards)
