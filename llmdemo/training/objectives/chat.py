"""Instruction data: each answer's tokens are trained, behind the conversation that leads to it.

Also what raw text shares with it: a causal loss over rows, packed or not, and samples that are written.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from llmdemo.core.sentences import say
from llmdemo.data.encode import encode_many, encode_prompt
from llmdemo.data.render import TEMPLATE_KEYS, conversation, takes
from llmdemo.models.load import positions
from llmdemo.settings.training import TrainConfig
from llmdemo.training.batches import (
    FixedBatch,
    RunData,
    TokenRows,
    collate,
    collate_fixed,
    collate_packed,
    collate_unpacked,
)
from llmdemo.training.loss import CausalLoss
from llmdemo.training.memory_estimate import Batch
from llmdemo.training.objectives.base import SAMPLE_TOKENS, SAMPLES, Objective, Place, Source
from llmdemo.training.objectives.known import known_of, known_rows
from llmdemo.training.objectives.tally import Tally
from llmdemo.training.objectives.writing import draw, write_greedily
from llmdemo.training.packing import pack

_WIDTHS = 8
"""Widths of the batches of fixed shape: shares of the longest row."""
_LEAKS = {True: 1e-4, False: 2e-2}
"""Relative difference of the packed loss above which packing is not used: in fp32, in less."""


class Causal(Objective):
    """The mean of −log p over the trained tokens of a step."""

    def __init__(self, place: Place, data: RunData):
        super().__init__(place, data)
        self._loss = CausalLoss(place.model)
        self.packs = data.train.positions is not None
        """Whether packed rows go through the model as they are."""

    @property
    def passes(self) -> int:
        return self._loss.passes

    def normaliser(self, items) -> float:
        return max(1, self.data.train.trained(items))

    def verify(self, items) -> list[str]:
        rows = self.data.train
        if rows.positions is None:
            with self.place.autocast():
                self._loss.verify(self._batch(rows, items[-2:]))
            return []
        # The row with the most documents: one with a single document would show no leak.
        mixed = [int(np.argmax(np.add.reduceat(rows.positions == 0, rows.offsets[:-1])))]
        with torch.no_grad(), self.place.autocast():
            apart = collate_unpacked(rows, mixed, self.place.pad, self.place.device)
            self._loss.verify(apart)
            together = self._loss(collate_packed(rows, mixed, self.place.pad, self.place.device)).item()
            expected = self._loss(apart).item()
        exact = self.place.precision == "fp32"
        self.packs = abs(together - expected) <= _LEAKS[exact] * max(abs(expected), 1e-6)
        if self.packs:
            return []
        return [say("note_packing_rows")]

    def shape(self, items) -> Batch:
        return replace(super().shape(items), shared=self._loss.shared(self._batch(self.data.train, items)))

    def _batch(self, rows: TokenRows, items) -> dict[str, torch.Tensor]:
        make = collate if rows.positions is None else collate_packed if self.packs else collate_unpacked
        return make(rows, items, self.place.pad, self.place.device)

    def loss_sum(self, items) -> tuple[torch.Tensor, dict[str, float]]:
        return self._loss(self._batch(self.data.train, items)), {}

    def fixed(self, items) -> FixedBatch | None:
        rows = self.data.train
        if rows.positions is not None or not self._loss.lean:
            return None
        unit = 16 * max(1, -(-int(rows.lengths.max()) // (16 * _WIDTHS)))
        return collate_fixed(rows, items, self.place.pad, unit, positions(self.place.model))

    def fixed_loss(self, batch: FixedBatch) -> torch.Tensor:
        return self._loss.fixed(batch)

    def evaluate(self, last: bool = True) -> tuple[dict[str, float], int]:
        rows = self.data.held_out
        return ({"loss": self.mean_loss(rows)} if len(rows) else {}), len(rows)

    @torch.no_grad()
    def mean_loss(self, rows: TokenRows) -> float:
        """Mean of −log p over the trained tokens of all rows, over all processes."""
        total = count = 0.0
        for items in self.place.mine(rows.lengths):
            with self.place.judging.autocast():
                total += self._loss(self._batch(rows, items)).item()
            count += rows.trained(items)
        total, count = self.place.sum([total, count])
        return total / max(1, count)

    def answers(self) -> Iterator[dict]:
        yield from answered(self.place, self.data.samples)


class Chat(Causal):
    """The task chat."""

    task = "chat"

    def __init__(self, place: Place, data: RunData):
        super().__init__(place, data)
        self._known = known_of(self)

    def observed(self) -> Iterator[tuple[str, dict]]:
        if self._known:
            yield from self._known.observed(lambda rows, items: self._loss(self._batch(rows, items)))

    @classmethod
    def encode(cls, source: Source, config: TrainConfig, tokenizer) -> RunData:
        records, tally = source.records, Tally(config.max_length)
        taken = chat_pieces((records[int(i)] for i in source.train), config, tokenizer, tally)
        encoded = [piece for _, piece in taken]
        train = pack(encoded, config.max_length) if config.packing else TokenRows.from_lists(encoded)
        judged = chat_pieces(
            (records[int(i)] for i in source.held_out[: config.eval_records]), config, tokenizer, tally
        )
        samples = [chat_sample(conversation(record), tokenizer) for record, _ in judged[:SAMPLES]]
        known, facts, notes = known_rows(source, config, tokenizer)
        return RunData(train, TokenRows.from_lists([piece for _, piece in judged]), samples, {}, {"known": known}, {
            "notes": [*tally.notes(), *notes], "left_out": tally.counts, "train_records": len(encoded), "known": facts,
        })  # fmt: skip


def chat_pieces(records: Iterator[dict], config: TrainConfig, tokenizer, tally: Tally | None = None) -> list[tuple]:
    """[(record, (ids, labels))] of the conversations with at least one trained token: one without would only cost time.

    `tally` counts the others.
    """
    tally = tally or Tally(config.max_length)
    seen: deque[dict] = deque()
    encoded = encode_many(watched(records, seen), tokenizer, config.max_length, config.loss_on, refuse=False)
    pairs = ((seen.popleft(), row) for row in encoded)
    taken = [(record, (row.input_ids, row.labels)) for record, row in pairs if tally.takes(record, row)]
    for name in (name for name in TEMPLATE_KEYS if not takes(tokenizer, name)):
        for record in (record for record, _ in taken if name in record):
            tally.add(f"no_{name}", record)
    return taken


def watched(records: Iterator[dict], seen: deque) -> Iterator[dict]:
    """The records, each put into `seen` as it is taken: what is encoded in batches comes back in the same order."""
    for record in records:
        seen.append(record)
        yield record


def chat_sample(messages: list[dict], tokenizer, expected: str | None = None) -> dict:
    """The conversation up to its last answer, as a prompt, and that answer (or `expected`, to the whole of it)."""
    if expected is None:
        last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
        messages, expected = messages[:last], messages[last]["content"]
    return {
        "prompt": messages[-1]["content"][:400] if messages else "",
        "expected": expected[:400],
        "ids": encode_prompt(messages, tokenizer)[-1024:],
    }


def answered(place: Place, samples: list[dict], temperature: float = 0.0) -> Iterator[dict]:
    """{"prompt", "text", "expected"} of each sample: what the model writes, all samples at once; see `write`."""
    texts = write(place.judging, [sample["ids"] for sample in samples], temperature)
    for sample, text in zip(samples, texts, strict=True):
        yield {"text": text, **{key: sample[key] for key in ("prompt", "expected")}}


def write(place: Place, prompts: list[list[int]], temperature: float = 0.0) -> list[str]:
    """What the model goes on with after each prompt, greedily, or drawn at a temperature by the run's seed, with the same
    random numbers each time. Of a prompt too long for its positions, the end is kept."""
    limit = positions(place.model)
    new = SAMPLE_TOKENS if limit is None else min(SAMPLE_TOKENS, max(1, limit // 2))
    prompts = prompts if limit is None else [prompt[-max(1, limit - new) :] for prompt in prompts]
    if temperature:
        seeds = [[place.config.seed, i] for i in range(len(prompts))]
        answers = draw(place, prompts, 1, new, seeds, temperature)
    else:
        answers = [answer.token_ids for answer in write_greedily(place, prompts, new)]
    # `str` for the types alone: `decode` gives a list only for a list of answers.
    return [str(place.tokenizer.decode(ids, skip_special_tokens=True)) for ids in answers]
