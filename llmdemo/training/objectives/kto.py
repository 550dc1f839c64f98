"""KTO: answers that are marked as desired or not, each for itself (Ethayarajh et al., arXiv 2402.01306, eq. 7 and 8).

With g an answer's log-ratio of the policy to the model that training started from, a desired answer's loss is
λ_D·(1 − σ(β·(g − z))), an undesired one's λ_U·(1 − σ(β·(z − g))). z is an estimate of the policy's KL divergence: the mean
log-ratio of answers that belong to other prompts, over the batch, and not below 0; nothing is learned through it.

Row 2i is item i, row 2i + 1 its prompt with an answer to another prompt.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from llmdemo.core.errors import UserError
from llmdemo.data.render import conversation
from llmdemo.settings.training import TrainConfig
from llmdemo.training.batches import RunData, TokenRows
from llmdemo.training.memory_estimate import Batch
from llmdemo.training.objectives.base import Part, Source
from llmdemo.training.objectives.pairs import pair_samples, pairs_of, rows_of
from llmdemo.training.objectives.preference import Preference, place_size, sums_of
from llmdemo.training.objectives.tally import Tally

_NEIGHBOURS = 50
"""Items after one among which an answer that differs from its own is looked for."""


class Kto(Preference):
    """The task kto. An item is one answer."""

    task = "kto"
    figures: tuple[str, ...] = ("reward_accuracy", "kl")

    @classmethod
    def encode(cls, source: Source, config: TrainConfig, tokenizer) -> RunData:
        tally = Tally(config.max_length)
        parts = []
        for part in (source.train, source.held_out[: config.eval_records]):
            taken = pairs_of(iter(matched(items_of(source.records, part))), config, tokenizer, tally)
            parts.append(taken)
        train, judged = parts
        marks = [record["desired"] for record, _ in train]
        if train and len(set(marks)) < 2:
            raise UserError("err_kto_one_kind", n=len(train))
        facts = {
            "notes": tally.notes(), "left_out": tally.counts, "train_records": len(train),
            "card": {"desired answers": sum(marks), "undesired answers": len(marks) - sum(marks)},
        }  # fmt: skip
        return RunData(_rows(train), _rows(judged), pair_samples(judged, tokenizer), {}, {}, facts)

    def shape(self, items) -> Batch:
        return Batch(len(items), int(self.lengths[items].max()), self.data.train.trained(2 * np.asarray(items)))

    def loss_sum(self, items) -> tuple[Tensor, dict[str, float]]:
        (part,) = self._with_one_kl([np.asarray(items)])
        return part()

    def parts(self, items) -> list[Part]:
        return self._with_one_kl(self.place.parts(items, self.lengths))

    def _with_one_kl(self, parts: list[np.ndarray]) -> list[Part]:
        """The losses of parts of a micro-batch, which have the KL of it all in common."""
        with torch.no_grad():
            gains = [self._gains("train", 2 * part + 1) for part in parts]
        return [partial(self._judge_part, part, torch.cat(gains).mean().clamp(min=0)) for part in parts]

    def _judge_part(self, items: np.ndarray, strayed: Tensor) -> tuple[Tensor, dict[str, float]]:
        return self._summed(self._gains("train", 2 * items), self._desired("train", items), strayed)

    def _desired(self, name: str, items: np.ndarray) -> Tensor:
        marks = self._parts()[name].classes_of(2 * items)
        return torch.from_numpy(marks.astype(bool)).to(self.place.device)

    def _gains(self, name: str, rows: np.ndarray) -> Tensor:
        """[rows] log-ratio of the policy to the reference, summed over each answer."""
        entropies, of = self._loss.tokens(self._batch(self._parts()[name], rows))
        return sums_of(self._ratios(name, rows, entropies), of, len(rows))

    def _summed(self, gains: Tensor, desired: Tensor, strayed: Tensor) -> tuple[Tensor, dict[str, float]]:
        config = self.place.config
        losses = kto_losses(gains, desired, strayed, config)
        right = ((gains > strayed) == desired).float().sum().item()
        return losses.sum(), {"reward_accuracy": right, "kl": float(strayed) * len(gains)}

    @torch.no_grad()
    def evaluate(self, last: bool = True) -> tuple[dict[str, float], int]:
        count = len(self.data.held_out) // 2
        if not count or not self._reference:
            return {}, 0
        size, place, gains = 2 * place_size(self.place), self.place.judging, np.zeros(2 * count)
        order = np.argsort(-self._pair_lengths("held_out"), kind="stable")
        for start in range(place.process * size, count, place.processes * size):
            for part in place.parts(order[start : start + size], self._pair_lengths("held_out"), rows=2):
                rows = rows_of(part)
                with place.autocast():
                    gains[rows] = self._gains("held_out", rows).float().cpu().numpy()
        own, other = torch.tensor(place.sum(gains.tolist())).view(-1, 2).T
        desired = self._desired("held_out", np.arange(count)).cpu()
        loss, figures = self._summed(own, desired, other.mean().clamp(min=0))
        return {name: value / count for name, value in {"loss": loss.item(), **figures}.items()}, count


def kto_losses(gains: Tensor, desired: Tensor, strayed: Tensor, config: TrainConfig) -> Tensor:
    """[answers] losses from log-ratios [answers], marks [answers] and the estimate of KL []."""
    sides = torch.where(desired, gains - strayed, strayed - gains)
    weights = torch.where(desired, config.desired_weight, config.undesired_weight)
    return weights * (1 - torch.sigmoid(config.beta * sides))


def items_of(records, part: Iterable[int]) -> Iterator[dict]:
    """{"row", "messages" (the prompt), "chosen" (the answer), "desired"}: of a pair two, of a conversation its last answer."""
    undesired = records.flagged("undesired") if records.task == "chat" else None
    for index in part:
        record = records[int(index)]
        about = {"row": record.get("row"), **({"tools": record["tools"]} if "tools" in record else {})}
        if undesired is None:
            for side in ("chosen", "rejected"):
                yield {**about, "messages": record["messages"], "chosen": record[side], "desired": side == "chosen"}
            continue
        turns = conversation(record)
        last = max((place for place, turn in enumerate(turns) if turn["role"] == "assistant"), default=None)
        if last:
            own = {"messages": list(turns[:last]), "chosen": turns[last]["content"]}
            yield {**about, **own, "desired": not undesired[int(index)]}


def matched(items: Iterator[dict]) -> list[dict]:
    """The same items, each with an answer to another prompt as "rejected", or, where its neighbours have no other prompt,
    with another answer to its own; one whose neighbours all say the same is left as it is, and counted as alike."""
    known = list(items)
    for place, item in enumerate(known):
        others = [known[(place + step) % len(known)] for step in range(1, _NEIGHBOURS + 1)]
        others = [other for other in others if other["chosen"] != item["chosen"]]
        apart = (other["chosen"] for other in others if other["messages"] != item["messages"])
        item["rejected"] = next(apart, others[0]["chosen"] if others else item["chosen"])
    return known


def _rows(taken: list[tuple]) -> TokenRows:
    marks = [int(record["desired"]) for record, _ in taken for _ in range(2)]
    return TokenRows.from_lists([row for _, rows in taken for row in rows], marks)
