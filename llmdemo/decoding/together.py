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
from llmdemo.decoding.graphs import GraphRun
from llmdemo.decoding.plain import Request, computed
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
        return self.request.rows if self.request else 0

    def first(self) -> list[tuple[Key, Step]]:
        """The steps up to the first request after the prompt was read, which is done here."""
        now = next(self.work)
        while isinstance(now, Request):
            now = self.work.send(computed(self.run.forward.w, [now])[0])
        return [(self.key, now), *self.steps()]

    def steps(self, came: Any = None) -> list[tuple[Key, Step]]:
        """The steps up to the next request, from what came of the one before."""
        found = []
        now = self.work.send(came) if came is not None else next(self.work, None)
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
    while True:
        while sum(each.rows for each in going) < most_rows and (item := next(left, None)) is not None:
            key, prompt, settings = item
            run = run_of(model, prompt, settings, None, assistants)
            if isinstance(run, GraphRun) or not run.forward.joins or not (run.lanes or run.joined):
                yield from ((key, step) for step in run.steps())
                continue
            fresh = _Going(key, run, run.work())
            with run.threads.limited(), torch.inference_mode():
                steps = fresh.first()
            going += [fresh] if fresh.request else []
            yield from steps
        if not going:
            return
        yield from _stepped(going)
        going = [each for each in going if each.request]


def _stepped(going: list[_Going[Key]]) -> list[tuple[Key, Step]]:
    """The next Step of each, from one forward."""
    with going[0].run.threads.limited(), torch.inference_mode():
        found = computed(going[0].run.forward.w, [each.request for each in going if each.request])
        return [step for each, own in zip(going, found, strict=True) for step in each.steps(own)]
