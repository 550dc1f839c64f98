"""Diverse beam search: groups of beams that search in turn at each step and shun what earlier groups take. No model.

Each group is a beam search of its own (beams.py) whose scores are lowered by what the groups before it take in the same
step (penalties.Diversity). Source: Vijayakumar et al., arXiv 1610.02424, with Hamming diversity, as transformers 4 had it;
but a group that has ended lowers nobody's scores (there its padding did).
"""

from dataclasses import replace

import torch

from llmdemo.decoding.beams import BeamLane
from llmdemo.decoding.hypotheses import search_result
from llmdemo.decoding.lanes import Rows
from llmdemo.decoding.penalties import Diversity
from llmdemo.decoding.steps import BeamStep, Branch, Candidates, Finished, LaneResult
from llmdemo.settings.lane import LaneSettings


def groups_of(lane: LaneSettings) -> list[LaneSettings]:
    """The beam searches that make up `lane`."""
    beams = lane.num_beams // lane.num_beam_groups
    return [replace(lane, strategy="beam", num_beams=beams) for _ in range(lane.num_beam_groups)]


class DiverseBeamLane:
    """num_beam_groups beam searches; its tree is all of theirs, its answer the best of all."""

    packed_size = 0
    """How many numbers `choose` packs; known once it has run."""

    def __init__(self, lane: LaneSettings, groups: list[BeamLane]):
        """`groups`: a search for each of groups_of(lane), whose penalties are a Diversity."""
        self.lane, self.groups = lane, groups
        self.rows = sum(group.rows for group in groups)
        self.width = max(group.width for group in groups)
        self.finish_reason: str | None = None
        self.lives = [1] + [0] * (
            len(groups) - 1
        )  # live hypotheses of each group in the latest step; the prompt at first
        self.steps = 0

    def choose(self, rows: Rows, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """(tokens (B,) int64, parents (B,) int64 within the lane, packed numbers) for B rows at step t (1,) int64."""
        tokens: list[torch.Tensor] = []
        parents, packed, first = [], [], 0
        taken: list[tuple[torch.Tensor, torch.Tensor]] = []
        for group in self.groups:
            assert isinstance(group.penalties, Diversity)
            group.penalties.taken = list(taken)
            counts = ~group.over
            token, parent, numbers = group.choose(rows.part(first, group.rows), t)
            group.packed_size = sum(tensor.numel() for tensor in numbers)
            taken.append((group.taken, counts))
            tokens.append(token)
            parents.append(parent + first)
            packed += numbers
            first += group.rows
        return torch.cat(tokens), torch.cat(parents), packed

    def read(self, values: list[float], t: int) -> BeamStep:
        """The BeamStep of `choose`'s packed numbers: the groups' one after the other; a group that has ended is absent."""
        self.steps = t + 1
        parts: list[tuple[int, BeamStep]] = []
        at, first = 0, 0
        for group, live in zip(self.groups, self.lives, strict=True):
            if not group.finish_reason:
                parts.append((first if t else 0, group.read(values[at : at + group.packed_size], t)))
            at += group.packed_size
            first += live
        steps = iter([step for _, step in parts])
        self.lives = [len(next(steps).live) if group.steps == t + 1 else 0 for group in self.groups]
        best = max(self.groups, key=lambda group: group.best_score)
        if all(group.finish_reason for group in self.groups):
            self.finish_reason = best.finish_reason
        return self._joined(parts, best, t)

    def _joined(self, parts: list[tuple[int, BeamStep]], best: BeamLane, t: int) -> BeamStep:
        return BeamStep(
            lane=self.lane.name,
            live=tuple(_moved(branch, first) for first, step in parts for branch in step.live),
            finished=tuple(_moved(branch, first) for first, step in parts for branch in step.finished),
            pruned=tuple(_moved(branch, first) for first, step in parts for branch in step.pruned),
            tops=self._tops([step for _, step in parts]) if t == 0 else self._in_places(parts, "tops"),
            entropies=parts[0][1].entropies if t == 0 else self._in_places(parts, "entropies"),
            best=best.best_text,
            best_finished=best.best_finished,
            finish_reason=self.finish_reason,
            masked=parts[0][1].masked if t == 0 else self._in_places(parts, "masked") if parts[0][1].masked else (),
        )

    def _in_places(self, parts: list[tuple[int, BeamStep]], key: str) -> tuple:
        """What the steps tell of each hypothesis of the step before, in its place; what has ended is filled up."""
        found: list = []
        for first, step in parts:
            here = getattr(step, key)
            found += [here[0]] * (first - len(found))
            found[first:] = here
        return tuple(found)

    def _tops(self, steps: list[BeamStep]) -> tuple[Candidates, ...]:
        """Of the prompt, which all groups go on from: kept is what any of them took."""
        tops = [step.tops[0] for step in steps]
        kept = tuple(max(column) for column in zip(*(top.filtered for top in tops), strict=True))
        return (Candidates(tops[0].tokens, tops[0].logprobs, kept),)

    def staying(self) -> list[int]:
        """Which of its rows take part in the next forward."""
        return [] if self.finish_reason else list(range(self.rows))

    def result(self, seconds: float) -> LaneResult:
        """The lane's summary, `seconds` after the start; scores are less what diversity cost, as in transformers."""
        found = sorted((one for group in self.groups for one in group.sequences()), key=lambda one: -one.score)
        return search_result(
            self.lane.name, tuple(found), seconds, generated=self.steps * self.rows, forwards=self.steps
        )


def _moved(branch, first: int):
    """The branch as one of all groups' hypotheses, of which its group's begin at `first`."""
    assert isinstance(branch, Branch | Finished)
    return replace(branch, parent=branch.parent + first)
