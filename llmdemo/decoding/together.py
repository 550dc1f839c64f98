"""Many prompts by the same lanes: one forward a step for all of them (continuous batching). Knows no lane and no model.

On a CPU a forward of many rows costs little more than one of few, as the weights are read once. As soon as the rows of a prompt
have ended, those of the next one come in. What several prompts begin with is computed once. Each gets what it would get
alone; in fp32 but for rounding.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from llmdemo.decoding.engine import run_of
from llmdemo.decoding.fused_llama import Begun, Request
from llmdemo.decoding.graphs import GraphRun
from llmdemo.decoding.run import Run
from llmdemo.decoding.steps import Step
from llmdemo.settings.decoding import DecodeSettings

MOST_ROWS = 32
"""No further prompt comes in while the forward has so many rows: beyond, a row costs what it costs in a forward of its own."""

Key = TypeVar("Key")


Asked = tuple[Key, list[int], DecodeSettings]


@dataclass
class _Going(Generic[Key]):
    """A prompt on its way."""

    key: Key
    run: Run
    work: Any
    request: Request | None = None
    """What its next step asks of a forward; None: it has ended."""

    @property
    def rows(self) -> int:
        return sum(part.rows for _, part in self.request or ())

    def steps(self, logits: torch.Tensor | None = None) -> list[tuple[Key, Step]]:
        """The steps up to the next request, from the logits of the one before."""
        found = []
        now = self.work.send(logits)
        while isinstance(now, Step):
            found.append((self.key, now))
            now = next(self.work, None)
        self.request = now
        return found


def decode_together(
    model,
    asked: Iterable[Asked[Key]],
    assistants: Mapping[str, Any] | None = None,
    most_rows: int = MOST_ROWS,
) -> Iterator[tuple[Key, Step]]:
    """Yields (key, Step) of each (key, prompt's ids, settings) that is `asked`, a prompt's steps in their order.

    Raises what decode_lanes raises. Where forwards cannot be joined, one prompt is decoded after another.
    """
    left = iter(asked)
    going: list[_Going[Key]] = []
    begun: Begun | None = None
    while True:
        while sum(each.rows for each in going) < most_rows and (item := next(left, None)) is not None:
            key, prompt, settings = item
            run = run_of(model, prompt, settings, None, assistants, begun)
            if isinstance(run, GraphRun) or not run.forward.joins or not (run.lanes or run.joined):
                yield from ((key, step) for step in run.steps())
                continue
            fresh = _Going(key, run, run.work())
            with run.threads.limited(), torch.inference_mode():
                steps = fresh.steps()
                begun = run.forward.prompt_past()
            going += [fresh] if fresh.request else []
            yield from steps
        if not going:
            return
        yield from _stepped(going)
        going = [each for each in going if each.request]


def _stepped(going: list[_Going[Key]]) -> list[tuple[Key, Step]]:
    """The next Step of each, from one forward."""
    with going[0].run.threads.limited(), torch.inference_mode():
        logits = going[0].run.forward.w.batched_logits([each.request for each in going])
        return [step for each, own in zip(going, logits, strict=True) for step in each.steps(own)]
