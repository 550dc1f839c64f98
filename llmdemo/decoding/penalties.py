"""What changes a lane's scores before it chooses: biases, penalties for what was said, bans. Knows no filter and no model.

The order is transformers' (its logits processors come before temperature and filters): biases, repetition penalty,
frequency and presence penalty, DRY, no_repeat_ngram_size, min_new_tokens. Greedy and sampling lanes give it raw logits, beam
lanes log-probabilities that are not normalised again, as generate does.

Sources: repetition penalty, Keskar et al., arXiv 1909.05858; n-grams, Paulus et al., arXiv 1705.04304; frequency and
presence, OpenAI's API reference; DRY, P. E. Weidmann, text-generation-webui 5677. All tensors have fixed shapes and stay where they are, so that a step can be captured
in a CUDA graph.
"""

from typing import TYPE_CHECKING

import torch

from llmdemo.settings.lane import LaneSettings, Resolved

if TYPE_CHECKING:
    from llmdemo.decoding.constraints import Constraint

_WILDCARD = -2
"""In a bias' prefix: any token, or none."""
_UNWRITTEN = -1
_LONGEST_REPEAT = 50
"""DRY counts no longer ones: as its author has it, so that the penalty stays a number."""


class Penalties:
    """One lane's history of R rows, and what its settings make of their scores."""

    def __init__(
        self,
        lane: LaneSettings,
        prompt: list[int],
        rows: int,
        max_new: int,
        eos: list[int],
        resolved: Resolved,
        device: torch.device,
    ):
        self.lane, self.start, self.answer = lane, len(prompt), len(prompt) - resolved.answer_tokens
        self.history = torch.full((rows, len(prompt) + max_new), _UNWRITTEN, dtype=torch.int64, device=device)
        self.history[:, : self.start] = torch.tensor(prompt, dtype=torch.int64, device=device)
        self.eos = torch.tensor(eos, dtype=torch.int64, device=device)
        self.breakers = torch.tensor(resolved.breakers, dtype=torch.int64, device=device)
        self.biases = _Biases(resolved.biases, device) if resolved.biases else None

    def apply(self, scores: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Scores (R, V) float32 as changed at step t (1,) int64. A row of which everything is banned keeps its scores."""
        lane, changed = self.lane, scores
        if self.biases is not None:
            changed = self.biases.apply(changed, self.history, t + self.start)
        if lane.repetition_penalty != 1.0:
            changed = repetition(changed, self.history, lane.repetition_penalty)
        if lane.frequency_penalty or lane.presence_penalty:
            said = self.history[:, self.answer :]
            changed = frequency_and_presence(changed, said, lane.frequency_penalty, lane.presence_penalty)
        if lane.dry_multiplier:
            repeats = repeat_lengths(self.history, t + self.start, self.breakers, scores.shape[-1])
            changed = changed - dry(repeats, lane.dry_multiplier, lane.dry_base, lane.dry_allowed_length)
        if lane.no_repeat_ngram_size:
            changed = changed.masked_fill(
                repeated_ngrams(self.history, t + self.start, lane.no_repeat_ngram_size, scores.shape[-1]), -torch.inf
            )
        if lane.min_new_tokens and self.eos.numel():
            ends = torch.zeros_like(scores, dtype=torch.bool).index_fill_(1, self.eos, True)
            changed = changed.masked_fill(ends & (t < lane.min_new_tokens), -torch.inf)
        possible = (changed > -torch.inf).any(-1, keepdim=True) | changed.isnan().any(-1, keepdim=True)
        return torch.where(possible, changed, scores)

    def extend(self, tokens: torch.Tensor, parents: torch.Tensor | None, t: torch.Tensor) -> None:
        """Remembers step t's tokens (R,), each behind the row of its parent (R,)."""
        if parents is not None:
            self.history.copy_(self.history[parents])
        self.history.index_copy_(1, t + self.start, tokens[:, None])

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with the histories of these rows (indices (n,)) only; not for a captured step."""
        self.history = self.history[rows]


class Diversity:
    """The scores of one group of beams: less for what earlier groups take in the same step, then the lane's penalties.

    Hamming diversity, Vijayakumar et al., arXiv 1610.02424; before the other penalties, as in transformers.
    """

    def __init__(self, weight: float, penalties: "Penalties | Constraint | None"):
        self.weight, self.penalties = weight, penalties
        self.taken: list[tuple[torch.Tensor, torch.Tensor]] = []
        """(tokens (B,) int64, (1,) bool whether they count) of each earlier group in this step."""

    def apply(self, scores: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """As Penalties.apply."""
        for tokens, counts in self.taken:
            off = torch.where(counts, self.weight, 0.0).to(scores.dtype).expand(len(tokens))
            scores = scores - torch.zeros_like(scores[0]).index_add_(0, tokens, off)
        return scores if self.penalties is None else self.penalties.apply(scores, t)

    def extend(self, tokens: torch.Tensor, parents: torch.Tensor | None, t: torch.Tensor) -> None:
        """As Penalties.extend."""
        if self.penalties is not None:
            self.penalties.extend(tokens, parents, t)

    def keep(self, rows: torch.Tensor) -> None:
        """As Penalties.keep."""
        if self.penalties is not None:
            self.penalties.keep(rows)


class _Biases:
    """Biases of single tokens and of sequences, as tensors; M of them, the longest of N tokens."""

    def __init__(self, biases: tuple[tuple[tuple[int, ...], float], ...], device: torch.device):
        longest = max(len(ids) for ids, _ in biases)
        padded = [[_WILDCARD] * (longest - len(ids)) + list(ids[:-1]) for ids, _ in biases]
        self.prefixes = torch.tensor(padded, dtype=torch.int64, device=device)  # (M, N - 1)
        self.last = torch.tensor([ids[-1] for ids, _ in biases], device=device)  # (M,)
        self.values = torch.tensor([value for _, value in biases], dtype=torch.float32, device=device)  # (M,)
        self.back = torch.arange(-self.prefixes.shape[1], 0, device=device)  # (N - 1,) places before the next token

    def apply(self, scores: torch.Tensor, history: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """scores (R, V) with the biases that apply after the first `length` (1,) tokens of history (R, L)."""
        places = length + self.back  # (N - 1,)
        recent = history.index_select(1, places.clamp_min(0)).masked_fill(places < 0, _UNWRITTEN)  # (R, N - 1)
        fits = ((recent[:, None] == self.prefixes) | (self.prefixes == _WILDCARD)).all(-1)  # (R, M)
        bias = torch.zeros_like(scores).index_add_(1, self.last, torch.where(fits, self.values, 0.0))
        return scores + bias


def repetition(scores: torch.Tensor, history: torch.Tensor, penalty: float) -> torch.Tensor:
    """scores (R, V) with those of all tokens in history (R, L) divided by `penalty`, or multiplied where negative."""
    said = torch.zeros((scores.shape[0], scores.shape[1] + 1), dtype=torch.bool, device=scores.device)
    said = said.scatter_(1, _within(history, scores.shape[1]), True)[:, :-1]
    return torch.where(said, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def frequency_and_presence(scores: torch.Tensor, said: torch.Tensor, frequency: float, presence: float) -> torch.Tensor:
    """scores (R, V) less `frequency` for each time that a token is in said (R, L), and `presence` once if it is."""
    counts = torch.zeros((scores.shape[0], scores.shape[1] + 1), dtype=scores.dtype, device=scores.device)
    places = _within(said, scores.shape[1])
    counts = counts.scatter_add_(1, places, torch.ones_like(places, dtype=scores.dtype))[:, :-1]
    return scores - frequency * counts - presence * (counts > 0)


def repeated_ngrams(history: torch.Tensor, length: torch.Tensor, size: int, vocabulary: int) -> torch.Tensor:
    """Mask (R, V) of the tokens that would complete an n-gram of `size` that is in the first `length` (1,) of history."""
    banned = torch.zeros((history.shape[0], vocabulary + 1), dtype=torch.bool, device=history.device)
    if history.shape[1] < size:
        return banned[:, :-1]
    places = length + torch.arange(1 - size, 0, device=history.device)  # (size - 1,)
    suffix = history.index_select(1, places.clamp_min(0))  # (R, size - 1)
    windows = history.unfold(1, size, 1)  # (R, W, size); a window that reaches past `length` ends unwritten
    repeats = (windows[..., :-1] == suffix[:, None]).all(-1)  # (R, W)
    last = _within(torch.where(repeats, windows[..., -1], _UNWRITTEN), vocabulary)
    return banned.scatter_(1, last, True)[:, :-1]


def repeat_lengths(
    history: torch.Tensor, length: torch.Tensor, breakers: torch.Tensor, vocabulary: int
) -> torch.Tensor:
    """(R, V) float: how many of the latest tokens of the first `length` (1,) of history (R, L) stood before in the same
    order, directly before the token; 0 where none did. No repeat goes across one of the tokens `breakers`."""
    reach = min(_LONGEST_REPEAT, history.shape[1])
    back = length - 1 - torch.arange(reach, device=history.device)  # (M,) the latest place first
    latest = history.index_select(1, back.clamp_min(0)).masked_fill((back < 0) | (back >= length), _WILDCARD)  # (R, M)
    before = (
        torch.nn.functional.pad(history, (reach - 1, 0), value=_UNWRITTEN).unfold(1, reach, 1).flip(-1)
    )  # (R, L, M)
    same = (before == latest[:, None]) & ~torch.isin(latest, breakers)[:, None]
    lengths = same.cumprod(-1).sum(-1)[:, :-1]  # (R, L − 1), of what ends at each place
    following = history[:, 1:]
    known = torch.arange(1, history.shape[1], device=history.device) < length
    lengths = lengths * (known & ~torch.isin(following, breakers))
    found = torch.zeros((history.shape[0], vocabulary + 1), dtype=torch.int64, device=history.device)
    return found.scatter_reduce_(1, _within(following, vocabulary), lengths, "amax")[:, :-1]


def dry(repeats: torch.Tensor, multiplier: float, base: float, allowed: int) -> torch.Tensor:
    """(R, V) what DRY takes off: multiplier · base^(n − allowed) for a token that would make a repeat of n ≥ allowed longer."""
    return torch.where(repeats >= allowed, multiplier * base ** (repeats - allowed).clamp_min(0).double(), 0.0).float()


def _within(tokens: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Token ids with the unwritten, and those that have no score, moved to the spare column behind the vocabulary."""
    return torch.where((tokens < 0) | (tokens > vocabulary), vocabulary, tokens)
