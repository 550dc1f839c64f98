"""The gradients of a step: its micro-batches forward and backward, captured as CUDA graphs where that can be and pays.

Captured passes are tried on their first step against passes that are launched one by one; where they differ, or cannot
be had, the run says so and goes on without. Knows nothing of what is done with the gradients.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llmdemo.core.errors import first_line
from llmdemo.core.sentences import say
from llmdemo.settings.training import TrainConfig, rows_of
from llmdemo.training import device as devices
from llmdemo.training.activations import Batch
from llmdemo.training.batches import share_of
from llmdemo.training.objectives import Objective
from llmdemo.training.optimizer import Optimizer
from llmdemo.training.reduce import Reduction, sum_over_processes

if TYPE_CHECKING:
    from llmdemo.training.captured import CapturedPasses

_AGREES = {True: 1e-3, False: 3e-2}
"""Relative difference of loss and norm above which captured passes are not used: in fp32, in less."""
_ROOM = 1.1
"""Free memory that a capture needs, as a multiple of what it is known to take."""


class Passes:
    """Of one process of a run. `report(kind, **fields)` tells what people should know.

    `reduction` sums over several processes while the last micro-batch goes back; its `wait` is left to the caller.
    """

    def __init__(
        self,
        model,
        objective: Objective,
        optimizer: Optimizer,
        config: TrainConfig,
        precision: str,
        report,
        reduction: Reduction | None = None,
    ):
        self._model, self._objective, self._optimizer, self._config = model, objective, optimizer, config
        self._precision, self._report, self._reduction = precision, report, reduction
        self._device = next(model.parameters()).device
        self._captured: CapturedPasses | None = None
        self._tried = False
        self.captures = self._device.type == "cuda" and not (
            config.activation_checkpointing or config.offloads or config.compile
        )
        """Whether steps are captured once that is tried."""
        self._working_bytes: int | None = None
        if self.captures:
            optimizer.refresh_in_rounds()

    def measure(self, rows, process: int, processes: int) -> None:
        """A trial pass: it tells what passes take, by the highest memory use until now."""
        before = devices.current_bytes(self._device)
        self.launch(rows, process, processes, send=True)
        if self._reduction:
            self._reduction.wait()
        if self._device.type == "cuda":
            self._working_bytes = devices.peak_bytes(self._device) - before

    def __call__(self, rows, process: int, processes: int) -> tuple[Tensor, dict[str, float]]:
        """Accumulates the gradient of the mean loss of these items; returns this process's share of that loss [], and of
        the mean figures."""
        if self._may_capture():
            if not self._tried:
                self._try(rows, process, processes)
            if self.captures:
                return self._capture(rows, process, processes, send=True), {}
        return self.launch(rows, process, processes, send=True)

    def launch(self, rows, process: int, processes: int, send: bool = False) -> tuple[Tensor, dict[str, float]]:
        """The same, kernel by kernel; `send`: with the sums over processes."""
        reduction = self._reduction
        objective = self._objective
        count = objective.normaliser(rows)
        total, sums = torch.zeros((), device=self._device), dict.fromkeys(objective.figures, 0.0)
        self._train()
        if reduction:
            reduction.begin()
        micro_batches = self._micro_batches(rows, process, processes)
        for number, items in enumerate(micro_batches, 1):
            with devices.autocast(self._precision, self._device):
                parts = objective.parts(items)
            for place, part in enumerate(parts, 1):
                if reduction and send and (number, place) == (len(micro_batches), len(parts)):
                    reduction.watch()
                with devices.autocast(self._precision, self._device):
                    loss, figures = part()
                    loss = loss / count
                self._optimizer.expect_parts(objective.passes)
                loss.backward()
                if self._config.saves_memory:  # what one pass leaves free lies in gaps that do not fit the next
                    devices.give_back(self._device)
                total = total + loss.detach()
                for name, value in figures.items():
                    sums[name] += value / count
        if reduction and send:
            reduction.finish()
        return total, sums

    def _train(self) -> None:
        if not self._model.training:  # it goes through every module, of which adapters make thousands
            self._model.train()

    def _micro_batches(self, rows, process: int, processes: int) -> list:
        shares = share_of(rows, process, processes, self._config.gradient_accumulation_steps)
        return [share for share in shares if len(share)]

    def largest(self, rows, processes: int) -> Batch:
        """The largest of what the first process computes at once of a step, with the most trained tokens of any."""
        objective = self._objective
        shares = self._micro_batches(rows, 0, processes)
        parts = [part for share in shares for part in objective.place.parts(share, objective.lengths)]
        batches = [objective.shape(part) for part in parts]
        largest = max(batches, key=lambda batch: batch.records * batch.length)
        return replace(largest, trained=max(batch.trained for batch in batches))

    @property
    def is_one(self) -> bool:
        """Whether each step of this process is one forward and one backward pass."""
        most, config = self._config.pass_tokens, self._config
        whole = most is None or rows_of(config) * int(self._objective.lengths.max()) <= most
        return whole and config.gradient_accumulation_steps == 1

    # ---- captured

    def _may_capture(self) -> bool:
        return self.captures and not self._objective.figures and self._optimizer.no_refresh_due

    def _capture(self, rows, process: int, processes: int, send: bool = False) -> Tensor:
        assert self._captured is not None, "`_try` has made them, and has not given them up"
        scale, total = 1.0 / self._objective.normaliser(rows), torch.zeros((), device=self._device)
        self._train()
        if self._reduction:
            self._reduction.begin()
        micro_batches = self._micro_batches(rows, process, processes)
        for number, items in enumerate(micro_batches, 1):
            batch = self._objective.fixed(items)
            assert batch is not None, "an objective has this form for all of its items or for none (`_obstacle`)"
            last = number == len(micro_batches)
            total = total + self._captured.run(batch, scale, first=number == 1, send=send and last)
        if self._reduction and send:
            self._reduction.finish()
        return total

    def _try(self, rows, process: int, processes: int) -> None:
        """Captures this step, and compares; afterwards `captures` says whether it is right."""
        self._tried = True
        why = self._obstacle(rows)
        if self._reduction and sum_over_processes([float(bool(why))], self._device)[0]:
            why = why or say("why_other_process")  # all try, or none: what is compared is the sum over all
        if not why:
            from llmdemo.training.captured import CapturedPasses

            self._captured = CapturedPasses(self._fixed_loss, self._optimizer, self._device, self._reduction)
            why = self._difference(rows, process, processes)
        self._optimizer.zero_grad()
        if why:
            self.captures, self._captured = False, None
            self._report("note", message=say("note_uncaptured", why=why))

    def _obstacle(self, rows) -> str:
        if self._objective.fixed(rows[:1]) is None:
            return say("why_no_shape")
        owners = [*self._optimizer.others, *(slot.subspace for slot in self._optimizer.slots)]
        sums = sum(_values(owner) for owner in owners) * next(self._model.parameters()).element_size()
        if self._working_bytes is not None and devices.available_bytes(self._device) < _ROOM * (
            self._working_bytes + sums
        ):
            return say("why_no_room")
        return ""

    def _difference(self, rows, process: int, processes: int) -> str:
        """What is wrong with captured passes, or with how their gradients are summed; "" if nothing is."""
        launched = self._summed(lambda: self.launch(rows, process, processes, send=True)[0])
        try:
            captured = self._summed(lambda: self._capture(rows, process, processes, send=True))
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            # A model that waits for values, or whose attention or body works otherwise.
            if self._reduction:  # the others wait for what this process has to send
                self._reduction.finish()
                self._reduction.wait()
            cause = error.__context__ or error
            return f"{type(cause).__name__}: {first_line(cause)}"
        allowed = _AGREES[self._precision == "fp32"]
        if all(abs(a - b) <= allowed * max(abs(a), 1e-6) for a, b in zip(launched, captured, strict=True)):
            return ""
        return say(
            "why_captured_differ",
            loss=f"{captured[0]:.6g}",
            norm=f"{captured[1]:.6g}",
            loss2=f"{launched[0]:.6g}",
            norm2=f"{launched[1]:.6g}",
        )

    def _summed(self, way: Callable[[], Tensor]) -> tuple[float, float]:
        """(this process's loss, the norm of all processes' gradients) of a way to make them."""
        self._optimizer.zero_grad()
        loss = way()
        if self._reduction:
            self._reduction.wait()
        return loss.item(), self._optimizer.norm()

    def _fixed_loss(self, batch) -> Tensor:
        with devices.autocast(self._precision, self._device):
            return self._objective.fixed_loss(batch)


def _values(owner) -> int:
    shape = owner.low_shape if hasattr(owner, "low_shape") else owner.shape
    return int(torch.Size(shape).numel())
