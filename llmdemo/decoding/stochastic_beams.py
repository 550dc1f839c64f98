"""Stochastic beam search: num_beams different texts, drawn without replacement from the model. Knows no model.

Every partial text has a Gumbel-perturbed log-probability; those of its continuations are drawn so that their maximum is
its own, and the beams are the partial texts with the highest. The first text is a plain sample of the model; all
together are a sample without replacement. Source: Kool, van Hoof & Welling, arXiv 1903.06059, and its appendix B.3 for
the numerics. Its rows come and go, and random numbers come from the host, so a step cannot be captured in a graph.
"""

import math
from dataclasses import replace

import torch

from llmdemo.decoding.constraints import Changes, masked_mass
from llmdemo.decoding.hypotheses import Nodes, finished, path_to, search_result
from llmdemo.decoding.lanes import TRACE_TOP, Rows, lane_generator
from llmdemo.decoding.steps import EOS, LENGTH, STOP, BeamStep, Branch, Candidates, LaneResult, Sequence
from llmdemo.settings.lane import LaneSettings, Stops

_SHOWN_PRUNED = 2
"""So many times the beams: how many of the best continuations that were not taken are told of."""


def perturbed_children(
    logprobs: torch.Tensor, perturbed: torch.Tensor, children: torch.Tensor, uniforms: torch.Tensor
) -> torch.Tensor:
    """Perturbed log-probabilities (…, V) float64 of the children of a node, whose maximum is the node's own `perturbed`.

    `logprobs` (…, V): of the whole texts that end in the children; `perturbed` (…, 1): the node's; `children` is a mask
    (…, V) of those that are possible; `uniforms` (…, V) in [0, 1) are the draws.
    """
    # log(1 - u) rather than log(u): a uniform number may be 0
    gumbels = logprobs - (-torch.log1p(-uniforms)).log()  # (…, V) Gumbel(logprobs)
    gumbels = gumbels.masked_fill(~children, -torch.inf)
    top = gumbels.amax(-1, keepdim=True)
    v = perturbed - gumbels + torch.log(-torch.expm1(gumbels - top))  # −∞ for the maximum itself
    moved = perturbed - v.clamp_min(0) - torch.log1p((-v.abs()).exp())
    moved = torch.where(gumbels == top, perturbed, moved)
    return moved.masked_fill(~children, -torch.inf)


class StochasticBeamLane:
    """As a BeamLane, but its rows are only as many as there are texts that go on."""

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
        self.lane, self.max_new, self.eos, self.penalties, self.texts = lane, max_new, frozenset(eos), penalties, texts
        self.beams = self.rows = lane.num_beams
        self.width = max(TRACE_TOP, lane.num_beams)
        self.generator = lane_generator(seed, lane.draws or lane.name)
        zero = torch.zeros(1, 1, dtype=torch.float64, device=device)
        self.logprobs, self.perturbed = zero, zero.clone()  # (R, 1) of each live text, in what is drawn from
        self.nodes: Nodes = []  # log-probabilities of the raw model
        self.live_nodes = [-1]
        self.finished: list[tuple[float, int, str]] = []  # (perturbed log-probability, node, why it ended)
        self.finish_reason: str | None = None
        self.steps = self.computed = 0
        if penalties is not None:  # all rows begin as one
            penalties.keep(torch.zeros(1, dtype=torch.int64, device=device))

    def choose(self, rows: Rows, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """(tokens (R,) int64, parents (R,) int64 within the lane, packed numbers): R is at most num_beams."""
        step = int(t)
        rows = rows.part(0, len(self.live_nodes))  # in the first step all rows hold the same prompt
        self.computed += len(self.live_nodes)
        scores = rows.logits if self.penalties is None else self.penalties.apply(rows.logits, t)
        logprobs = (scores.double() / self.lane.temperature).log_softmax(-1)  # (R, V)
        shape, device = tuple(logprobs.shape), logprobs.device
        uniforms = torch.rand(shape, generator=self.generator, dtype=torch.float64).to(device)
        whole = self.logprobs + logprobs
        children = perturbed_children(whole, self.perturbed, logprobs > -torch.inf, uniforms)
        best = children.flatten().topk(min(self.beams * (1 + _SHOWN_PRUNED), children.numel()))
        order = [
            place for place, value in zip(best.indices.tolist(), best.values.tolist(), strict=True) if value > -math.inf
        ]
        masked = [tuple(each.tolist()) for each in masked_mass(self.penalties, rows.logprobs)]
        self._step = replace(self._select(order, children, rows, step), masked=masked[0] if masked else ())
        live = torch.tensor(self._live, dtype=torch.int64, device=device)  # places in (R · V)
        parents, tokens = live // shape[1], live % shape[1]
        self.logprobs, self.perturbed = whole.flatten()[live][:, None], children.flatten()[live][:, None]
        if self.penalties is not None and len(live):
            self.penalties.keep(parents)
            self.penalties.extend(tokens, None, t)
        self.rows = len(live)
        return tokens, parents, [rows.entropies]

    def _select(self, order: list[int], children: torch.Tensor, rows: Rows, step: int) -> BeamStep:
        """The best num_beams of the finished texts and the continuations; `order` are places in (R · V), best first."""
        size = children.shape[1]
        found = [(float(children.flatten()[place]), place // size, place % size) for place in order]
        branches = [self._branch(each, rows) for each in found]
        least = sorted([each[0] for each in found] + [entry[0] for entry in self.finished], reverse=True)[: self.beams][
            -1
        ]
        taken = [at for at, each in enumerate(found) if each[0] >= least]
        self.finished = [entry for entry in self.finished if entry[0] >= least]
        nodes = {at: self._grow(branches[at]) for at in taken}
        ended = {at: reason for at in taken if (reason := self._reason(nodes[at], step))}
        self.finished += [(branches[at].score, nodes[at], reason) for at, reason in ended.items()]
        self.finished.sort(key=lambda entry: -entry[0])
        going = [at for at in taken if at not in ended]
        self._live = [order[at] for at in going]
        before, self.live_nodes = self.live_nodes, [nodes[at] for at in going]
        self.steps = step + 1
        first = max([(branches[at].score, nodes[at]) for at in going] + [entry[:2] for entry in self.finished])
        return BeamStep(
            lane=self.lane.name,
            live=tuple(branches[at] for at in going),
            finished=tuple(finished(branches[at], branches[at].score) for at in ended),
            pruned=tuple(branch for at, branch in enumerate(branches) if at not in nodes),
            tops=self._tops(rows, {(branches[at].parent, branches[at].token) for at in taken}, len(before)),
            entropies=tuple(rows.entropies.tolist()),
            best=path_to(self.nodes, first[1])[0],
            best_finished=not self.live_nodes or first[1] not in self.live_nodes,
            finish_reason=None if going else self.finished[0][2],
        )

    def _branch(self, found: tuple[float, int, int], rows: Rows) -> Branch:
        score, parent, token = found
        return Branch(parent, token, float(rows.logprobs[parent, token]), score)

    def _grow(self, branch: Branch) -> int:
        self.nodes.append((self.live_nodes[branch.parent], branch.token, branch.logprob))
        return len(self.nodes) - 1

    def _reason(self, node: int, step: int) -> str | None:
        """Why the text that ends in `node` has ended, or None."""
        tokens = path_to(self.nodes, node)[0]
        if tokens[-1] in self.eos:
            return EOS
        if self.texts is not None and self.texts.stops(tokens):
            return STOP
        return LENGTH if step + 1 >= self.max_new else None

    def _tops(self, rows: Rows, taken: set[tuple[int, int]], count: int) -> tuple[Candidates, ...]:
        tokens = rows.top_tokens[:, :TRACE_TOP].tolist()
        logprobs = rows.top_logprobs[:, :TRACE_TOP].tolist()
        return tuple(
            Candidates(
                tuple(tokens[row]), tuple(logprobs[row]), tuple(float((row, each) in taken) for each in tokens[row])
            )
            for row in range(count)
        )

    def read(self, values: list[float], t: int) -> BeamStep:
        """The step that `choose` made; its packed numbers only tell whether the logits were numbers."""
        self.finish_reason = self._step.finish_reason
        return self._step

    def staying(self) -> list[int]:
        """Which of its rows take part in the next forward: all that `choose` gave."""
        return list(range(self.rows))

    def result(self, seconds: float) -> LaneResult:
        """The lane's summary, `seconds` after the start; the texts are in the order in which they were drawn."""
        found = tuple(Sequence(*path_to(self.nodes, node), score, reason) for score, node, reason in self.finished)
        return search_result(self.lane.name, found, seconds, generated=self.computed, forwards=self.steps)
