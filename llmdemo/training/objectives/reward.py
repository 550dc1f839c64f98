"""A reward model: one number for an answer to a prompt, so that preferred answers get the higher one.

The model is a sequence classifier with one output, read at a row's last token. With r that number, the probability that the
chosen answer is preferred is σ(r_chosen − r_rejected) (Bradley & Terry 1952), and the loss is its −log, as in InstructGPT
(arXiv 2203.02155, eq. 1).
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import percent
from llmdemo.models.load import load_classifier, load_classifier_tokenizer
from llmdemo.settings.training import TrainConfig
from llmdemo.training.batches import RunData, TokenRows, collate
from llmdemo.training.memory_estimate import Batch
from llmdemo.training.objectives.base import Objective, Source, check_lengths
from llmdemo.training.objectives.pairs import pair_rows, pair_samples, pairs_of, rows_of
from llmdemo.training.objectives.tally import Tally

LABELS = ["reward"]
_BINS = 10


class Reward(Objective):
    """The task reward. Rows 2i and 2i + 1 are the chosen and the rejected answer of pair i."""

    task = "reward"
    figures: tuple[str, ...] = ("reward_margin", "reward_accuracy")

    @classmethod
    def encode(cls, source: Source, config: TrainConfig, tokenizer) -> RunData:
        records, tally = source.records, Tally(config.max_length)
        train = pairs_of((records[int(i)] for i in source.train), config, tokenizer, tally)
        judged = pairs_of((records[int(i)] for i in source.held_out[: config.eval_records]), config, tokenizer, tally)
        facts = {
            "notes": tally.notes(), "left_out": tally.counts, "train_records": len(train), "card": {"pairs": len(train)},
        }  # fmt: skip
        return RunData(pair_rows(train), pair_rows(judged), pair_samples(judged, tokenizer), {}, {}, facts)

    @classmethod
    def load(cls, entry, config: TrainConfig, data: RunData, dtype: torch.dtype, device: torch.device):
        model, _ = load_classifier(entry, LABELS, dtype=dtype, device=device)
        check_lengths(model, data)
        return model

    @property
    def lengths(self) -> np.ndarray:
        return self.data.train.lengths.reshape(-1, 2).max(1)

    def tokens(self, items) -> int:
        return int(self.data.train.lengths.reshape(-1, 2)[items].sum())

    def shape(self, items) -> Batch:
        return Batch(2 * len(items), int(self.lengths[items].max()), 0)

    def scores(self, rows: TokenRows, indices) -> Tensor:
        """[rows] in fp32."""
        batch = collate(rows, indices, self.place.pad, self.place.device)
        return score(self.place.model, batch["input_ids"], batch["attention_mask"])

    def margins(self, rows: TokenRows, items) -> Tensor:
        """[items] the chosen answer's number less the rejected one's."""
        found = self.scores(rows, rows_of(items))
        return found[: len(items)] - found[len(items) :]

    def loss_sum(self, items) -> tuple[Tensor, dict[str, float]]:
        margin = self.margins(self.data.train, items)
        figures = {"reward_margin": margin.sum().item(), "reward_accuracy": float((margin > 0).sum())}
        return reward_losses(margin).sum(), figures

    @torch.no_grad()
    def evaluate(self, last: bool = True) -> tuple[dict[str, float], int]:
        rows = self.data.held_out
        pairs = len(rows) // 2
        if not pairs:
            return {}, 0
        found = np.zeros(pairs)
        for items in self.place.mine(rows.lengths.reshape(-1, 2).max(1)):
            with self.place.judging.autocast():
                found[items] = self.margins(rows, items).cpu().numpy()
        self._seen = np.array(self.place.sum(found.tolist()))
        loss = reward_losses(torch.from_numpy(self._seen)).mean().item()
        return {"loss": loss, **figures_of(self._seen)}, pairs

    def answers(self) -> Iterator[dict]:
        for place, sample in enumerate(self.data.samples):
            text = percent(1 / (1 + np.exp(-self._seen[place])))
            yield {"prompt": sample["prompt"], "expected": sample["expected"], "text": text}


def reward_losses(margins: Tensor) -> Tensor:
    """[pairs] losses from margins [pairs], each the chosen answer's number less the rejected one's."""
    return -functional.logsigmoid(margins)


def score(model, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """[b] the reward of each row [b, t], padded on the right, in fp32."""
    return model(input_ids=input_ids, attention_mask=attention_mask).logits[:, 0].float()


def figures_of(margins: np.ndarray) -> dict[str, float]:
    """Of margins [pairs]: their mean; the share above 0; and the expected calibration error of σ(|margin|), the model's
    probability that it is right, in bins of a tenth (arXiv 1706.04599)."""
    sure = 1 / (1 + np.exp(-np.abs(margins)))
    right = margins > 0
    place = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [abs(sure[place == bin].mean() - right[place == bin].mean()) * (place == bin).mean() for bin in set(place)]
    return {
        "reward_margin": float(margins.mean()),
        "reward_accuracy": float(right.mean()),
        "calibration_error": float(sum(gaps)),
    }


class RewardModel:
    """A finished reward model that gives answers their rewards. Knows token ids of the tokenizer that it was made with."""

    def __init__(self, folder, tokenizer, device: torch.device):
        """`tokenizer`: whose ids it will be given. Raises UserError where that is not its own."""
        own = load_classifier_tokenizer(folder)
        if own.get_vocab() != tokenizer.get_vocab() or own.chat_template != tokenizer.chat_template:
            raise UserError("err_reward_tokenizer")
        self._model, _ = load_classifier(folder, LABELS, device=device)
        self._pad, self._device = self._model.config.pad_token_id, device

    @torch.no_grad()
    def __call__(self, rows: list[list[int]]) -> list[float]:
        """σ of each row's number, 0 to 1: prompt and answer."""
        made = TokenRows.from_lists([(row, row) for row in rows])
        batch = collate(made, range(len(rows)), self._pad, self._device)
        return torch.sigmoid(score(self._model, batch["input_ids"], batch["attention_mask"])).tolist()
