"""Preference tuning: of two answers to one prompt, the chosen one becomes likelier than the rejected one.

The losses themselves are in preference_losses.py. The log-probabilities of the model that training starts from, which some
of them compare with, are computed once and kept in the run's folder, token by token, so that no second model is in memory.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.training import TrainConfig
from llmdemo.training.batches import NOT_TRAINED, RunData, TokenRows, collate
from llmdemo.training.loss import CausalLoss
from llmdemo.training.memory_estimate import Batch
from llmdemo.training.objectives.base import Objective, Part, Place, Source, without_dropout
from llmdemo.training.objectives.chat import answered
from llmdemo.training.objectives.pairs import pair_rows, pair_samples, pairs_of, rows_of
from llmdemo.training.objectives.preference_losses import WITHOUT_REFERENCE, Answers, margins, pair_losses
from llmdemo.training.objectives.tally import Tally

REFERENCE_FILE = "data-reference.safetensors"
"""Named as what a bundle of the run takes along: a resumed run must go on with the same numbers."""


class Preference(Objective):
    """The task preference. Rows 2i and 2i + 1 are the chosen and the rejected answer of pair i."""

    task = "preference"
    figures: tuple[str, ...] = ("reward_margin", "reward_accuracy", "kl")

    @classmethod
    def encode(cls, source: Source, config: TrainConfig, tokenizer) -> RunData:
        records, tally = source.records, Tally(config.max_length)
        train = pairs_of((records[int(i)] for i in source.train), config, tokenizer, tally)
        judged = pairs_of((records[int(i)] for i in source.held_out[: config.eval_records]), config, tokenizer, tally)
        samples = pair_samples(judged, tokenizer)
        facts = {
            "notes": [*tally.notes(), *_odd(config)],
            "left_out": tally.counts,
            "train_records": len(train),
            "card": {"pairs": len(train)},
        }
        return RunData(pair_rows(train), pair_rows(judged), samples, {}, {}, facts)

    @classmethod
    def load(cls, entry, config: TrainConfig, data: RunData, dtype: torch.dtype, device: torch.device):
        model = super().load(entry, config, data, dtype, device)
        return without_dropout(model)  # with it, a policy would differ from its reference before the first step

    def __init__(self, place: Place, data: RunData):
        super().__init__(place, data)
        self._loss = CausalLoss(place.model)
        self._refers = place.config.preference_loss not in WITHOUT_REFERENCE
        if not self._refers:  # no KL: there is nothing to be near to
            self.figures = ("reward_margin", "reward_accuracy")
        self._reference: dict[str, np.ndarray] = {}
        self._starts = {name: _label_starts(rows) for name, rows in self._parts().items()}

    def _parts(self) -> dict[str, TokenRows]:
        return {"train": self.data.train, "held_out": self.data.held_out}

    @property
    def lengths(self) -> np.ndarray:
        return self._pair_lengths("train")

    def _pair_lengths(self, name: str) -> np.ndarray:
        """[pairs] tokens of the longer answer with its prompt."""
        return self._parts()[name].lengths.reshape(-1, 2).max(1)

    def tokens(self, items) -> int:
        return int(self.data.train.lengths.reshape(-1, 2)[items].sum())

    def shape(self, items) -> Batch:
        rows = rows_of(items)
        return Batch(len(rows), int(self.lengths[items].max()), self.data.train.trained(rows))

    @property
    def passes(self) -> int:
        return self._loss.passes

    def verify(self, items) -> list[str]:
        with self.place.autocast():
            self._loss.verify(self._batch(self.data.train, rows_of(items[-1:])))
        return []

    def _batch(self, rows: TokenRows, indices) -> dict[str, Tensor]:
        return collate(rows, indices, self.place.pad, self.place.device)

    # ---- the reference

    def begin(self, folder: Path, items: np.ndarray, report: Callable, agree: Callable[[], bool]) -> bool:
        """Takes the starting model's log-probabilities from the run's folder, or computes them and puts them there."""
        if not self._refers:
            return True
        path, place = folder / REFERENCE_FILE, self.place
        if path.is_file():
            self._reference = self._checked(load_file(path))
            return True
        wanted = {"train": rows_of(items), "held_out": np.arange(len(self.data.held_out))}
        found, total, done = {}, sum(map(len, wanted.values())), 0
        for name, indices in wanted.items():
            computes = place.judging if name == "held_out" else place  # as the policy's that they are compared with
            rows, starts = self._parts()[name], self._starts[name]
            values = np.zeros(starts[-1], np.float32)
            batches = place.batches(rows.lengths[indices], rows=1)
            for start in range(0, len(batches), place.processes):
                report("phase", phase="reference", done=done, total=total)
                if agree():
                    return False
                together = batches[start : start + place.processes]
                for batch in together[place.process : place.process + 1]:
                    self._compute(computes, rows, indices[batch], starts, values)
                done += sum(map(len, together))
            found[name] = np.array(place.sum(values.tolist()), np.float32)
        if place.process == 0:
            aside = path.with_suffix(".part")
            save_file(found, aside)
            aside.replace(path)
        self._reference = found
        return True

    def _checked(self, reference: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # A run that came from elsewhere may bring anything.
        if {name: values.shape for name, values in reference.items()} != {n: (s[-1],) for n, s in self._starts.items()}:
            raise UserError("err_reference_file", file=REFERENCE_FILE)
        return reference

    @torch.no_grad()
    def _compute(self, place: Place, rows: TokenRows, items, starts: np.ndarray, values: np.ndarray) -> None:
        place.model.eval()
        with place.autocast():
            entropies, _ = self._loss.tokens(self._batch(rows, items))
        where = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in items])
        values[where] = -entropies.float().cpu().numpy()

    # ---- the loss

    def loss_sum(self, items) -> tuple[Tensor, dict[str, float]]:
        return self._judge("train", items, items)

    def parts(self, items) -> list[Part]:
        return [partial(self._judge, "train", part, items) for part in self.place.parts(items, self.lengths)]

    def _judge(self, name: str, items, batch) -> tuple[Tensor, dict[str, float]]:
        """(sum of the pairs' losses, sums of the figures) of these pairs, which are part of `batch`."""
        rows, starts, config = self._parts()[name], self._starts[name], self.place.config
        indices = rows_of(items)
        entropies, of = self._loss.tokens(self._batch(rows, indices))
        counts = torch.from_numpy(np.diff(starts)[indices]).to(entropies)
        sums = sums_of(-entropies, of, len(indices))
        ratios = self._ratios(name, indices, entropies) if self._refers else None
        gains = None if ratios is None else sums_of(ratios, of, len(indices))
        pairs = len(items)
        chosen, rejected = (
            Answers(sums[part], None if gains is None else gains[part], counts[part])
            for part in (slice(None, pairs), slice(pairs, None))
        )
        with torch.no_grad():
            margin = margins(chosen, rejected, config)
            figures = {"reward_margin": margin.sum().item(), "reward_accuracy": (margin > 0).float().sum().item()}
            if ratios is not None:
                # Half the squared log-ratio a token, Schulman's k2 (joschu.net/blog/kl-approx.html). The tokens are the
                # data's, not the policy's, so it is no unbiased estimate; k3 would grow as e to the log-ratio there. The
                # rejected answers are left out: tuning makes them ever rarer, and the policy would not write them.
                drift = sums_of(ratios.float().square() / 2, of, len(indices)) / counts
                figures["kl"] = drift[:pairs].sum().item()
        usual = np.diff(starts)[2 * np.asarray(batch)].mean()
        return pair_losses(chosen, rejected, config, usual).sum(), figures

    def _ratios(self, name: str, indices: np.ndarray, entropies: Tensor) -> Tensor:
        """[n] log-ratio of the policy to the reference of each trained token of these rows."""
        starts = self._starts[name]
        reference = np.concatenate([self._reference[name][starts[i] : starts[i + 1]] for i in indices])
        return -entropies - torch.from_numpy(reference).to(entropies.device)

    @torch.no_grad()
    def evaluate(self, last: bool = True) -> tuple[dict[str, float], int]:
        pairs = len(self.data.held_out) // 2
        if not pairs or (self._refers and not self._reference):
            return {}, 0
        size, place = place_size(self.place), self.place.judging
        lengths = self._pair_lengths("held_out")
        order = np.argsort(-lengths, kind="stable")
        totals = dict.fromkeys(("loss", *self.figures), 0.0)
        for start in range(place.process * size, pairs, place.processes * size):
            batch = order[start : start + size]
            for part in place.parts(batch, lengths):
                with place.autocast():
                    loss, figures = self._judge("held_out", part, batch)
                for name, value in {"loss": loss.item(), **figures}.items():
                    totals[name] += value
        sums = place.sum(list(totals.values()))
        return {name: total / pairs for name, total in zip(totals, sums, strict=True)}, pairs

    def answers(self) -> Iterator[dict]:
        yield from answered(self.place, self.data.samples)


def sums_of(values: Tensor, of: Tensor, rows: int) -> Tensor:
    """[rows] sums of the tokens' values [n], which are in the rows `of` [n]."""
    return torch.zeros(rows, device=values.device, dtype=values.dtype).index_add(0, of, values)


def _odd(config: TrainConfig) -> list[str]:
    """What people should know of settings that DPO would want so."""
    if config.preference_loss != "simpo" or config.beta >= 1:
        return []
    return [say("note_simpo_beta", beta=f"{config.beta:g}")]


def place_size(place: Place) -> int:
    """Pairs of one pass of an evaluation."""
    return max(1, math.ceil(place.config.batch_size / 2))


def _label_starts(rows: TokenRows) -> np.ndarray:
    """[rows + 1] where each row's trained tokens begin among all trained tokens."""
    trained = np.concatenate([[0], np.cumsum(rows.labels != NOT_TRAINED)])
    return trained[rows.offsets]
