"""The lock-step loop over a forward: logits to all lanes' tokens to a Step. Knows no model, only its forward."""

import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import torch

from llmdemo.decoding.lane_maker import LaneMaker
from llmdemo.decoding.lanes import Rows
from llmdemo.decoding.numbers import check_numbers
from llmdemo.decoding.steps import Step
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
    ):
        """`model`: for the lanes that compute forwards of their own; those run beside the others, step by step.
        `assistants`: the models that draft, by their ids."""
        self.forward, self.prompt, self.max_new, self.started = forward, prompt, max_new, started
        maker = LaneMaker(prompt, settings, max_new, eos, forward.device, model, assistants)
        self.lanes = [maker.lane(lane) for lane in settings.lanes if lane.strategy not in OWN_FORWARD]
        self.own = [maker.own_forward(lane) for lane in settings.lanes if lane.strategy in OWN_FORWARD]
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

    def _steps(self) -> Generator[Step]:
        tokens = parents = torch.empty(0, dtype=torch.int64)  # step 0 has none
        for t in range(self.max_new):
            # neither across a yield: mode and number of threads are the consumer's thread's too
            with self.threads.limited(), torch.inference_mode():
                rows = self.rows
                values: list[float] = []
                if self.lanes:
                    if t == 0:
                        logits = self.forward.prefill(self.prompt, rows, self.max_new).expand(rows, -1)
                    else:
                        logits = self.forward.step(tokens, parents)
                    tokens, parents, packed = choose(self.lanes, logits, torch.tensor([t], device=logits.device))
                    values = packed.tolist()
                step = self.read(values, t, 1 if t == 0 else rows)
                if not step.done and self.lanes:
                    tokens, parents = self._leave(tokens, parents)
            yield step
            if step.done:
                return

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
        return Step(t, taken, seconds, rows, done=len(results) == len(live), results=results)

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
        index = torch.tensor(kept, device=tokens.device)
        return tokens[index], parents[index]


def choose(lanes, logits: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(next tokens (R,), their parents (R,) among these rows, all lanes' packed numbers) from logits (R, V)."""
    rows = Rows.of(logits, max(lane.width for lane in lanes))
    tokens, parents, packed, first = [], [], [], 0
    for lane in lanes:
        count = lane.rows
        token, parent, numbers = lane.choose(rows.part(first, count), t)
        tokens.append(token)
        parents.append(torch.full((1,), first, device=logits.device) if parent is None else parent + first)
        lane.packed_size = sum(tensor.numel() for tensor in numbers)
        packed += numbers
        first += count
    return torch.cat(tokens), torch.cat(parents), torch.cat([tensor.double() for tensor in packed])
