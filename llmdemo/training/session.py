"""One attempt at a run, inside its worker: set-up, loop, checkpoints, model. Joins what the other modules know apart."""

import importlib.metadata
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import readable_size, say
from llmdemo.models.catalog import LAST_MODEL, trust_model
from llmdemo.settings.training import Precision, rows_of
from llmdemo.training import automatic, memory_estimate, new_model, objectives, trackers
from llmdemo.training import best as bests
from llmdemo.training import checkpoint as checkpoints
from llmdemo.training import device as devices
from llmdemo.training.adapters import add_adapters
from llmdemo.training.build import build_optimizer
from llmdemo.training.checkpoint import Checkpoint
from llmdemo.training.checks import check_gpus, clamped, require_8bit, require_library, unused
from llmdemo.training.compiled import NOTHING, compile_parts
from llmdemo.training.ending import adopt, ended_early, publish_chosen, told_before
from llmdemo.training.loop import Loop
from llmdemo.training.measured import optimizer_bytes
from llmdemo.training.on_host import move_to_host
from llmdemo.training.prepare import model_entry, prepare_data, read_config
from llmdemo.training.quantised import quantise
from llmdemo.training.steps import StepWriter
from llmdemo.training.targets import about_experts
from llmdemo.training.untouched import untouched

_WHOLE = ("NO", "MULTI_CPU", "MULTI_GPU", "MULTI_NPU", "MULTI_XPU", "MULTI_MLU")
"""Accelerate's kinds of several processes in which each holds the whole model."""
_MODELS = 4
"""Models in fp32 that have to have room on the disk while a run's end is written: the last, and the published one's roundings."""
_PACKAGES = ("torch", "transformers", "accelerate", "galore-torch", "peft")


class Session:
    """`run` trains the run in `run_dir`; `report(kind, **fields)` writes an event, on the first process only."""

    def __init__(self, run_dir: Path, home: store.Home, report):
        self._run_dir, self._home = run_dir, home
        self._started = time.time()
        self._config = read_config(run_dir)
        if self._config.method == "galore" and self._config.galore_optimizer == "adafactor":
            require_library()
        self._last: Checkpoint | None = None
        _check_launch(os.environ)
        self._here = int(os.environ.get("LOCAL_WORLD_SIZE") or self._config.num_processes)
        check_gpus(self._config, torch.cuda.device_count(), self._here)
        tracker = self._config.log_with
        self._accelerator = _accelerator(trackers.accelerator_options(tracker, run_dir))
        if self._config.optim_bits == 8 and not self._config.quantises:
            require_8bit(self._accelerator.device)
        self._runtime = devices.current_bytes(torch.device("cpu"))  # the optimizer's library included
        self._report = trackers.tracked(report, self._accelerator, tracker, run_dir, self._config.to_dict())
        _check_kind(self._accelerator.distributed_type.name)
        threading.Thread(target=_wake, args=(self._accelerator.device,), daemon=True).start()
        if self._accelerator.num_processes != self._config.num_processes:
            raise UserError(
                "err_processes_differ", asked=self._config.num_processes, launched=self._accelerator.num_processes
            )

    def run(self, stop) -> dict:
        """Trains to the end or until `stop()`; returns the end event's fields. Raises UserError and what torch raises."""
        self._make_new_model()
        entry = model_entry(self._home, self._run_dir, self._config)
        tokenizer = objectives.of(self._config.task).tokenizer(entry)
        data = self._data(tokenizer)
        loop = self._loop(entry, tokenizer, data)
        finished = (self._run_dir / "model").is_dir() or self._train(loop, stop)
        self._tell_peak(loop)
        trackers.finish(self._accelerator, self._config.log_with)
        if not finished:
            message: str = say("end_stopped_at", step=loop.progress.step, max_steps=self._config.max_steps)
            return {"state": "stopped", "reason": "", "message": message, "hint": say("resume_here")}
        self._publish(loop, entry, tokenizer, data)
        message = ended_early(loop)
        return {"state": "completed", "reason": "", "message": message, "hint": "", "model_id": self._run_dir.name}

    def _make_new_model(self) -> None:
        """The tokenizer and random weights that a run of the task pretrain starts from, made once."""
        if self._config.task == "pretrain":
            self._report("phase", phase="new_model")
            if self._accelerator.is_main_process:
                for note in new_model.make(self._run_dir, self._home, self._config):
                    self._report("note", message=note)
            self._accelerator.wait_for_everyone()

    def _train(self, loop: Loop, stop) -> bool:
        """From the beginning or from the newest checkpoint; False if it was stopped."""
        begun = loop.begin(self._run_dir, stop)
        if self._last:
            loop.restore(self._last)
            self._last = None
        if begun:
            self._keep_best(loop)
        return begun and loop.run(stop, self._save)

    def _keep_best(self, loop: Loop) -> None:
        """Says how the best step is found, and lets the loop keep its weights. OSError where the disk has no room."""
        if loop.progress.step == 0:
            for note in told_before(loop, self._config):
                self._report("note", message=note)
        if self._config.keep_steps and self._accelerator.is_main_process:
            keep = StepWriter(self._run_dir, loop, self._config, self._report)
            if loop.progress.step == 0:
                self._report("note", message=keep.promise())
            keep.begin()
            loop.after_step = keep
        lost = adopt(self._run_dir, loop)
        if lost:
            self._report("note", message=lost)
        if self._config.best_by == "last" or not bests.has_evaluations_between(self._config):
            return
        if loop.objective.judged(last=False) and self._accelerator.is_main_process:
            if loop.progress.step < self._config.max_steps:
                bests.check_room(self._run_dir, 2 * bests.bytes_of(loop.model))
            loop.keep = lambda best: bests.keep(self._run_dir, bests.trained(loop.model), best)

    def _data(self, tokenizer):
        self._report("phase", phase="tokenising")
        if self._accelerator.is_main_process:
            prepare_data(self._run_dir, self._home, self._config, tokenizer)
        self._accelerator.wait_for_everyone()
        data = prepare_data(self._run_dir, self._home, self._config, tokenizer)
        self._counts = {key: data.about.get(key) for key in ("train_records", "held_out_records")}
        self._counts["left_out"] = data.facts.get("left_out", {})
        for note in data.facts.get("notes", []):
            self._report("note", message=note)
        return data

    def _loop(self, entry, tokenizer, data) -> Loop:
        self._report("phase", phase="loading")
        device = self._accelerator.device
        precision = self._precision(entry, data)
        self._config = config = replace(self._config, precision=precision)
        devices.allow_fast_products(precision, device)
        torch.manual_seed(config.seed)
        model = self._model(entry, data)
        if config.compile and not compile_parts(model):
            self._report("note", message=NOTHING)
        optimizer = build_optimizer(model, config)
        spaces = [slot.subspace for slot in optimizer.slots]
        for note in (
            *unused(config, device.type),
            *clamped(spaces, config.rank),
            *about_experts(model, config.method),
        ):
            self._report("note", message=note)
        loop = Loop(model, tokenizer, optimizer, data, config, precision, self._report)
        self._report("phase", phase="estimating")
        if self._recomputes(entry, loop):
            self._config = config = replace(config, activation_checkpointing=True)
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            loop = Loop(model, tokenizer, optimizer, data, config, precision, self._report)
        loop.untouched = untouched(self._home, self._run_dir, entry.path, config, device)
        self._tell_memory()
        self._last = checkpoints.newest(self._run_dir / "checkpoints")
        self._announce(loop, precision)
        return loop

    def _model(self, entry, data):
        """The model as the run starts from it, the same each time: with adapters, and with a fresh head drawn by the seed."""
        config = self._config
        torch.manual_seed(config.seed)
        dtype, device = devices.weight_dtype(config.precision), self._accelerator.device
        if config.quantises:  # a GPU need not have room for the whole model
            model = objectives.of(config.task).load(entry, config, data, dtype, torch.device("cpu"))
            quantised = quantise(model, config.target_modules, device)
            devices.give_back(device)  # what the plain matrices took lies in gaps between the quantised ones
            return quantised
        model = objectives.of(config.task).load(entry, config, data, dtype, device)
        return add_adapters(model, config) if config.method == "lora" else model

    def _precision(self, entry, data) -> Precision:
        """What the run computes in; where nobody asked for one, what is best and fits, the same at each resume."""
        config, device = self._config, self._accelerator.device
        if config.precision != "auto":
            return devices.resolve_precision(config.precision, device)
        usual = devices.precision_of(config, device)
        if self._accelerator.is_main_process:
            pure = device.type == "cuda" and usual == "bf16"
            precisions: tuple[Precision, ...] = (usual, "bf16_pure") if pure else (usual,)
            rows, longest = rows_of(config), int(data.train.lengths.max())
            longest += config.max_new_tokens if config.task == "grpo" else 0
            batch = memory_estimate.Batch(rows, longest, rows * longest)
            automatic.decide_precision(
                self._run_dir,
                config,
                precisions,
                lambda way: memory_estimate.report(entry, way, batch, device, here=self._here),
            )
        self._accelerator.wait_for_everyone()
        precision = automatic.decided_precision(self._run_dir)
        if precision == "bf16_pure" and not config.quantises:
            self._report("note", message=automatic.PURE_NOTE)
        return precision

    def _announce(self, loop: Loop, precision: str) -> None:
        self._report(
            "start",
            pid=os.getpid(),
            step=self._last.step if self._last else 0,
            total_steps=self._config.max_steps,
            task=self._config.task,
            method=self._config.method,
            parameters=sum(p.numel() for p in loop.model.parameters()),
            trained_parameters=sum(p.numel() for p in loop.model.parameters() if p.requires_grad),
            projected_matrices=len(loop.optimizer.slots),
            device=str(loop.device),
            precision=precision,
            **self._counts,
            seconds_to_start=round(time.time() - self._started, 1),
            versions={name: importlib.metadata.version(name) for name in _PACKAGES},
        )

    def _recomputes(self, entry, loop: Loop) -> bool:
        """Whether the backward pass computes activations again; says so where nobody asked for it."""
        if self._accelerator.is_main_process:
            self._predict = self._prediction(entry, loop)
            automatic.decide(self._run_dir, self._config, self._predict)
        self._accelerator.wait_for_everyone()
        chosen = automatic.decided(self._run_dir, self._config)
        if chosen and not getattr(loop.model, "supports_gradient_checkpointing", False):
            if not self._config.activation_checkpointing:
                return False
            raise UserError("err_no_checkpointing", kind=type(loop.model).__name__)
        if chosen and not self._config.activation_checkpointing:
            self._report("note", message=automatic.NOTE)
        return chosen

    def _prediction(self, entry, loop: Loop):
        """The memory estimate for a config, on the run's largest batch; each is made once."""
        taken, batch = devices.current_bytes(loop.device), loop.largest_batch()

        @cache
        def predict(config) -> dict:
            # Recomputed activations know no cache, so no beginning is shared then (loss.py).
            seen = replace(batch, shared=0) if config.activation_checkpointing else batch
            return memory_estimate.report(entry, config, seen, loop.device, taken, self._runtime, self._here)

        return predict

    def _tell_memory(self) -> None:
        """The prediction for the run's largest batch; `_tell_peak` tells it again with the measured peak."""
        if self._accelerator.is_main_process:
            self._ledger = self._predict(self._config)
            self._report("ledger", **self._ledger)

    def _tell_peak(self, loop: Loop) -> None:
        if self._accelerator.is_main_process:
            measured = {"total": devices.peak_bytes(loop.device), **optimizer_bytes(loop.optimizer)}
            self._report("ledger", **self._ledger, measured=measured)

    def _save(self, checkpoint: checkpoints.Checkpoint) -> None:
        """Writes a checkpoint where the disk has room for it: an old one is removed only after the new one is whole."""
        if self._accelerator.is_main_process:
            needed, free = checkpoints.size_of(checkpoint), store.free_bytes(self._run_dir)
            if free < needed * 1.05:
                raise OSError(28, f"a checkpoint needs {readable_size(needed)}, {readable_size(free)} are free")
            size = checkpoints.save(self._run_dir / "checkpoints", self._home.tmp, checkpoint)
            self._report("checkpoint", step=checkpoint.step, bytes=size)
        self._accelerator.wait_for_everyone()

    def _publish(self, loop: Loop, entry, tokenizer, data) -> None:
        self._report("phase", phase="saving")
        loop.optimizer.detach(loop.model)
        progress = loop.progress
        about = {
            "data": data.about["name"],
            "data set hash": data.about["content_hash"],
            **_card_records(data),
            "steps": progress.step,
            "tokens": progress.tokens,
            "loss": progress.loss,
            **loop.objective.about(),
        }
        main, config = self._accelerator.is_main_process, self._config
        if main and config.method != "lora" and not config.quantises:
            move_to_host(loop.model)  # once, for the checkpoint's files and the model's
        checkpoint = loop.checkpoint()
        if main:
            kept = self._save_last(loop, checkpoint)
            del checkpoint
            early = ended_early(loop)
            if early:
                self._report("note", message=early)
            try:
                publish_chosen(
                    *(self._run_dir, self._home.tmp, loop, entry, tokenizer, data, self._config, about),
                    fresh=lambda: self._model(entry, data),
                    report=self._report,
                    kept=kept,
                )
            finally:
                kept()
            for name in ("model", LAST_MODEL):
                if (self._run_dir / name).is_dir():
                    trust_model(self._home, self._run_dir / name)
        self._accelerator.wait_for_everyone()

    def _saved_steps(self) -> list[int]:
        return [int(folder.name[5:]) for folder in (self._run_dir / "checkpoints").glob("step-*")]

    def _save_last(self, loop: Loop, checkpoint: checkpoints.Checkpoint) -> Callable[[], None]:
        """Writes the last step's checkpoint, so that a crash while the model is written loses nothing; beside what follows
        where the disk has room for all of it. Returns what waits for its end, and raises what was raised meanwhile."""
        if checkpoint.step in (0, *self._saved_steps()):
            return lambda: None
        model = sum(p.numel() * 4 for p in loop.model.parameters())
        room = store.free_bytes(self._run_dir) > 1.05 * checkpoints.size_of(checkpoint) + _MODELS * model
        step = checkpoint.step
        told: list[int] = []
        writing = ThreadPoolExecutor(1).submit(
            checkpoints.save, self._run_dir / "checkpoints", self._home.tmp, checkpoint
        )

        def kept() -> None:
            size = writing.result()
            if not told:
                told.append(size)
                self._report("checkpoint", step=step, bytes=size)

        if not room:
            kept()
        return kept


def _card_records(data) -> dict:
    """Rows of the card: how many records were learned from and held out, and how many were left out and why."""
    rows = {"records": data.about["train_records"], "held-out records": data.about.get("held_out_records")}
    names = {"refused": "refused by the chat template", "too_long": "longer than max_length", "alike": "alike answers"}
    names |= {"untrained": "without a token to learn", "cut": "cut at max_length", "hidden": "learned in part"}
    told = [f"{count:,} {names.get(code, code)}" for code, count in data.facts.get("left_out", {}).items()]
    return rows | ({"records not learned, or not whole": ", ".join(told)} if told else {})


def _check_launch(environment) -> None:
    """`_check_kind` before Accelerator is made, which would first ask for packages that are of no use here."""
    for kind in ("DEEPSPEED", "FSDP", "MEGATRON_LM", "PARALLELISM_CONFIG"):
        if environment.get(f"ACCELERATE_USE_{kind}", "").lower() in ("1", "true", "yes", "on", "y", "t"):
            _check_kind(kind)


def _wake(device: torch.device) -> None:
    """Starts a GPU and its library of products, which takes seconds, beside what a run reads meanwhile."""
    if device.type == "cuda":
        with suppress(RuntimeError):  # who needs it next says what is wrong
            ones = torch.ones(16, 16, device=device)
            torch.mm(ones, ones)


def _check_kind(kind: str) -> None:
    """Raises UserError for a launch that cuts weights or gradients into pieces, or holds them elsewhere."""
    if kind not in _WHOLE:
        raise UserError("err_sharded", kind=kind)


def _accelerator(options: dict):
    from accelerate import Accelerator

    return Accelerator(mixed_precision="no", **options)
