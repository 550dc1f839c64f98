"""The lock-step loop over a forward: logits to all lanes' tokens to a Step. Knows no model, only its forward.

Rows that have said the same are one row of the forward: a model that is sure of what it says lets most lanes go the same
way, and their logits are the same. A speculative lane's tokens are a branch of the same forward, where it can branch.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

import torch

from llmdemo.decoding.fused_llama import Chain, Parts
from llmdemo.decoding.lane_maker import LaneMaker, TextForward, own_forward_of
from llmdemo.decoding.lanes import Rows, TokenLane
from llmdemo.decoding.plain import Request, computed, is_plain
from llmdemo.decoding.speculative import SpeculativeLane
from llmdemo.decoding.steps import AnyStep, Step, check_numbers
from llmdemo.decoding.thread_budget import ThreadBudget
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.lane import OWN_FORWARD


class Run:
    """One comparison on its way: which lanes are live, and where their rows are."""

    def __init__(
        self,
        forward,
        prompt: list[int],
        settings: DecodeSettings,
        max_new: int,
        eos: list[int],
        started: float,
        model=None,
        assistants: Mapping[str, Any] | None = None,
        text_forward: TextForward = own_forward_of,
    ):
        """`model`: for the lanes that compute forwards of their own; those run beside the others, step by step.
        `assistants`, `text_forward`: as LaneMaker's."""
        self.forward, self.prompt, self.max_new, self.started = forward, prompt, max_new, started
        maker = LaneMaker(prompt, settings, max_new, eos, forward.device, model, assistants, text_forward)
        self.lanes = [maker.lane(lane) for lane in settings.lanes if lane.strategy not in OWN_FORWARD]
        self.own = [maker.own_forward(lane) for lane in settings.lanes if lane.strategy in OWN_FORWARD]
        self.joined = [own for own in self.own if isinstance(own, SpeculativeLane) and self._can_branch()]
        self.plain: list[TokenLane] = []
        """All live lanes, where a trace of none of them is wanted and each needs no more than its row of the logits."""
        if forward.joins and is_plain(settings, settings.resolved.trace):
            self.plain = [lane for lane in self.lanes if isinstance(lane, TokenLane)]
        self.surprise_of, self.surprise = settings.resolved.surprise_of, None
        self.tokens = self.parents = torch.empty(0, dtype=torch.int64)  # of the next forward's rows; step 0 has none
        self.places: list[int] = []  # which of the computed rows each row of a lane is
        self.order = [lane.name for lane in settings.lanes]
        self.threads = ThreadBudget(forward.device)
        self.paused = time.perf_counter()

    def steps(self) -> Iterator[Step]:
        """One Step a forward, until every lane has ended. The consumer's own time between steps is not counted."""
        work = self._steps()
        try:
            while True:
                self.started += time.perf_counter() - self.paused
                step = next(work, None)
                if step is None:
                    return
                self.paused = time.perf_counter()
                yield step
        finally:
            work.close()
            if self.forward.joins:
                self.forward.w.batcher.leave()

    def _steps(self) -> Generator[Step]:
        work = self.work()
        while True:
            # neither across a yield: mode and number of threads are the consumer's thread's too
            with nullcontext() if self.plain else self.threads.limited(), torch.inference_mode():
                now = next(work, None)
                while isinstance(now, Request):
                    weights = self.forward.w
                    now = work.send(weights.batcher.step(now, partial(computed, weights), now.rows))
            if now is None:
                return
            yield now

    def work(self) -> Generator[Any, Any]:
        """Yields the Steps, and before each what it asks of forwards (Requests), to be sent what came of them.

        A forward that nobody can join is computed here instead. To be resumed under torch.inference_mode.
        """
        found, rows = (yield from self._prefill()), 1
        for t in range(self.max_new):
            if t and self.forward.joins:
                parts = self._parts()
                rows = sum(part.rows for _, part in parts)
                found = (yield self._asked(parts, t)) if parts else None
            elif t and self.lanes:
                found, rows = self.forward.step(self.tokens, self.parents), self.rows
                self.places = list(range(rows))
            step = self._plain_step(found, t, rows) if self.plain else self._step(found, t, rows)
            yield step
            if step.done:
                return

    def _prefill(self) -> Generator[Request, Any, Any]:
        """What came of the prompt: logits (1, V), plain lanes' first tokens; None where no lane asks for it here."""
        self.places = [0] * self.rows
        if not self.lanes and not self.joined:
            return None
        if not self.forward.joins:
            return self.forward.prefill(self.prompt, self.rows, self.max_new)
        self.forward.begin(self.prompt, self.rows, self.max_new, self.surprise_of)
        for part in self.forward.reading(self.forward.w.batcher.is_alone):
            found = yield self._asked([part], 0) if part[1].logits else Request([part])
        if self.surprise_of:
            told = self.forward.surprise[-self.surprise_of :].nanmean().item()
            self.surprise = told if told == told else None  # NaN: a prompt of one token
        for own in self.joined:
            own.begin(Chain(self.forward), found)
        return found

    def _asked(self, parts: Parts, t: int) -> Request:
        return Request(parts, self.plain, self.places, t)

    def _parts(self) -> Parts:
        """What the next step asks of a forward: its rows, each once, then the chains."""
        tokens = torch.empty(0)
        if self.lanes:
            tokens, parents, self.places = distinct(self.tokens, self.parents)
        going = [own for own in self.joined if not own.finish_reason]
        rows = len(tokens) + sum(own.draft() for own in going)
        if not rows:
            return []
        self.forward.room(rows)
        parts = [self.forward.request(tokens, parents)] if self.lanes else []
        return parts + [own.request() for own in going]

    def _plain_step(self, found: list[list[float]], t: int, rows: int) -> Step:
        """The Step of what plain.computed gives each lane."""
        live, places = self.plain, self.places
        taken: dict[str, AnyStep] = {
            lane.lane.name: lane.say(int(check_numbers(numbers)[0]), t)
            for lane, numbers in zip(live, found, strict=True)
        }
        going = [number for number, lane in enumerate(live) if not lane.finish_reason]
        self.plain = [live[number] for number in going]
        self.lanes = list(self.plain)
        self.tokens = torch.tensor([live[number].tokens[-1] for number in going], device=self.forward.device)
        self.parents = torch.tensor([places[number] for number in going], device=self.forward.device)
        seconds = time.perf_counter() - self.started
        results = {lane.lane.name: lane.result(seconds) for lane in live if lane.finish_reason}
        return Step(t, taken, seconds, rows, not self.lanes, results, None if t else self.surprise)

    def _step(self, logits: torch.Tensor | None, t: int, rows: int) -> Step:
        """The Step of logits (M, V) of the rows and the chains."""
        values: list[float] = []
        if self.lanes:
            assert logits is not None
            at = torch.tensor([t], device=self.forward.device)
            tokens, parents, packed = choose(self.lanes, logits, at, self.places)
            values = packed.tolist()
            parents = torch.tensor(self.places, device=parents.device)[parents]
        if t and logits is not None:
            first = max(self.places) + 1 if self.lanes else 0
            for own in [own for own in self.joined if not own.finish_reason]:
                first = own.give(logits, first)
        step = self.read(values, t, rows)
        if not step.done and self.lanes:
            self.tokens, self.parents = self._leave(tokens, parents)
        return step

    def _can_branch(self) -> bool:
        """Whether several tokens can be a branch of the shared forward; on a GPU a forward of its own is captured."""
        return self.forward.joins and self.forward.device.type == "cpu"

    @property
    def rows(self) -> int:
        """Rows of one forward over the present lanes."""
        return sum(lane.rows for lane in self.lanes)

    def read(self, values: list[float], t: int, rows: int) -> Step:
        """The Step of `choose`'s packed numbers; lanes that ended earlier are passed over."""
        taken: dict = {}
        first = 0
        live: list = [lane for lane in self.lanes if not lane.finish_reason]
        for lane in self.lanes:
            size = lane.packed_size
            if lane in live:
                taken[lane.lane.name] = lane.read(check_numbers(values[first : first + size]), t)
            first += size
        for own in [lane for lane in self.own if not lane.finish_reason]:
            taken[own.lane.name] = own.advance()
            live.append(own)
        taken = {name: taken[name] for name in self.order if name in taken}
        seconds = time.perf_counter() - self.started
        results = {lane.lane.name: lane.result(seconds) for lane in live if lane.finish_reason}
        done = len(results) == len(live)
        return Step(t, taken, seconds, rows, done, results, None if t else self.surprise)

    def _leave(self, tokens: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes the rows of lanes and answers that have ended out of the next forward."""
        kept: list[int] = []
        first = 0
        for lane in self.lanes:
            rows = lane.rows
            kept += (first + row for row in lane.staying())
            first += rows
        self.lanes = [lane for lane in self.lanes if not lane.finish_reason]
        if len(kept) == first:
            return tokens, parents
        index = torch.tensor(kept, dtype=torch.int64, device=tokens.device)
        return tokens[index], parents[index]


def choose(
    lanes,
    logits: torch.Tensor,
    t: torch.Tensor,
    places: Sequence[int] | None = None,
    beside: Callable[[int], AbstractContextManager] = lambda lane: nullcontext(),
    rows_of: Callable[[torch.Tensor, int], Rows] = Rows.of,
    lane_chooses: Callable[[Any, Rows, torch.Tensor], Any] = lambda lane, rows, t: lane.choose(rows, t),
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(next tokens (R,), their parents (R,) among the lanes' rows, all lanes' packed numbers) from logits (M, V).

    `places`: which row of the logits each row of the lanes is; None: the one of its own number. `beside`: around what the
    lane of this number chooses, which needs nothing of the others'. `rows_of`, `lane_chooses`: how both are computed.
    """
    if places is not None:
        logits = logits[: max(places) + 1]
    rows = rows_of(logits, max(lane.width for lane in lanes))
    tokens, parents, packed, first = [], [], [], 0
    for number, lane in enumerate(lanes):
        count = lane.rows
        part = rows.part(first, count) if places is None else rows.at(places[first : first + count])
        with beside(number):
            token, parent, numbers = lane_chooses(lane, part, t)
            tokens.append(token)
            parents.append(_one(first, logits.device) if parent is None else parent + first)
            packed.append(_packed(numbers))
        lane.packed_size = len(packed[-1])
        first += count
    return torch.cat(tokens), torch.cat(parents), torch.cat(packed)


@cache
def _one(value: int, device: torch.device) -> torch.Tensor:
    """[1] int64, made once: on a GPU it would be a kernel a step."""
    return torch.tensor([value], device=device)


def _packed(numbers: list[torch.Tensor]) -> torch.Tensor:
    """All numbers (N,) float64, one tensor after another."""
    if len(numbers) == 1 and numbers[0].dtype == torch.float64:
        return numbers[0]
    if not numbers[0].is_cuda:
        return torch.cat([tensor.reshape(-1).double() for tensor in numbers])
    sizes = [tensor.numel() for tensor in numbers]
    packed = torch.empty(sum(sizes), dtype=torch.float64, device=numbers[0].device)
    places = packed.split(sizes)
    for kind in {tensor.dtype for tensor in numbers}:  # a kernel a type instead of one a tensor
        own = [at for at, tensor in enumerate(numbers) if tensor.dtype == kind]
        torch._foreach_copy_([places[at] for at in own], [numbers[at].reshape(-1) for at in own])
    return packed


def distinct(tokens: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """(tokens (U,), parents (U,), which of these each row is) of rows with tokens and parents (R,), each pair once."""
    if len(tokens) == 1:
        return tokens, parents, [0]
    base = int(tokens.max()) + 1
    found, places = torch.unique(parents * base + tokens, return_inverse=True)
    return found % base, found // base, places.tolist()
