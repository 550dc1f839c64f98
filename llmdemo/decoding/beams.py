"""Beam search over rows of log-probabilities, exactly as transformers' generate does it. Knows no model and no cache.

Source: transformers 5.23, generation/utils.py, `_beam_search` and its helpers, batch of one, without sampling.
As a sampling lane (lanes.py) it has a half of tensors of fixed shape that never waits for the device, and a
half on the host that follows the back-pointers.
"""

import math

import torch

from llmdemo.decoding.constraints import Changes, constraint_of, masked_mass
from llmdemo.decoding.hypotheses import Nodes, finished, path_to, search_result
from llmdemo.decoding.lanes import TRACE_TOP, Rows
from llmdemo.decoding.penalties import Diversity
from llmdemo.decoding.steps import EOS, LENGTH, STOP, BeamStep, Branch, Candidates, LaneResult, Sequence
from llmdemo.settings.lane import LaneSettings, Stops

NEVER = -1.0e9
"""generate's score of what may not be chosen."""
JUNK = -1.0e8
"""Below this a score belongs to no real hypothesis."""


class BeamLane:
    """num_beams rows that compete: `choose` extends them, `read` keeps their tree."""

    packed_size = 0
    """How many numbers `choose` packs; known once it has run."""

    def __init__(
        self,
        lane: LaneSettings,
        max_new: int,
        eos: list[int],
        device: torch.device,
        penalties: Changes | None = None,
        texts: Stops | None = None,
    ):
        """`texts`: who can tell whether a stop string was reached; with one a step cannot be captured."""
        self.lane, self.max_new, self.penalties, self.texts = lane, max_new, penalties, texts
        self.rows = beams = lane.num_beams
        self.candidates = max(2, 1 + len(eos)) * beams
        self.width = max(TRACE_TOP, self.candidates)
        self.eos = frozenset(eos)
        # one beam is greedy search: generate calls it so, and ends at the first EOS
        self.early = lane.early_stopping is True or beams == 1
        self._start_device(eos, device)
        self._start_host()

    # --- the half of tensors -------------------------------------------------------------------------------

    def _start_device(self, eos: list[int], device: torch.device) -> None:
        beams = self.rows
        # all rows but the first start out of the race: at the first step they hold the same prompt
        score = torch.float32  # torch's default is another while a model is loaded
        self.running = torch.tensor(
            [0.0] + [NEVER] * (beams - 1), dtype=score, device=device
        )  # (B,) sums of log-probabilities
        self.best = torch.full((beams,), NEVER, dtype=score, device=device)  # (B,) sequence scores of the finished
        self.sent = torch.zeros(beams, dtype=torch.bool, device=device)  # (B,) which of them are real
        self.open = torch.ones(1, dtype=torch.bool, device=device)  # can the running still beat the finished?
        self.over = torch.zeros(1, dtype=torch.bool, device=device)  # did the search end in this step or before?
        self.eos_ids = torch.tensor(eos, dtype=torch.int64, device=device)
        self.may_finish = torch.arange(self.candidates, device=device) < beams
        lengths = torch.arange(1, self.max_new + 1, dtype=torch.float64)
        self.norms = (lengths**self.lane.length_penalty).float().to(device)  # (max_new,)
        hopeful = self.lane.early_stopping == "never" and self.lane.length_penalty > 0
        self.hoped_norms = self.norms[-1:].repeat(self.max_new) if hopeful else self.norms

    def choose(self, rows: Rows, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """(tokens (B,) int64, parents (B,) int64 within the lane, packed numbers) for B rows at step t (1,) int64.

        The likeliest candidates of all rows together are among the likeliest of each row, so that the
        vocabulary is searched once a row, for the trace and the search alike.
        """
        likeliest, likeliest_tokens = self._likeliest(rows, t)
        width = likeliest.shape[-1]
        pool = likeliest + self.running[:, None]  # (B, width)
        scores, at = pool.flatten().topk(self.candidates)  # (C,) both
        parents = at // width
        tokens = likeliest_tokens.flatten()[at]
        logprobs = rows.logprobs_of(parents, tokens)
        hits = (tokens[:, None] == self.eos_ids).any(-1)  # (C,)
        if self.texts is not None:
            hits = hits | self._stopped(self.texts, tokens, parents)
        if isinstance(self.penalties, Diversity):  # the last tokens count too, though after them nothing is live
            self.taken = tokens[(scores + hits * NEVER).topk(self.rows).indices]  # (B,)
        hits = hits | (t + 1 >= self.max_new)

        left = scores + hits * NEVER
        live = left.topk(self.rows).indices  # (B,) into the candidates
        merged = self._finish(scores, hits, t)
        self.running.copy_(left[live])
        stop = self._stop(hits, t)
        self.over.logical_or_(stop)
        masked = masked_mass(self.penalties, rows.logprobs) if self.penalties is not None else []
        if self.penalties is not None:
            self.penalties.extend(tokens[live], parents[live], t)
        trace = [*masked, rows.top_tokens[:, :TRACE_TOP], rows.top_logprobs[:, :TRACE_TOP], rows.entropies]
        packed = [stop, live, merged, self.best, self.sent, tokens, parents, logprobs, scores, hits, *trace]
        return tokens[live], parents[live], [tensor.reshape(-1) for tensor in packed]

    def _likeliest(self, rows: Rows, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(scores (B, width), tokens (B, width)) of each row's best tokens by penalised log-probability, downwards."""
        width = min(self.candidates, rows.top_logprobs.shape[-1])
        if self.penalties is None:
            return rows.top_logprobs[:, :width], rows.top_tokens[:, :width]
        # a banned token's score must stay finite: the tree is sent to a page as JSON
        best = self.penalties.apply(rows.logprobs, t).clamp_min(NEVER).topk(width, dim=-1)
        return best.values, best.indices

    def _stopped(self, texts: Stops, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """(C,) bool: which candidates hold a stop string. Waits for the device: texts are the host's."""
        ends = []
        for token, parent in zip(tokens.tolist(), parents.tolist(), strict=True):
            ends.append(texts.stops([*path_to(self.nodes, self.live_nodes[parent])[0], token]))
        return torch.tensor(ends, device=tokens.device)

    def _finish(self, scores: torch.Tensor, hits: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Merges the candidates that ended into the finished; (B,) indices into [old finished, candidates]."""
        ended = hits & self.may_finish
        final = scores / self.norms[t]
        if self.early:
            final = final + self.sent.all() * NEVER
        final = final + ~self.open * NEVER + ~ended * NEVER
        pool = torch.cat((self.best, final))
        best, merged = pool.topk(self.rows)
        self.sent.copy_(torch.cat((self.sent, ended))[merged])
        self.best.copy_(best)
        return merged

    def _stop(self, hits: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(1,) bool: the search is over."""
        possible = self.running[:1] / self.hoped_norms[t]
        worst = torch.where(self.sent, self.best.min(), NEVER)  # (B,)
        self.open.logical_and_((possible > worst).any())
        # none that is possible goes on: a form may allow fewer texts than there are beams
        stop = ~self.open | hits.all() | (self.running[:1] < JUNK)
        return stop | self.sent.all() if self.early else stop

    # --- the half on the host ------------------------------------------------------------------------------

    def _start_host(self) -> None:
        self.nodes: Nodes = []
        self.live_nodes = [-1] * self.rows
        self.finished: list[tuple[int, float] | None] = [None] * self.rows  # (node, sequence score)
        self.finish_reason: str | None = None
        self.steps = 0
        self.best_text: tuple[int, ...] = ()  # these three: if the search ended now
        self.best_finished, self.best_score = False, -math.inf

    def read(self, values: list[float], t: int) -> BeamStep:
        """The BeamStep of `choose`'s packed numbers; also grows the tree."""
        self.steps = t + 1
        cut = iter(_sections(values, self.rows, self.candidates))
        stop, live, merged, best, sent, tokens, parents, logprobs, scores, hits = (next(cut) for _ in range(10))
        rest = next(cut)
        count = self.rows if constraint_of(self.penalties) else 0
        masked, rest = tuple(rest[:count]), rest[count:]
        live, tokens, parents = (list(map(int, column)) for column in (live, tokens, parents))
        branches = [Branch(*row) for row in zip(parents, tokens, logprobs, scores, strict=True)]
        over = all(hits)
        nodes = self._grow(branches)
        ended = self._merge([int(m) - self.rows for m in merged], best, sent, nodes, branches)
        going = [] if over else live
        self.live_nodes = [nodes[i] for i in live]
        gone = set(ended) | set(going)
        if stop[0]:
            self.finish_reason = self.sequences()[0].finish_reason
        norm = (t + 1) ** self.lane.length_penalty
        self.best_text, self.best_finished, self.best_score = self._best(scores[live[0]] / norm)
        return BeamStep(
            lane=self.lane.name,
            live=tuple(branches[i] for i in going),
            finished=tuple(finished(branches[i], branches[i].score / norm) for i in ended),
            pruned=tuple(b for i, b in enumerate(branches) if i not in gone and b.score > JUNK),
            tops=self._tops(rest, [branches[i] for i in gone], t),
            entropies=tuple(rest[-self.rows :][: 1 if t == 0 else self.rows]),
            best=self.best_text,
            best_finished=self.best_finished,
            finish_reason=self.finish_reason,
            masked=masked[: 1 if t == 0 else self.rows],
        )

    def _grow(self, branches: list[Branch]) -> list[int]:
        """Adds the candidates to the tree; their node numbers."""
        first = len(self.nodes)
        self.nodes += [(self.live_nodes[b.parent], b.token, b.logprob) for b in branches]
        return list(range(first, len(self.nodes)))

    def _merge(self, merged: list[int], best: list[float], sent: list[float], nodes: list[int], branches) -> list[int]:
        """Follows the device's merge; which candidates became finished hypotheses."""
        old, self.finished, entered = self.finished, [], []
        for index, score, real in zip(merged, best, sent, strict=True):
            if not real:
                self.finished.append(None)
            elif index < 0:
                self.finished.append(old[index])
            elif branches[index].score < JUNK:
                self.finished.append(None)
            else:
                self.finished.append((nodes[index], score))
                entered.append(index)
        return entered

    def _tops(self, rest: list[float], taken: list[Branch], t: int) -> tuple[Candidates, ...]:
        """The candidates of each row: `rest` holds (B, K) tokens, (B, K) log-probabilities, (B,) entropies."""
        width = (len(rest) // self.rows - 1) // 2
        chosen = {(branch.parent, branch.token) for branch in taken}
        tops = []
        for row in range(1 if t == 0 else self.rows):
            tokens = tuple(map(int, rest[row * width : (row + 1) * width]))
            first = self.rows * width + row * width
            kept = tuple(float((row, token) in chosen) for token in tokens)
            tops.append(Candidates(tokens, tuple(rest[first : first + width]), kept))
        return tuple(tops)

    def _best(self, running: float) -> tuple[tuple[int, ...], bool, float]:
        """(token ids, is it a finished one, its score) of the answer if the search ended now."""
        first = self.finished[0]
        if first is not None and (self.finish_reason or first[1] >= running):
            return path_to(self.nodes, first[0])[0], True, first[1]
        return path_to(self.nodes, self.live_nodes[0])[0], False, running

    def sequences(self) -> tuple[Sequence, ...]:
        """The finished hypotheses, best first."""
        found = []
        for node, score in (entry for entry in self.finished if entry is not None):
            tokens, logprobs = path_to(self.nodes, node)
            found.append(Sequence(tokens, logprobs, score, self._reason(tokens)))
        return tuple(found)

    def _reason(self, tokens: tuple[int, ...]) -> str:
        """Why a finished hypothesis ended."""
        if tokens[-1] in self.eos:
            return EOS
        return STOP if self.texts is not None and self.texts.stops(tokens) else LENGTH

    def staying(self) -> list[int]:
        """Which of its rows take part in the next forward."""
        return [] if self.finish_reason else list(range(self.rows))

    def result(self, seconds: float) -> LaneResult:
        """The lane's summary, `seconds` after the start."""
        return search_result(
            self.lane.name, self.sequences(), seconds, generated=self.steps * self.rows, forwards=self.steps
        )


def _sections(values: list[float], beams: int, candidates: int):
    """Cuts the packed numbers: 1, then 4 of `beams`, then 5 of `candidates`, then the rest."""
    at = 0
    for size in [1] + [beams] * 4 + [candidates] * 5:
        yield values[at : at + size]
        at += size
    yield values[at:]
