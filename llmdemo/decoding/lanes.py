"""One greedy or sampling lane: from a row of logits to a token and its trace. Knows no beams and no other lane.

A lane has two halves. `choose` works on tensors of fixed shape, on the model's device, without waiting for it,
so that it can be captured in a CUDA graph; it packs all that the page needs into one flat tensor. `read` turns
those numbers into a TokenStep on the host.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llmdemo.decoding.constraints import Changes, constraint_of, masked_mass
from llmdemo.decoding.filters import (
    keep_epsilon,
    keep_eta,
    keep_min_p,
    keep_surprise,
    keep_top_k,
    keep_top_n_sigma,
    keep_top_p,
    keep_typical,
    keep_xtc,
    largest,
)
from llmdemo.decoding.steps import EOS, LENGTH, STOP, Candidates, LaneResult, PlainStep, TokenStep
from llmdemo.settings.lane import OFF, LaneSettings, Stops

TRACE_TOP = 10
"""How many of the likeliest tokens a step reports."""

LOWEST = -1e4
"""The log-probability that is reported for impossible tokens."""


@dataclass(slots=True)
class Rows:
    """What the lanes share of one forward; R rows, vocabulary V, the K likeliest tokens."""

    every_logits: torch.Tensor  # (M, V) float32
    every_logprobs: torch.Tensor | None  # (M, V) float32; None: see `lifts`
    top_logprobs: torch.Tensor  # (R, K) float32, downwards
    top_tokens: torch.Tensor  # (R, K) int64
    entropies: torch.Tensor  # (R,) float32, nats
    places: torch.Tensor | None = None  # (R,) which of the M each row is; None: the one of its own number
    lifts: torch.Tensor | None = None  # (M, 2) float32: what less both of a row is its log-probabilities

    @classmethod
    def of(cls, logits: torch.Tensor, width: int) -> "Rows":
        """Rows of `logits` (R, V) with K = min(width, V)."""
        logits = logits.float()
        # impossible tokens get a finite floor: p·log p is then 0 and not NaN, and JSON can hold it. NaN stays NaN.
        logprobs = logits.log_softmax(-1).clamp_(min=LOWEST)
        entropies = -torch.linalg.vecdot(logprobs.exp(), logprobs)
        return cls(logits, logprobs, *largest(logprobs, min(width, logits.shape[-1])), entropies)

    @property
    def logits(self) -> torch.Tensor:
        """(R, V)."""
        return self.every_logits if self.places is None else self.every_logits[self.places]

    @property
    def logprobs(self) -> torch.Tensor:
        """(R, V)."""
        if self.every_logprobs is None:
            assert self.lifts is not None and self.places is None
            return self._lowered(self.every_logits, self.lifts)
        return self.every_logprobs if self.places is None else self.every_logprobs[self.places]

    def logprobs_of(self, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """(N,) of `tokens` (N,) in these `rows` (N,), without a copy of all others."""
        if self.every_logprobs is None:
            assert self.lifts is not None and self.places is None
            return self._lowered(self.every_logits[rows, tokens][:, None], self.lifts[rows])[:, 0]
        return self.every_logprobs[rows if self.places is None else self.places[rows], tokens]

    @staticmethod
    def _lowered(logits: torch.Tensor, lifts: torch.Tensor) -> torch.Tensor:
        return (logits - lifts[:, :1] - lifts[:, 1:]).clamp_(min=LOWEST)

    def part(self, first: int, count: int) -> "Rows":
        """The rows of one lane."""
        own = slice(first, first + count)
        few = (self.top_logprobs[own], self.top_tokens[own], self.entropies[own])
        if self.places is not None:
            return Rows(self.every_logits, self.every_logprobs, *few, self.places[own])
        every = None if self.every_logprobs is None else self.every_logprobs[own]
        return Rows(self.every_logits[own], every, *few, lifts=None if self.lifts is None else self.lifts[own])

    def at(self, places: Sequence[int]) -> "Rows":
        """The rows at these places of all that a forward gave, one of them maybe several times."""
        if len(places) == 1:
            return self.part(places[0], 1)
        index = torch.tensor(places, device=self.every_logits.device)
        few = (self.top_logprobs[index], self.top_tokens[index], self.entropies[index])
        return Rows(self.every_logits, self.every_logprobs, *few, index)


_FILTERS: dict[str, Callable[[torch.Tensor, Any], torch.Tensor]] = {
    "top_n_sigma": keep_top_n_sigma,
    "top_k": keep_top_k,
    "top_p": keep_top_p,
    "min_p": keep_min_p,
    "typical_p": keep_typical,
    "epsilon_cutoff": keep_epsilon,
    "eta_cutoff": keep_eta,
}
"""What each filter of settings.lane.OFF keeps, in the order in which they apply."""


def kept_mask(scaled: torch.Tensor, lane: LaneSettings) -> torch.Tensor:
    """Mask (…, V) of the tokens that `lane` may draw; `scaled` are logits already divided by the temperature.

    Several filters apply in transformers' order, each to what the one before it left: top-k, top-p, min-p, typical,
    epsilon, eta. Top-nσ, which transformers does not have, comes first: it measures all logits.
    """
    mask, left = None, scaled
    for key, keep in _FILTERS.items():
        if (value := getattr(lane, key)) != OFF[key]:
            left = scaled if mask is None else scaled.masked_fill(~mask, -torch.inf)
            mask = keep(left, value)
    return scaled > -torch.inf if mask is None else mask


def lane_weights(logits: torch.Tensor, lane: LaneSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """What `lane` draws from: (unnormalised weights (…, V) float64, 0 = cut; what its filter saw, uncut)."""
    scaled = logits / lane.temperature  # (…, V), in the logits' own type, as generate does it
    everything = _weights(scaled)
    if lane.filter_order == "filters_first":
        return everything * kept_mask(logits, lane), _weights(logits)
    return everything * kept_mask(scaled, lane), everything


def _weights(logits: torch.Tensor) -> torch.Tensor:
    """(…, V) float64, unnormalised probabilities, 1 for the likeliest."""
    wide = logits.double()
    return (wide - wide.amax(-1, keepdim=True)).exp()


def draw(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Indices (…, N) drawn from unnormalised `weights` (…, V) float64 by the uniform numbers (…, N) in [0, 1).

    Inverse of the cumulative distribution: one uniform number a token, so that a lane's draws depend on nothing
    but its own seed and distribution.
    """
    ladder = weights.cumsum(-1)  # (…, V)
    return torch.searchsorted(ladder, uniform * ladder[..., -1:], right=True)


def lane_generator(seed: int, name: str) -> torch.Generator:
    """The lane's own generator, on the CPU, seeded by (seed, name) alone."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def lane_uniforms(seed: int, name: str, count: int) -> torch.Tensor:
    """The lane's uniform numbers (count,) float64, from a generator seeded by (seed, name) alone.

    A longer run starts with the same numbers. Always made on the CPU: the same seed gives the same numbers on a GPU.
    """
    generator = lane_generator(seed, name)
    # the largest double below 1 times a sum may round up to the sum, which draws nothing: one step lower cannot
    return torch.rand(count, generator=generator, dtype=torch.float64).clamp_max(1 - 2**-52)


class TokenLane:
    """A lane of one row: greedy, or one that draws from what its filter keeps."""

    rows = 1
    packed_size = 0
    """How many numbers `choose` packs; known once it has run."""

    def __init__(
        self,
        lane: LaneSettings,
        seed: int,
        max_new: int,
        eos: list[int],
        device: torch.device,
        penalties: Changes | None = None,
        texts: Stops | None = None,
    ):
        """`texts`: who can tell whether a stop string was reached; None where there is none."""
        self.lane, self.max_new, self.eos, self.penalties = lane, max_new, frozenset(eos), penalties
        self.texts = texts
        self.width = TRACE_TOP
        self.uniforms = lane_uniforms(seed, lane.draws or lane.name, max_new).to(device) if lane.samples else None
        if lane.strategy == "xtc":
            self.coins = lane_uniforms(seed, f"{lane.draws or lane.name}\0xtc", max_new).to(device)
        if lane.strategy == "mirostat":  # (1,) bits: the most surprising token that may be drawn
            self.most_surprise = torch.full((1,), 2 * lane.mirostat_tau, dtype=torch.float64, device=device)
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.finish_reason: str | None = None

    def changed(self, scores: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Scores (1, V) as biases, penalties and a form change them at step t (1,) int64."""
        return scores if self.penalties is None else self.penalties.apply(scores, t)

    def choose(
        self, rows: Rows, t: torch.Tensor, scores: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, None, list[torch.Tensor]]:
        """(token (1,) int64, no change of parents, packed numbers) for rows of one row at step t (1,) int64.

        `scores` (V,): what is chosen by, of a strategy that has worked them out itself; None: the changed logits.
        """
        logits = rows.logits[0]
        top = rows.top_tokens[0][:TRACE_TOP]
        if scores is None:
            scores = self.changed(rows.logits, t)[0]  # (V,)
        if self.lane.samples:
            token, filtered, chosen, size, mass = self._sample(scores, top, t)
        else:
            token = scores.argmax().view(1)
            filtered = (top == token).double()
            chosen = size = mass = torch.ones(1, dtype=torch.float64, device=logits.device)
        masked = masked_mass(self.penalties, rows.logprobs) if self.penalties is not None else []
        if self.penalties is not None:
            self.penalties.extend(token, None, t)
        rank = (logits > logits[token]).sum().view(1)
        logprob = rows.logprobs_of(torch.zeros_like(token), token)
        packed = [
            token,
            logprob,
            chosen,
            rank,
            size,
            mass,
            rows.entropies,
            top,
            rows.top_logprobs[0][:TRACE_TOP],
            filtered,
            *masked,
        ]
        return token, None, packed

    def _sample(self, logits: torch.Tensor, top: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert self.uniforms is not None
        weights, everything = lane_weights(logits, self.lane)
        drawn = weights > 0
        left = everything * drawn  # what the strategy's own filter sees
        if self.lane.strategy in ("xtc", "mirostat"):
            if self.lane.strategy == "xtc":
                cut = self.coins[t] < self.lane.xtc_probability  # (1,)
                weights = weights * (keep_xtc(left.log(), self.lane.xtc_threshold) | ~cut)
            else:
                weights = weights * keep_surprise(left.log(), self.most_surprise)
            drawn = weights > 0
            left = everything * drawn
        total = weights.sum()
        # NaN logits draw past the end; the clamp keeps a GPU alive until the host sees the NaN and says so
        token = draw(weights, self.uniforms[t]).clamp_max(logits.shape[-1] - 1)
        if self.lane.strategy == "mirostat":
            surprise = everything.sum().log2() - everything[token].log2()  # of the whole distribution, as in the paper
            self.most_surprise.sub_(self.lane.mirostat_eta * (surprise - self.lane.mirostat_tau))
        mass = (left.sum() / everything.sum()).view(1)
        return token, weights[top] / total, weights[token] / total, drawn.sum().view(1), mass

    def read(self, values: list[float], t: int) -> TokenStep:
        """The TokenStep of `choose`'s packed numbers; also remembers the token."""
        values, masked = (values[:-1], values[-1]) if constraint_of(self.penalties) else (values, None)
        token, logprob, filtered, rank, size, mass, entropy = values[:7]
        count = (len(values) - 7) // 3
        top = values[7 : 7 + count], values[7 + count : 7 + 2 * count], values[7 + 2 * count :]
        token = int(token)
        self.tokens.append(token)
        self.logprobs.append(logprob)
        self.finish_reason = self._reason(token, t)
        return TokenStep(
            lane=self.lane.name,
            token=token,
            logprob=logprob,
            filtered=filtered,
            rank=int(rank),
            kept_size=int(size),
            kept_mass=mass,
            entropy=entropy,
            top=Candidates(tuple(map(int, top[0])), tuple(top[1]), tuple(top[2])),
            finish_reason=self.finish_reason,
            masked=masked,
        )

    def say(self, token: int, t: int) -> PlainStep:
        """Remembers the token of step t, of which nothing more is told."""
        self.tokens.append(token)
        self.finish_reason = self._reason(token, t)
        return PlainStep(self.lane.name, token, self.finish_reason)

    def _reason(self, token: int, t: int) -> str | None:
        """The finish_reason after `token` at step t."""
        if token in self.eos:
            return EOS
        if self.texts is not None and self.texts.stops(self.tokens):
            return STOP
        return LENGTH if t + 1 >= self.max_new else None

    def staying(self) -> list[int]:
        """Which of its rows take part in the next forward."""
        return [] if self.finish_reason else [0]

    def result(self, seconds: float) -> LaneResult:
        """The lane's summary, `seconds` after the start; for a lane that has ended."""
        assert self.finish_reason is not None
        count = len(self.tokens)
        return LaneResult(
            lane=self.lane.name,
            token_ids=tuple(self.tokens),
            logprobs=tuple(self.logprobs),
            finish_reason=self.finish_reason,
            seconds=seconds,
            tokens_per_second=count / max(seconds, 1e-9),
            generated=count,
            forwards=count,
        )
