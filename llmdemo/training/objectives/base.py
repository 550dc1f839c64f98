"""What the loop asks of a task. Knows nothing of optimizers, steps and events."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data.records import Records
from llmdemo.decoding.engine import check_tokens
from llmdemo.models.load import load_causal, load_tokenizer, positions, usable_pad
from llmdemo.settings.training import TrainConfig, rows_of
from llmdemo.training import device as devices
from llmdemo.training.batches import POOL, FixedBatch, RunData, in_parts
from llmdemo.training.memory_estimate import Batch
from llmdemo.training.reduce import sum_over_processes

SAMPLES = 2
"""Held-out prompts that the model answers at each evaluation."""
SAMPLE_TOKENS = 48
Part = Callable[[], tuple[Tensor, dict[str, float]]]
"""Gives (sum of the losses [] of a part of a micro-batch, sums of `figures`)."""


@dataclass(frozen=True)
class Source:
    """The records of a run's data set and how they are split."""

    home: Home
    records: Records
    train: np.ndarray
    held_out: np.ndarray
    """Indices of the records; those held out in the order in which they are asked (data.split.in_order)."""


@dataclass(frozen=True)
class Place:
    """What an objective computes with: the model, on its device, as one of several processes."""

    model: PreTrainedModel
    """With LoRA: inside of peft's wrapper, which answers for it."""
    tokenizer: PreTrainedTokenizerBase
    config: TrainConfig
    precision: str
    device: torch.device
    process: int = 0
    processes: int = 1
    check: Callable[..., None] = lambda *_: None
    """To be called now and then in long work; what it raises ends it."""

    @property
    def pad(self) -> int:
        return usable_pad(self.model, self.tokenizer)

    @property
    def judging(self) -> "Place":
        """The same, in the precision of evaluations (devices.judged_in)."""
        return replace(self, precision=devices.judged_in(self.precision, self.device))

    def autocast(self):
        return devices.autocast(self.precision, self.device)

    def sum(self, values: list[float]) -> list[float]:
        """Each value's sum over all processes."""
        return values if self.processes == 1 else sum_over_processes(values, self.device)

    def parts(self, items, lengths: np.ndarray, rows: int | None = None) -> list[np.ndarray]:
        """These items in parts that may go through the model at once, in their order; lengths: of every item's longest row;
        rows: of an item that go together, None: those that are learned from together."""
        items, most = np.asarray(items), self.config.pass_tokens
        rows = rows or rows_of(self.config) // self.config.batch_size
        return [items] if most is None else in_parts(items, rows * lengths[items], most)

    def batches(self, lengths: np.ndarray, size: int | None = None, rows: int | None = None) -> list[np.ndarray]:
        """Items of these lengths in batches of at most `size` (the config's batch_size), longest first, for all processes;
        rows: as in `parts`."""
        size, order = size or self.config.batch_size, np.argsort(-lengths, kind="stable")
        return [part for i in range(0, len(order), size) for part in self.parts(order[i : i + size], lengths, rows)]

    def mine(self, lengths: np.ndarray, size: int | None = None) -> list[np.ndarray]:
        """This process's share of `batches`."""
        return self.batches(lengths, size)[self.process :: self.processes]


class Objective:
    """One task. An item is what is counted in a batch: a conversation, a packed row, a text, or a pair."""

    task: ClassVar[str]
    figures: tuple[str, ...] = ()
    """Names of the figures that a step reports beside its loss."""
    pool: ClassVar[int] = POOL
    """Batches among which items are sorted by length."""

    # ---- before the run

    @classmethod
    def tokenizer(cls, entry):
        """The tokenizer that the run reads and saves. Raises UserError."""
        return load_tokenizer(entry)

    @classmethod
    def encode(cls, source: Source, config: TrainConfig, tokenizer) -> RunData:
        """The rows of the data set. Raises UserError where nothing is left to train on."""
        raise NotImplementedError

    @classmethod
    def load(
        cls, entry, config: TrainConfig, data: RunData, dtype: torch.dtype, device: torch.device
    ) -> PreTrainedModel:
        """The model that the run starts from. Raises UserError where it cannot learn this task."""
        model = load_causal(entry, dtype=dtype, device=device)[0]
        check_lengths(model, data)
        return model

    # ---- during it

    def __init__(self, place: Place, data: RunData):
        self.place, self.data = place, data

    @property
    def lengths(self) -> np.ndarray:
        """[items] tokens of each training item's longest row."""
        return self.data.train.lengths

    def tokens(self, items) -> int:
        """All tokens of these training items."""
        return int(self.data.train.lengths[items].sum())

    def cost(self, items) -> int:
        """Tokens, padding included, that these items take: the dry step tries the dearest batch."""
        return len(items) * int(self.lengths[items].max())

    def normaliser(self, items) -> float:
        """What the sum of these items' losses is divided by, over all micro-batches and processes of a step."""
        return max(1, len(items))

    def shape(self, items) -> Batch:
        """The batch that these items make, for the memory estimate."""
        return Batch(len(items), int(self.lengths[items].max()), self.data.train.trained(items))

    @property
    def passes(self) -> int:
        """Times that the last loss went through each layer."""
        return 1

    def begin(self, folder: Path, items: np.ndarray, report: Callable, agree: Callable[[], bool]) -> bool:
        """What is computed once from the untouched weights and kept in the run's folder; False if `agree()` said stop.

        items: the training items that the run will take.
        """
        return True

    def verify(self, items) -> list[str]:
        """Checks on a few items that short ways give the model's own loss; returns what people should know of it."""
        return []

    def ready(self, step: int, items_of: Callable[[int], np.ndarray], report: Callable) -> None:
        """Before step `step` (from 0), whose items are items_of(step): what is made anew from the weights as they are.

        May take long; calls `place.check` meanwhile, and may be called again for the same step. Raises halt.Halt.
        """

    def after(self) -> None:
        """After the step that `ready` was called for. Raises halt.Halt where the weights are not to be kept."""

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """(tensors, JSON-able numbers) that a resumed run needs to go on with; `restore` takes them back."""
        return {}, {}

    def restore(self, tensors: dict[str, Tensor], numbers: dict) -> None:
        """Takes back what `state` gave."""

    def loss_sum(self, items) -> tuple[Tensor, dict[str, float]]:
        """(sum of the items' losses [], sums of `figures`), to be divided by the step's `normaliser`."""
        raise NotImplementedError

    def parts(self, items) -> list[Part]:
        """`loss_sum` of a micro-batch as the sum of parts that take less memory (TrainConfig.pass_tokens), each to be called
        when the one before has gone back."""
        return [partial(self.loss_sum, part) for part in self.place.parts(items, self.lengths)]

    def fixed(self, items) -> FixedBatch | None:
        """These training items in one of few shapes, on the CPU, for `fixed_loss`; None where there is no such form."""
        return None

    def fixed_loss(self, batch: FixedBatch) -> Tensor:
        """As `loss_sum`, of a batch on the model's device; waits for no value, so that a GPU can replay it."""
        raise NotImplementedError

    def evaluate(self, last: bool = True) -> tuple[dict[str, float], int]:
        """(figures on what is held out, "loss" first, {} where nothing is; of how many items). The same on all processes.

        `last`: whether it is the run's last evaluation, which may take longer than those on the way.
        """
        raise NotImplementedError

    def on_the_way(self, figures: dict[str, float]) -> dict[str, float]:
        """Of the newest evaluation, whose figures are `figures`: those on the items alone that are judged on the way too.

        Only these compare with an earlier evaluation's.
        """
        return figures

    def judged(self, last: bool) -> int:
        """Held-out items of which `evaluate` gives figures; the last time there may be more."""
        return len(self.data.held_out)

    def answers(self) -> Iterator[dict]:
        """{"prompt", "text", "expected"} for each sample. Called on the first process only."""
        yield from ()

    def observed(self) -> Iterator[tuple[str, dict]]:
        """(event, its fields) of what else an evaluation tells. Called on the first process only."""
        yield from ()

    def about(self) -> dict:
        """Rows of the model card that only this task has."""
        return dict(self.data.facts.get("card", {}))


def end_ids(model: PreTrainedModel, tokenizer) -> list[int]:
    """The tokens that end a text: all that the base model's files name, and the one that was trained as the end."""
    configs = (getattr(model, "generation_config", None), model.config, model.config.get_text_config())
    told = [getattr(config, "eos_token_id", None) for config in configs] + [tokenizer.eos_token_id]
    lists = [[each] if isinstance(each, int) else each for each in told if each is not None]
    return list(dict.fromkeys(token for each in lists for token in each))


def check_lengths(model: nn.Module, data: RunData) -> None:
    """Raises UserError where a row is longer than the model has positions, or has a token that it does not know."""
    rows = (data.train, data.held_out, *data.more.values())
    check_tokens(model, [max(int(each.ids.max(initial=0)) for each in rows)])
    check_tokens(model, [max(sample.get("ids") or [0]) for sample in data.samples])
    limit = positions(model)
    longest = max(int(each.lengths.max(initial=0)) for each in rows)
    if limit is not None and longest > limit:
        raise UserError("err_longest_record", longest=longest, limit=limit)


def without_dropout(model: PreTrainedModel) -> PreTrainedModel:
    """The model, each of whose dropouts drops nothing any more."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model
