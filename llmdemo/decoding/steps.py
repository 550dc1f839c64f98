"""What a decoding step is, as plain values: all that a page, a trace or a test needs. Knows no tensors and no text.

`decode_lanes` yields one `Step` a forward. A step holds only the lanes that were still live in it: a lane that
has ended is absent from later steps, and its `LaneResult` is in the step in which it ended. All log-probabilities
are natural logarithms of the raw model (temperature 1, no filter); all indices count from 0.
"""

from dataclasses import dataclass, field

from llmdemo.core.errors import UserError

EOS = "eos"
"""finish_reason: the model ended the text itself."""
STOP = "stop"
"""finish_reason: the text holds a stop string, or has all of its form and the model no token to end it with."""
LENGTH = "length"
"""finish_reason: max_new_tokens, or the model's context, was reached."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The likeliest next tokens of one row, likeliest first; three tuples of the same length."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Under the raw model."""
    filtered: tuple[float, ...]
    """The probability that the lane drew with, after temperature and filter, renormalised; 0.0 = cut by the filter.
    A greedy lane has 1.0 for its choice."""

    @property
    def kept(self) -> tuple[bool, ...]:
        """Which of the tokens the filter kept."""
        return tuple(p > 0 for p in self.filtered)


@dataclass(frozen=True, slots=True)
class TokenStep:
    """One token of a greedy or sampling lane."""

    lane: str
    token: int
    logprob: float
    """Of the chosen token, under the raw model."""
    filtered: float
    """The probability with which it was drawn."""
    rank: int
    """How many tokens the raw model ranks above it; 0 = the likeliest."""
    kept_size: int
    """How many tokens the filter kept (1 for greedy, the vocabulary for "sample")."""
    kept_mass: float
    """Their share of the distribution that the filter saw (after temperature, before renormalising), 0…1."""
    entropy: float
    """Of the raw model's distribution, in nats."""
    top: Candidates
    """The likeliest tokens, kept or cut; the choice need not be among them."""
    finish_reason: str | None
    """None while the lane goes on, else EOS, STOP or LENGTH."""
    masked: float | None = None
    """Which share of the raw model's distribution the lane's form forbade, 0…1; None where it has none."""


@dataclass(frozen=True, slots=True)
class PlainStep:
    """One token of a lane whose trace nobody asked for (settings.lane.Resolved.trace)."""

    lane: str
    token: int
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class SeveralStep:
    """One token of each answer that a lane draws to choose from."""

    lane: str
    rows: dict[int, TokenStep]
    """By the answer's number, from 0; an answer that has ended is absent."""
    finish_reason: str | None
    """None while one of them goes on; then that of the answer that was chosen."""


@dataclass(frozen=True, slots=True)
class SpeculativeStep:
    """The tokens that one forward of a speculative lane gave."""

    lane: str
    tokens: tuple[TokenStep, ...]
    """One or more: those that were drafted rightly, and one that the model chose itself."""
    drafted: tuple[int, ...]
    """The token ids that were drafted."""
    accepted: int
    """How many of them, from the first, greedy decoding says too."""
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class Branch:
    """A hypothesis extended by one token in this step: one edge of the beam tree."""

    parent: int
    """Index into the previous step's `live`; 0, the prompt, in the first step."""
    token: int
    logprob: float
    """Of this token, under the raw model."""
    score: float
    """Sum of the log-probabilities of the hypothesis so far, this token included."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A hypothesis that ended in this step and is among the best so far."""

    parent: int
    token: int
    logprob: float
    score: float
    """As in Branch; divide by length**length_penalty for the sequence score, which is:"""
    sequence_score: float


@dataclass(frozen=True, slots=True)
class BeamStep:
    """One step of a beam lane. Follow `parent` back from any branch for its whole text."""

    lane: str
    live: tuple[Branch, ...]
    """The hypotheses that go on, best first; num_beams of them, and none in a last step that reached the length limit.
    While there are fewer real hypotheses than beams (a tiny vocabulary), the rest have scores below -1e8."""
    finished: tuple[Finished, ...]
    pruned: tuple[Branch, ...]
    """Candidates that were good enough to be looked at and not good enough to stay."""
    tops: tuple[Candidates, ...]
    """For each of the *previous* step's live hypotheses (one, the prompt, in the first): its likeliest next tokens.
    `filtered` is 1.0 where the token was taken into `live` or `finished`, else 0.0."""
    entropies: tuple[float, ...]
    """For each of the previous step's live hypotheses, in nats."""
    best: tuple[int, ...]
    """Token ids of what would be the answer if the search ended now: the best live hypothesis, or the best
    finished one if its sequence score is higher."""
    best_finished: bool
    """True if `best` is a finished hypothesis."""
    finish_reason: str | None
    masked: tuple[float, ...] = ()
    """As TokenStep's, for each of the previous step's live hypotheses; empty without a form."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One finished text of a beam lane, or one answer of a lane that draws several."""

    token_ids: tuple[int, ...]
    """The EOS token included when the model ended it."""
    logprobs: tuple[float, ...]
    score: float
    """Of a beam lane: sum of log-probabilities / length**length_penalty, transformers' sequences_scores. Of a lane that
    draws several, what the best has most of: the mean log-probability, the share of the votes, or the mean chrF."""
    finish_reason: str
    label: str = ""
    """What the answer was voted for by; "" where there is no vote, or nothing was found."""
    row: int = 0
    """Which of several answers it is, from 0."""


@dataclass(frozen=True, slots=True)
class LaneResult:
    """A lane's summary, given once, in the step in which it ended."""

    lane: str
    token_ids: tuple[int, ...]
    """The EOS token included when the model ended the text. For beams: of the best sequence."""
    logprobs: tuple[float, ...]
    """Of the raw model, one a token; none of a lane whose trace nobody asked for."""
    finish_reason: str
    seconds: float
    """Spent in decode_lanes up to this lane's end, the prefill included; see Step.seconds."""
    tokens_per_second: float
    """len(token_ids) / seconds."""
    score: float | None = None
    """Of beams and of lanes that draw several: the best sequence's."""
    sequences: tuple[Sequence, ...] = ()
    """Of the same: every final hypothesis or answer, best first; the first is the lane's own."""
    generated: int = 0
    """Tokens that were generated for it, those that are not in the answer included."""
    forwards: int = 0
    """Forward passes from the prefill to its end."""
    drafted: int = 0
    """Speculative only: tokens that were drafted, and how many of them were right:"""
    accepted: int = 0


AnyStep = TokenStep | PlainStep | SeveralStep | BeamStep | SpeculativeStep


@dataclass(frozen=True, slots=True)
class Step:
    """One forward of the model and what each live lane made of it."""

    index: int
    """0 is the prefill: its logits give the first token of every lane."""
    lanes: dict[str, AnyStep]
    """Only the lanes that were live in this step, in the order of settings.lanes."""
    seconds: float
    """Spent in decode_lanes so far, without the consumer's own time between steps; step 0's is the time to first token."""
    rows: int
    """Rows of this step's forward (1 in the prefill)."""
    done: bool
    """True in the last step: every lane has ended."""
    results: dict[str, LaneResult] = field(default_factory=dict)
    """The lanes that ended in this step."""
    surprise: float | None = None
    """Of the first step, where it was asked for (settings.lane.Resolved.surprise_of) and known: the mean −log p, in nats, of the
    prompt's last tokens under the raw model."""


def check_numbers(values: list[float]) -> list[float]:
    """`values`, or a UserError if a NaN is among them: the logits were not numbers."""
    if any(value != value for value in values):
        raise UserError("err_output_nan")
    return values
