"""Holds a lane's texts to a form: tokens that would break it get the score −∞. Knows token ids only, and no form.

Which tokens those are is asked of settings.lane.TokenMasks, whose grammar is compiled above this package. The mask comes
last, after biases and penalties (penalties.py), and before temperature and filters. It depends on what the host read in
the step before, so such a step cannot be captured in a CUDA graph. Source of the idea: Willard & Louf, arXiv 2307.09702.
"""

from collections.abc import Sequence

import numpy as np
import torch

from llmdemo.decoding.guidance import Guidance
from llmdemo.decoding.penalties import Diversity, Penalties
from llmdemo.settings.lane import Stops, TokenMasks


class Constraint:
    """As Penalties, which it may hold: what R rows may say next."""

    def __init__(self, masks: TokenMasks, said: list[int], rows: int, eos: list[int], penalties: Penalties | None):
        """`said`: tokens of the answer that stand in the prompt already; `eos`: the ids that end a text, or none."""
        self.masks, self.eos, self.penalties, self.begun = masks, eos, penalties, said
        self.said = [list(said) for _ in range(rows)]  # of each row
        self.forbidden = torch.empty(0)
        """(R, V) bool: of the latest step."""

    def apply(self, scores: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """As Penalties.apply, with −∞ for what the form forbids. Where the penalties ban all that it allows, they give way."""
        changed = scores if self.penalties is None else self.penalties.apply(scores, t)
        self.forbidden = torch.stack([self._forbidden(said, scores.shape[-1]) for said in self.said]).to(scores.device)
        held = changed.masked_fill(self.forbidden, -torch.inf)
        possible = (held > -torch.inf).any(-1, keepdim=True)
        return torch.where(possible, held, scores.masked_fill(self.forbidden, -torch.inf))

    def _forbidden(self, said: list[int], size: int) -> torch.Tensor:
        """Mask (V,) of what may not follow."""
        bits = np.frombuffer(self.masks.allowed(said), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[:size].astype(bool)  # the vocabulary may be smaller than V …
        forbidden = torch.ones(size, dtype=torch.bool)  # … whose last rows are then padding
        forbidden[: len(allowed)] = torch.from_numpy(~allowed)
        if self.eos:
            forbidden[self.eos] = not self.masks.complete(said)
        return forbidden

    def extend(self, tokens: torch.Tensor, parents: torch.Tensor | None, t: torch.Tensor) -> None:
        """As Penalties.extend."""
        rows = range(len(tokens)) if parents is None else parents.tolist()
        self.said = [[*self.said[row], token] for row, token in zip(rows, tokens.tolist(), strict=True)]
        if self.penalties is not None:
            self.penalties.extend(tokens, parents, t)

    def keep(self, rows: torch.Tensor) -> None:
        """As Penalties.keep."""
        self.said = [list(self.said[row]) for row in rows.tolist()]
        if self.penalties is not None:
            self.penalties.keep(rows)

    def stops(self, token_ids: Sequence[int]) -> bool:
        """Whether nothing may follow these tokens of the answer, where the model has none that ends a text."""
        said = [*self.begun, *token_ids]
        return not self.eos and self.masks.complete(said) and not any(self.masks.allowed(said))


class EitherStops:
    """settings.lane.Stops: a text ends where one of several says so."""

    def __init__(self, *parts: Stops):
        self._parts = parts

    def stops(self, token_ids: Sequence[int]) -> bool:
        """As Stops.stops."""
        return any(part.stops(token_ids) for part in self._parts)


Changes = Penalties | Diversity | Constraint | Guidance
"""What changes a lane's scores before it chooses."""


def constraint_of(changes: Changes | None) -> Constraint | None:
    """The constraint among a lane's changes."""
    if isinstance(changes, Diversity | Guidance):
        return constraint_of(changes.penalties)
    return changes if isinstance(changes, Constraint) else None


def masked_mass(changes: Changes | None, logprobs: torch.Tensor) -> list[torch.Tensor]:
    """[(R,)]: which share of the raw distribution `logprobs` (R, V) the constraint forbade in this step; [] without one."""
    constraint = constraint_of(changes)
    if constraint is None:
        return []
    return [torch.where(constraint.forbidden, logprobs.double().exp(), 0.0).sum(-1).clamp(0, 1)]
