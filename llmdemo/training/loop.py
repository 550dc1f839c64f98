"""One run's loop: set up → evaluate → steps → evaluate. The same for GaLore, AdamW and LoRA.

Knows its records as token ids, and reports through a callback; it knows nothing of files, queues or pages.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist

from llmdemo.training import device as devices
from llmdemo.training.batches import Batches, TokenRows, collate, share_of
from llmdemo.training.checkpoint import Checkpoint, rng_state, set_rng_state
from llmdemo.training.config import TrainConfig
from llmdemo.training.ledger import Batch
from llmdemo.training.loss import CausalLoss
from llmdemo.training.optimizer import Optimizer
from llmdemo.training.prepare import RunData
from llmdemo.training.reduce import reduce_gradients, sum_over_processes

MOST_SKIPS = 10
"""Steps in a row without finite gradients after which a run is given up."""
_SAMPLE_TOKENS = 48


class NonFinite(Exception):
    """The loss or the gradients stayed infinite or NaN."""


@dataclass
class Progress:
    """Where the run stands; kept in each checkpoint."""

    step: int = 0
    tokens: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    loss: float | None = None
    eval_loss: float | None = None
    first_eval_loss: float | None = None


class Loop:
    """A run's training. `report(kind, **fields)` is called on the first process only."""

    def __init__(
        self, model, tokenizer, optimizer: Optimizer, data: RunData, config: TrainConfig, precision: str, report
    ):
        self.model, self.optimizer, self.data, self.config = model, optimizer, data, config
        self.progress = Progress()
        self.device = next(model.parameters()).device
        self.precision = precision
        self._tokenizer = tokenizer
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._report: Callable = report
        self._batches = Batches(data.train, config.global_batch, config.seed)
        self._loss = CausalLoss(model)
        self._process = dist.get_rank() if dist.is_initialized() else 0
        self._processes = dist.get_world_size() if dist.is_initialized() else 1
        self._seconds: deque[float] = deque(maxlen=20)
        self._rates: deque[tuple[int, float]] = deque(maxlen=20)
        self._eval_seconds = 0.0
        if self._processes == 1 and config.gradient_accumulation_steps == 1 and self._one_layer_each():
            optimizer.refresh_at_once()

    def _one_layer_each(self) -> bool:
        weights = [m.weight for _, m in self.model.named_modules(remove_duplicate=False) if hasattr(m, "weight")]
        counts: dict[int, int] = {}
        for weight in weights:
            counts[id(weight)] = counts.get(id(weight), 0) + 1
        return all(counts.get(id(slot.weight), 0) == 1 for slot in self.optimizer.slots)

    # ---- the run

    def run(self, should_stop: Callable[[], bool], save: Callable[[Checkpoint], None]) -> bool:
        """Trains to the last step; False if it was asked to stop before. Saves a checkpoint when it stops."""
        torch.manual_seed(self.config.seed) if self.progress.step == 0 else None
        self._verify_loss()
        if self.progress.step == 0:
            self._dry_step()
            self.evaluate()
        self._report("phase", phase="training")
        saved = time.monotonic()
        while self.progress.step < self.config.max_steps:
            if self._agree(should_stop()):
                save(self.checkpoint())
                return False
            self._step()
            step, every = self.progress.step, self.config.eval_steps
            if step == self.config.max_steps or (every and step % every == 0):
                self.evaluate()
                self._report("phase", phase="training")
            if self._agree(time.monotonic() - saved > self.config.checkpoint_seconds):
                save(self.checkpoint())
                saved = time.monotonic()
        return True

    def _agree(self, wish: bool) -> bool:
        """Whether any process wants it: all must stop, or save, at the same step."""
        return wish if self._processes == 1 else bool(sum_over_processes([float(wish)], self.device)[0])

    def _verify_loss(self) -> None:
        rows = self._batches.rows_of(0)[-2:]
        with devices.autocast(self.precision, self.device):
            self._loss.verify(collate(self.data.train, rows, self._pad, self.device))

    def _dry_step(self) -> None:
        """The longest batch forward and backward, without changing a weight: the honest peak and time."""
        self._report("phase", phase="dry_step")
        state = rng_state()
        started = time.monotonic()
        self._gradients(self._batches.rows_of(self._longest_step()))
        self.optimizer.refresh()
        self.optimizer.forget()
        set_rng_state(state)
        self._seconds.append(time.monotonic() - started)
        self._report("dry_step", seconds=round(self._seconds[-1], 3), peak_bytes=devices.peak_bytes(self.device))

    def _longest_step(self) -> int:
        """The step with the most padded tokens, among those of the first epoch."""
        steps = range(min(self.config.max_steps, self._batches.per_epoch))
        return max(steps, key=lambda step: self.data.train.lengths[self._batches.rows_of(step)].max())

    def largest_batch(self) -> Batch:
        """The largest micro-batch of this process, for the memory ledger."""
        rows = self._batches.rows_of(self._longest_step())
        part = max(share_of(rows, 0, self._processes, self.config.gradient_accumulation_steps), key=len)
        return Batch(len(part), int(self.data.train.lengths[part].max()), self.data.train.trained(part))

    def _step(self) -> None:
        started, progress, config = time.monotonic(), self.progress, self.config
        rows = self._batches.rows_of(progress.step)
        rate = learning_rate(config, progress.step)
        self.optimizer.set_lr(rate)
        loss = self._gradients(rows)
        reduce_gradients(self.optimizer)
        refreshed = self.optimizer.refresh()
        norm = self.optimizer.clip(config.max_grad_norm)
        finite = math.isfinite(norm) and math.isfinite(loss)
        if finite:
            self.optimizer.step()
        else:
            self.optimizer.skip()
        progress.step += 1
        progress.tokens += int(self.data.train.lengths[rows].sum())
        self._account(rows, time.monotonic() - started)
        self._tell(loss, norm, rate, finite, refreshed)

    def _gradients(self, rows) -> float:
        """Accumulates the gradient of the mean loss over the trained tokens of `rows`; returns that loss."""
        config, total = self.config, 0.0
        trained = max(1, self.data.train.trained(rows))
        self.model.train()
        for part in share_of(rows, self._process, self._processes, config.gradient_accumulation_steps):
            if not len(part):
                continue
            batch = collate(self.data.train, part, self._pad, self.device)
            with devices.autocast(self.precision, self.device):
                loss = self._loss(batch) / trained
            self.optimizer.expect_parts(self._loss.passes)
            loss.backward()
            total += loss.item()
        return total if self._processes == 1 else sum_over_processes([total], self.device)[0]

    def _account(self, rows, seconds: float) -> None:
        self._seconds.append(seconds)
        self._rates.append((int(self.data.train.lengths[rows].sum()), seconds))

    def _tell(self, loss: float, norm: float, rate: float, finite: bool, refreshed) -> None:
        progress = self.progress
        if refreshed:
            layers = [
                {
                    "name": name,
                    "energy": round(r.energy, 5),
                    "overlap": None if r.overlap is None else round(r.overlap, 5),
                }
                for name, r in refreshed
            ]
            self._report("refresh", step=progress.step, layers=layers)
        if not finite:
            progress.skipped += 1
            progress.skipped_in_a_row += 1
            self._report("skip", step=progress.step, reason="non_finite")
            if progress.skipped_in_a_row >= MOST_SKIPS:
                raise NonFinite(f"{MOST_SKIPS} steps in a row had no finite gradient.")
            return
        progress.skipped_in_a_row = 0
        progress.loss = loss
        self._report(
            "step",
            step=progress.step,
            loss=round(loss, 6),
            lr=rate,
            grad_norm=round(norm, 6),
            tokens=progress.tokens,
            tokens_per_second=round(sum(t for t, _ in self._rates) / max(1e-9, sum(s for _, s in self._rates)), 1),
            memory_bytes=devices.current_bytes(self.device),
            peak_memory_bytes=devices.peak_bytes(self.device),
            eta_seconds=round(self._seconds_left(), 1),
            epoch=round(progress.step / self._batches.per_epoch, 3),
        )

    def _seconds_left(self) -> float:
        left = self.config.max_steps - self.progress.step
        typical = sorted(self._seconds)[len(self._seconds) // 2]
        evaluations = 1 + (left // self.config.eval_steps if self.config.eval_steps else 0)
        return left * typical + (evaluations * self._eval_seconds if left else 0.0)

    # ---- what the model has learned so far

    @torch.no_grad()
    def evaluate(self) -> None:
        """Held-out loss, and the model's answers to the sample prompts."""
        self._report("phase", phase="evaluating")
        started = time.monotonic()
        self.model.eval()
        if len(self.data.held_out):
            loss = self._held_out_loss()
            progress = self.progress
            progress.eval_loss = loss
            progress.first_eval_loss = loss if progress.first_eval_loss is None else progress.first_eval_loss
            if math.isfinite(loss):
                self._report("eval", step=progress.step, loss=round(loss, 6), records=len(self.data.held_out))
        if self._process == 0 and self.data.samples:
            self._answer()
        self._eval_seconds = time.monotonic() - started

    def _held_out_loss(self) -> float:
        rows: TokenRows = self.data.held_out
        order = sorted(range(len(rows)), key=lambda i: -int(rows.lengths[i]))
        mine = [order[i : i + self.config.batch_size] for i in range(0, len(order), self.config.batch_size)]
        total, count = 0.0, 0
        for indices in mine[self._process :: self._processes]:
            with devices.autocast(self.precision, self.device):
                total += self._loss(collate(rows, indices, self._pad, self.device)).item()
            count += rows.trained(indices)
        if self._processes > 1:
            total, count = sum_over_processes([total, float(count)], self.device)
        return total / max(1, count)

    def _answer(self) -> None:
        for sample in self.data.samples:
            ids = torch.tensor([sample["ids"]], device=self.device)
            with devices.autocast(self.precision, self.device):
                out = self.model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=_SAMPLE_TOKENS,
                    do_sample=False,
                    eos_token_id=self._tokenizer.eos_token_id,
                    pad_token_id=self._pad,
                )
            text = self._tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
            fields = {"prompt": sample["prompt"], "expected": sample["expected"]}
            self._report("sample", step=self.progress.step, text=text, **fields)

    # ---- what a checkpoint holds

    def checkpoint(self) -> Checkpoint:
        tensors, numbers = self.optimizer.state()
        weights = {name: p.data for name, p in self.model.named_parameters() if p.requires_grad}
        groups = {"weights": weights, "optimizer": tensors, "random": rng_state()}
        numbers = {"optimizer": numbers, "progress": vars(self.progress).copy()}
        return Checkpoint(self.progress.step, groups, numbers)

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from `checkpoint` as if it had never ended."""
        parameters = dict(self.model.named_parameters())
        for name, tensor in checkpoint.groups["weights"].items():
            parameters[name].copy_(tensor)
        self.optimizer.load_state(checkpoint.groups["optimizer"], checkpoint.numbers["optimizer"])
        set_rng_state(checkpoint.groups["random"])
        self.progress = Progress(**checkpoint.numbers["progress"])


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate of step `step` (from 0): linear warm-up, then constant, or down to zero linearly or along a cosine."""
    warmup = min(config.warmup_steps, config.max_steps // 2)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, config.max_steps - warmup)
    factors = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return config.learning_rate * factors[config.schedule]
