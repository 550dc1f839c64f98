"""One run's loop: set up → evaluate → steps → evaluate. The same for every task, and for GaLore, AdamW and LoRA.

What is learned is the objective's; the loop knows items by number, and reports through a callback. It knows nothing of
tokenizers, queues or pages.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from llmdemo.core.sentences import say
from llmdemo.settings.training import TrainConfig
from llmdemo.training import best as bests
from llmdemo.training import device as devices
from llmdemo.training import objectives, snapshot
from llmdemo.training.agreement import SAVE, STOP, Agreement
from llmdemo.training.batches import Batches, RunData
from llmdemo.training.checkpoint import Checkpoint, rng_state, set_rng_state
from llmdemo.training.halt import Halt, Interrupt, NonFinite, Stopped
from llmdemo.training.memory_estimate import Batch
from llmdemo.training.optimizer import Optimizer
from llmdemo.training.passes import Passes
from llmdemo.training.progress import Progress, Step, told_refresh
from llmdemo.training.reduce import Reduction, take_first
from llmdemo.training.schedule import learning_rate
from llmdemo.training.untouched import Untouched

MOST_SKIPS = 10
"""Steps in a row without finite gradients after which a run is given up."""
STEPS_AHEAD = 2
"""Steps that the host of a GPU may be ahead of it: while one is computed, the next is started."""


class Loop:
    """A run's training. `report(kind, **fields)` is called on the first process only."""

    def __init__(
        self, model, tokenizer, optimizer: Optimizer, data: RunData, config: TrainConfig, precision: str, report
    ):
        self.model, self.optimizer, self.data, self.config = model, optimizer, data, config
        self.progress = Progress()
        self.device = next(model.parameters()).device
        self.precision = precision
        self.keep: Callable[[bests.Best], None] | None = None
        """Keeps the weights as they are, those of the best evaluation so far; None: nobody will ask for them."""
        self._report: Callable = report
        self.process = dist.get_rank() if dist.is_initialized() else 0
        self.processes = dist.get_world_size() if dist.is_initialized() else 1
        self._interrupt = Interrupt()
        place = objectives.Place(
            model, tokenizer, config, precision, self.device, self.process, self.processes, self._interrupt.check
        )
        self.objective = objectives.of(config.task)(place, data)
        self._batches = Batches(self.objective.lengths, config.global_batch, config.seed, self.objective.pool)
        self._reduction = Reduction(optimizer, self.device) if self.processes > 1 else None
        self._agreement = Agreement(self.processes, self.device, optimizer.runs_ahead)
        self._passes = Passes(model, self.objective, optimizer, config, precision, report, self._reduction)
        self._under_way: deque[Step] = deque()
        self._seconds: deque[float] = deque(maxlen=20)
        self._rates: deque[tuple[int, float]] = deque(maxlen=20)
        self._told, self._eval_seconds, self._began = 0.0, 0.0, time.monotonic()
        self.ended = ""
        """Why the run ended before its last step, where the objective had it end."""
        self.after_step: Callable[[int], None] = lambda step: None
        self.refreshed: list = []
        self.untouched = Untouched()
        if self.processes > 1:
            optimizer.share = take_first
        if self.processes == 1 and self._passes.is_one and self._one_layer_each():
            optimizer.refresh_at_once()

    def _one_layer_each(self) -> bool:
        weights = [m.weight for _, m in self.model.named_modules(remove_duplicate=False) if hasattr(m, "weight")]
        counts: dict[int, int] = {}
        for weight in weights:
            counts[id(weight)] = counts.get(id(weight), 0) + 1
        return all(counts.get(id(slot.weight), 0) == 1 for slot in self.optimizer.slots)

    # ---- the run

    def run(self, should_stop: Callable[[], bool], save: Callable[[Checkpoint], None]) -> bool:
        """Trains to the last step, until its patience has ended or there is nothing to learn, after `begin`; False if it
        was asked to stop before. Saves a checkpoint when it stops. Raises Halt where nothing good would be left."""
        try:
            return self._run(should_stop, save)
        except Halt as halt:
            self._end_early(halt)
            return True

    def _run(self, should_stop: Callable[[], bool], save: Callable[[Checkpoint], None]) -> bool:
        torch.manual_seed(self.config.seed) if self.progress.step == 0 else None
        if self.progress.step == 0 and not self._tried(should_stop):
            save(self.checkpoint())
            return False
        self._report("phase", phase="training")
        saved = time.monotonic()
        while self.progress.step < self.config.max_steps and not self.out_of_patience:
            if self._agreement.between(STOP, should_stop()) or not self._ready(should_stop):
                save(self.checkpoint())
                return False
            self._step_or_give_up(save)
            self.objective.after()
            self.after_step(self.progress.step)
            step, every = self.progress.step, self.config.eval_steps
            if step == self.config.max_steps or (every and step % every == 0):
                self.evaluate()
                self._report("phase", phase="training")
            if self._agreement.between(SAVE, time.monotonic() - saved > self.config.checkpoint_seconds):
                save(self.checkpoint())
                self._agreement.saved()
                saved = time.monotonic()
        return True

    def _ready(self, should_stop: Callable[[], bool]) -> bool:
        """Lets the objective make what the step needs; False if it was asked to stop meanwhile, which loses nothing."""
        self._began = time.monotonic()
        if type(self.objective).ready is objectives.Objective.ready:
            return True
        try:
            with self._interrupt.watching(should_stop):
                self.objective.ready(self.progress.step, self._batches.rows_of, self._report)
        except Stopped:
            return False
        return True

    def _end_early(self, halt: Halt) -> None:
        """Ends the run with weights that are good: these, or those of the best evaluation. Raises Halt without any."""
        self._settle()
        if halt.good:
            self.evaluate()
        elif not (self.best and 0 < self.best.step < self.progress.step and self.keep):
            raise halt
        self.ended = halt.message

    def _tried(self, should_stop: Callable[[], bool]) -> bool:
        """The dry step, and the figures before the first step; False if it was asked to stop meanwhile."""
        if self.processes > 1:  # they stop together, between steps
            self._dry_step()
            self.evaluate()
            return True
        state = rng_state()
        try:
            with self._interrupt.watching(should_stop):
                self._dry_step()
                self.evaluate()
        except Stopped:
            self.optimizer.forget()
            set_rng_state(state)
            return False
        return True

    def _step_or_give_up(self, save: Callable[[Checkpoint], None]) -> None:
        """A step; where it is one too many without finite gradients, what was learned before them is kept."""
        try:
            self._step()
        except NonFinite:
            # Left-out steps touch no weight; if the weights are not finite themselves, an older checkpoint is the good one.
            if all(torch.isfinite(tensor).all() for tensor in bests.trained(self.model).values()):
                self.progress.skipped_in_a_row = 0  # resumed, it tries as often again
                save(self.checkpoint())
            raise

    def begin(self, folder: Path, should_stop: Callable[[], bool]) -> bool:
        """What the objective computes once from the untouched weights, before `restore` or `run`; False if it was
        asked to stop. `folder` is the run's.

        The loss is verified before, so that what is computed here is right too, and, as the weights are those that
        every attempt at the run starts from, with the same outcome in each.
        """
        self._verify_loss()
        steps = range(min(self.config.max_steps, self._batches.per_epoch))
        items = np.unique(np.concatenate([self._batches.rows_of(step) for step in steps]))
        return self.objective.begin(folder, items, self._report, lambda: self._agreement.at_once(should_stop()))

    def _verify_loss(self) -> None:
        for note in self.objective.verify(self._batches.rows_of(0)):
            self._report("note", message=note)

    def _dry_step(self) -> None:
        """The longest batch forward and backward, without changing a weight: the honest peak and time."""
        self._report("phase", phase="dry_step")
        state = rng_state()
        started = time.monotonic()
        self._passes.measure(self._batches.rows_of(self._longest_step()), self.process, self.processes)
        self.optimizer.refresh()
        self.optimizer.forget()
        set_rng_state(state)
        self._seconds.append(time.monotonic() - started)
        self._report("dry_step", seconds=round(self._seconds[-1], 3), peak_bytes=devices.peak_bytes(self.device))

    def _longest_step(self) -> int:
        """The step with the most padded tokens, among those of the first epoch."""
        steps = range(min(self.config.max_steps, self._batches.per_epoch))
        return max(steps, key=lambda step: self.objective.cost(self._batches.rows_of(step)))

    def largest_batch(self) -> Batch:
        """The largest batch that goes through the model at once, for the memory estimate."""
        rows = self._batches.rows_of(self._longest_step())
        return self._passes.largest(rows, self.processes)

    def _step(self) -> None:
        started, progress, config = self._began, self.progress, self.config
        rows = self._batches.rows_of(progress.step)
        rate = learning_rate(config, progress.step)
        self.optimizer.set_lr(rate)
        loss, figures = self._gradients(rows)
        if self._reduction:
            self._reduction.wait()
        self.refreshed = refreshed = self.optimizer.refresh()
        if self.optimizer.runs_ahead:
            norm, left_out = self.optimizer.step_where_finite(config.max_grad_norm, loss)
        else:
            norm, left_out = self._step_if_finite(loss)
        progress.step += 1
        tokens = self.objective.tokens(rows)
        progress.tokens += tokens
        values = torch.stack([value.to(loss.dtype) for value in (loss, norm, left_out, *figures.values())])
        names = tuple(figures)
        step = Step(progress.step, tokens, progress.tokens, rate, started, refreshed, names, values)
        if self.device.type == "cuda":
            step.values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            step.values.copy_(values, non_blocking=True)
            step.arrived = torch.cuda.current_stream(self.device).record_event()
        self._under_way.append(step)
        self._settle(STEPS_AHEAD if self.optimizer.runs_ahead else 0)

    def _step_if_finite(self, loss: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips and steps, or leaves the step out, as the host sees; (norm [], 1 if it was left out [])."""
        norm = self.optimizer.clip(self.config.max_grad_norm)
        finite = math.isfinite(norm) and math.isfinite(loss.item())
        with devices.given_back(self.device, self.config.saves_memory):
            self.optimizer.step() if finite else self.optimizer.skip()
        return loss.new_tensor(norm), loss.new_tensor(float(not finite))

    def _settle(self, most: int = 0) -> None:
        """Waits until at most so many steps are under way, and tells of the others."""
        while len(self._under_way) > most:
            self._tell(self._under_way.popleft())

    def _gradients(self, rows) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Accumulates the gradient of the mean loss of these items; returns that loss [], and the mean figures []."""
        loss, means = self._passes(rows, self.process, self.processes)
        figures = {name: loss.new_tensor(mean) for name, mean in means.items()} | self._agreement.figures(loss)
        values = torch.stack([loss.double() if self.device.type != "mps" else loss, *figures.values()])
        if self.processes > 1:
            dist.all_reduce(values)
        return values[0], dict(zip(figures, values[1:], strict=True))

    def _tell(self, step: Step) -> None:
        progress, now = self.progress, time.monotonic()
        if step.arrived is not None:
            step.arrived.synchronize()
            now = time.monotonic()
        loss, norm, left_out, *means = step.values.tolist()
        figures = dict(zip(step.names, means, strict=True))
        self._agreement.hear(figures)
        if self.optimizer.runs_ahead:
            self.optimizer.tell(bool(left_out))
        # Where steps overlap, one takes as long as lies between two ends.
        self._seconds.append(now - max(step.started, self._told))
        self._told = now
        self._rates.append((step.tokens, self._seconds[-1]))
        if step.refreshed:
            self._report("refresh", step=step.step, layers=[told_refresh(*each) for each in step.refreshed])
        if left_out:
            progress.skipped += 1
            progress.skipped_in_a_row += 1
            self._report("skip", step=step.step, reason="non_finite")
            if progress.skipped_in_a_row >= MOST_SKIPS:
                raise NonFinite(say("end_non_finite", n=MOST_SKIPS))
            return
        progress.skipped_in_a_row = 0
        progress.loss = loss
        self._report(
            "step",
            step=step.step,
            loss=round(loss, 6),
            lr=step.rate,
            grad_norm=round(norm, 6),
            tokens=step.all_tokens,
            tokens_per_second=round(sum(t for t, _ in self._rates) / max(1e-9, sum(s for _, s in self._rates)), 1),
            memory_bytes=devices.current_bytes(self.device),
            peak_memory_bytes=devices.peak_bytes(self.device),
            eta_seconds=round(self._seconds_left(step.step), 1),
            epoch=round(step.step / self._batches.per_epoch, 3),
            # A figure that overflowed says nothing; the run goes on by its loss.
            **{name: round(value, 6) for name, value in figures.items() if math.isfinite(value)},
        )

    def _seconds_left(self, step: int | None = None) -> float:
        """After step `step`; None: after the last that was started."""
        step = self.progress.step if step is None else step
        left = self.config.max_steps - step
        typical = sorted(self._seconds)[len(self._seconds) // 2]
        if not left:
            return 0.0
        every, last = self.config.eval_steps, self.config.max_steps
        checks = (last - 1) // every - step // every if every else 0
        # the last check may be of more records than the others, as a classifier's is
        more = self.objective.judged(last=True) / max(1, self.objective.judged(last=False))
        return left * typical + (checks + more) * self._eval_seconds

    # ---- what the model has learned so far

    @torch.no_grad()
    def evaluate(self) -> None:
        """Figures on what is held out, and what the model makes of the samples."""
        self._settle()
        self._report("phase", phase="evaluating")
        started, progress = time.monotonic(), self.progress
        self.model.eval()
        judge = self.untouched if progress.step == 0 else Untouched()
        last, asks = progress.step >= self.config.max_steps, self.process == 0
        found, records, told = judge.judged(self.objective, last, asks)
        figures = {name: value for name, value in found.items() if math.isfinite(value)}
        if "loss" in figures:
            progress.last_eval = figures
            progress.first_eval = progress.first_eval or figures
            progress.eval_loss, progress.first_eval_loss = figures["loss"], progress.first_eval["loss"]
            rounded = {name: round(value, 6) for name, value in figures.items()}
            self._report("eval", step=progress.step, records=records, **rounded)
        self._compare(self.objective.on_the_way(found))
        for kind, fields in told:
            self._report(kind, step=progress.step, **fields)
        self._eval_seconds = max(judge.seconds, time.monotonic() - started)

    def _compare(self, found: dict[str, float]) -> None:
        """Whether the weights are better than at any evaluation before; what is no number is not, and equal is not."""
        progress, best = self.progress, self.best
        figures = {name: value for name, value in found.items() if math.isfinite(value)}
        progress.last_compared = figures if "loss" in figures else {}
        if best and progress.step <= best.step:
            return  # an earlier attempt at the run came further, and what it kept stands
        order = bests.order_of(found, self.config)
        if order is None or (best and order >= best.order):
            progress.since_best += 1
            return
        better = bests.Best(progress.step, figures, order)
        # Before the first step the model is the base's, and after the last it is in memory and in a checkpoint.
        if self.keep and 0 < progress.step < self.config.max_steps:
            self.keep(better)
        self.take_best(better)

    @property
    def best(self) -> bests.Best | None:
        """The best evaluation so far."""
        return bests.of_dict(self.progress.best)

    def take_best(self, best: bests.Best | None) -> None:
        """Counts on from this best evaluation, and tells of it; None: from none."""
        self.progress.best, self.progress.since_best = (best.to_dict() if best else {}), 0
        if best:
            self.tell_best()
        else:
            self._report("best", step=None)

    def tell_best(self) -> None:
        """Says again which evaluation is the best so far."""
        if self.best:
            rounded = {name: round(value, 6) for name, value in self.best.figures.items()}
            self._report("best", step=self.best.step, **rounded)

    @property
    def out_of_patience(self) -> bool:
        """Whether so many evaluations brought nothing better that the run is to end."""
        patience = self.config.patience
        return bool(patience and self.progress.best and self.progress.since_best >= patience)

    def first_items(self) -> np.ndarray:
        """The training items of the first step."""
        return self._batches.rows_of(0)

    def let_go(self) -> None:
        """Gives the memory of the weights and of what the optimizer keeps back: the run is over, and on the disk."""
        devices.release(self.model)
        self.optimizer.__dict__.clear()

    # ---- what a checkpoint holds

    def checkpoint(self) -> Checkpoint:
        """Called on all processes, each of which has a random state of its own."""
        self._settle()
        return snapshot.taken(self)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from `checkpoint` as if it had never ended."""
        snapshot.restore(self, checkpoint)
