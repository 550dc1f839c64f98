"""Several answers drawn at once, and one of them chosen: best of n, self-consistency, minimum Bayes risk. No model, no text.

Each answer is a sampling lane of one row (lanes.py) with random numbers of its own; the first draws with the lane's, so
that one answer alone is what a plain lane of that name says. Who has the tokenizer ranks what is about texts.

Sources: self-consistency, Wang et al., arXiv 2203.11171; sampling-based minimum Bayes risk, Eikema & Aziz, arXiv 2108.04718.
"""

import math
from dataclasses import replace

import torch

from llmdemo.decoding.lanes import Rows, TokenLane
from llmdemo.decoding.steps import LaneResult, Sequence, SeveralStep
from llmdemo.settings.lane import LaneSettings, TextSide


def answers_of(lane: LaneSettings) -> list[LaneSettings]:
    """The sampling lanes of one row each that make up `lane`, whose draws differ in a number behind their name."""
    own = lane.draws or lane.name
    names = [own, *(f"{own} #{number}" for number in range(2, lane.num_return_sequences + 1))]
    return [replace(lane, strategy="sample", draws=name, num_return_sequences=1) for name in names]


class SeveralLane:
    """num_return_sequences rows that draw apart; when all have ended, the best of them is the lane's answer."""

    packed_size = 0
    """How many numbers `choose` packs; known once it has run."""

    def __init__(self, lane: LaneSettings, answers: list[TokenLane], texts: TextSide | None):
        """`answers`: one lane for each of answers_of(lane); `texts` ranks where the strategy is about texts."""
        self.lane, self.answers, self.texts = lane, answers, texts
        self.width = max(answer.width for answer in answers)
        self.live = list(range(len(answers)))  # numbers of the answers whose rows take part in the forward
        self.sequences: tuple[Sequence, ...] = ()
        self.finish_reason: str | None = None
        self.steps = 0

    @property
    def rows(self) -> int:
        """Rows of the next forward."""
        return len(self.live)

    def choose(self, rows: Rows, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """(tokens (R,) int64, parents (R,) int64, packed numbers) for R rows at step t (1,) int64."""
        tokens, packed = [], []
        for place, number in enumerate(self.live):
            token, _, numbers = self.answers[number].choose(rows.part(place, 1), t)
            self.answers[number].packed_size = sum(tensor.numel() for tensor in numbers)
            tokens.append(token)
            packed += numbers
        return torch.cat(tokens), torch.arange(len(tokens), device=t.device), packed

    def read(self, values: list[float], t: int) -> SeveralStep:
        """The SeveralStep of `choose`'s packed numbers; answers that ended earlier are passed over."""
        self.steps = t + 1
        found, first = {}, 0
        for number in self.live:
            answer = self.answers[number]
            if not answer.finish_reason:
                found[number] = answer.read(values[first : first + answer.packed_size], t)
            first += answer.packed_size
        if all(answer.finish_reason for answer in self.answers):
            self.sequences = self._ranked()
            self.finish_reason = self.sequences[0].finish_reason
        return SeveralStep(self.lane.name, found, self.finish_reason)

    def staying(self) -> list[int]:
        """Which of its rows take part in the next forward; those of answers that have ended are taken out."""
        going = [place for place, number in enumerate(self.live) if not self.answers[number].finish_reason]
        self.live = [self.live[place] for place in going]
        return going

    def _ranked(self) -> tuple[Sequence, ...]:
        """All answers, best first: by score, then by their own mean log-probability, then in the order of their rows."""
        means = [math.fsum(answer.logprobs) / len(answer.logprobs) for answer in self.answers]
        if self.lane.strategy == "best_of_n" and not self.lane.reward_model_id:
            scores = [(mean, "") for mean in means]
        else:
            assert self.texts is not None, "the engine refuses such a lane"
            scores = self.texts.rank(self.lane, [answer.tokens for answer in self.answers])
        order = sorted(range(len(means)), key=lambda row: (-scores[row][0], -means[row], row))
        return tuple(self._sequence(row, *scores[row]) for row in order)

    def _sequence(self, row: int, score: float, label: str) -> Sequence:
        answer = self.answers[row]
        assert answer.finish_reason is not None
        return Sequence(tuple(answer.tokens), tuple(answer.logprobs), score, answer.finish_reason, label, row)

    def result(self, seconds: float) -> LaneResult:
        """The lane's summary, `seconds` after the start."""
        best = self.sequences[0]
        generated = sum(len(answer.tokens) for answer in self.answers)
        return LaneResult(
            lane=self.lane.name,
            token_ids=best.token_ids,
            logprobs=best.logprobs,
            finish_reason=best.finish_reason,
            seconds=seconds,
            tokens_per_second=generated / max(seconds, 1e-9),
            score=best.score,
            sequences=self.sequences,
            generated=generated,
            forwards=self.steps,
        )
