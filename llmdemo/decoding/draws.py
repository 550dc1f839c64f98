"""Draws the next tokens of many rows, each row by a generator of its own. Knows no model and no strategy's name.

A row's draws depend on its seed and its own logits alone: it is written the same in whichever batch it goes.
"""

import numpy as np
import torch
from torch import Tensor

from llmdemo.decoding.filters import keep_top_p


class Draws:
    """Chooses for decoding.prompts.written: temperature, then top-p; at temperature 0 the likeliest token.

    seeds: one a prompt, by its place. logprobs[place]: log-probability in nats of each token that was drawn, under the
    raw model at temperature 1.
    """

    def __init__(self, seeds: list[int], temperature: float, top_p: float):
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature, self._top_p = temperature, top_p
        self.logprobs: list[list[float]] = [[] for _ in seeds]

    def __call__(self, logits: Tensor, places: list[int]) -> Tensor:
        """[b] tokens for logits [b, V]; row i goes on with the prompt at places[i]."""
        tokens = torch.empty(len(places), dtype=torch.long)
        for row, (scores, place) in enumerate(zip(logits.float().cpu(), places, strict=True)):
            tokens[row] = self._draw(scores, self._generators[place])
            self.logprobs[place].append(scores[tokens[row]].item() - scores.logsumexp(-1).item())
        return tokens

    def _draw(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        if self._temperature == 0:
            return scores.argmax(-1)
        scaled = scores / self._temperature
        kept = scaled.masked_fill(~keep_top_p(scaled, self._top_p), -torch.inf)
        return torch.multinomial(kept.softmax(-1), 1, generator=generator)[0]


class Sampler:
    """Chooses for decoding.prompts.written from the whole distribution, all rows at once: one random number a row and token.

    seeds: one an answer, by its place. tokens[place]: what was drawn, the token that ended the answer included.
    """

    def __init__(self, seeds: list[list[int]], temperature: float, most: int):
        """`most`: tokens of an answer, at most."""
        drawn = [np.random.default_rng(seed).random(most) for seed in seeds]
        self._uniform = torch.from_numpy(np.array(drawn).reshape(len(seeds), most))
        self._temperature = temperature
        self.tokens: list[list[int]] = [[] for _ in seeds]

    def __call__(self, logits: Tensor, places: list[int]) -> Tensor:
        """[b] tokens for logits [b, V]: the first whose cumulative probability is above the row's number."""
        numbers = torch.stack([self._uniform[place, len(self.tokens[place])] for place in places]).to(logits.device)
        mass = (logits.float() / self._temperature).softmax(-1).cumsum(-1)
        found = torch.searchsorted(mass, (numbers.to(mass) * mass[:, -1])[:, None], right=True)[:, 0]
        chosen = found.clamp(max=logits.shape[-1] - 1).cpu()
        for place, token in zip(places, chosen.tolist(), strict=True):
            self.tokens[place].append(token)
        return chosen


class Likeliest:
    """Chooses the likeliest token, and keeps what was said as Sampler does."""

    def __init__(self, answers: int):
        self.tokens: list[list[int]] = [[] for _ in range(answers)]

    def __call__(self, logits: Tensor, places: list[int]) -> Tensor:
        """[b] tokens for logits [b, V]."""
        chosen = logits.argmax(-1).cpu()
        for place, token in zip(places, chosen.tolist(), strict=True):
            self.tokens[place].append(token)
        return chosen
