"""Classification: a fresh head over a causal model's last token (classifier_eos.py), or an encoder's own pooling, says which class a text has.

The loss is PyTorch's weighted cross entropy: the sum of w_y · (−log p_y) over the texts of a step, divided by the sum of
their w_y. scikit-learn computes the figures.

Most texts are soon certain, and the gradient of one whose class has probability p is (1 − p) times something. So each
step's texts are read first, and only those go through again, forward and backward, whose −log p is `least_loss` or more
("biggest losers", arXiv 1910.00762, with a fixed bar in place of a lottery): the same gradient but for a hundredth, in
less time. The loss that is told is that of all texts.
"""

import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch.nn import functional

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import percent, say
from llmdemo.data.encode import encode_many
from llmdemo.data.labels import Classes, merge_labels
from llmdemo.models.load import load_classifier, load_classifier_tokenizer
from llmdemo.settings.training import TrainConfig
from llmdemo.training import padding_free
from llmdemo.training.batches import Batches, RunData, TokenRows, collate, like_lengths, share_of
from llmdemo.training.memory_estimate import Batch
from llmdemo.training.objectives.base import Objective, Part, Place, Source, check_lengths
from llmdemo.training.padding_free import PaddingFree

MOST_JUDGED = 5000
"""Held-out texts that a run's last evaluation takes at most; those on the way take `eval_records`."""
_PASS_TOKENS = {True: 32, False: 4096}
"""Tokens of padding that are worth one more pass through the model: on a CPU, where texts can't be read in one row;
elsewhere."""
_EVALUATED = {True: 64, False: 32}
"""Texts of one pass of an evaluation, or batch_size if that is more: in one row, else."""
_SAMPLES = 4
_LONGEST = 100_000  # tokenizers without a limit of their own say 1e30


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """[classes] n / (k · n_c), scikit-learn's "balanced"; 0 for a class without a record."""
    return np.where(counts > 0, counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)


def class_figures(probabilities: np.ndarray, truth: np.ndarray, positive: int) -> dict[str, float]:
    """accuracy, f1_macro, f1 (of the class `positive`) and roc_auc, from probabilities [n, k] and classes [n].

    roc_auc is that of `positive` for two classes and the mean of one-against-the-rest for more; it is left out where
    a class is missing from `truth`.
    """
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score  # a second that other tasks need not wait for

    guessed, classes = probabilities.argmax(1), probabilities.shape[1]
    present = np.unique(truth)
    figures = {
        "accuracy": accuracy_score(truth, guessed),
        "f1_macro": f1_score(truth, guessed, average="macro", labels=present, zero_division=0),
        "f1": f1_score(truth, guessed, average="macro", labels=[positive], zero_division=0),
    }
    if len(present) == classes and np.isfinite(probabilities).all():
        binary = classes == 2
        scores = probabilities[:, positive] if binary else probabilities
        wanted = truth == positive if binary else truth
        figures["roc_auc"] = roc_auc_score(wanted, scores, multi_class="ovr", labels=None if binary else present)
    return {name: float(value) for name, value in figures.items()}


class Classify(Objective):
    """The task classify."""

    task = "classify"
    # Length tells the class: sorted by it, a step would see messages of one class alone.
    pool = 1

    @classmethod
    def tokenizer(cls, entry):
        return load_classifier_tokenizer(entry)

    @classmethod
    def encode(cls, source: Source, config: TrainConfig, tokenizer) -> RunData:
        every = source.records.labels() or []
        classes = merge_labels(every)
        chosen = source.held_out[:MOST_JUDGED]
        train, kept = _rows(source, source.train, classes, config, tokenizer)
        empty = len(source.train) - len(kept)
        held_out, kept = _rows(source, chosen, classes, config, tokenizer)
        empty += len(chosen) - len(kept)
        counts = np.bincount(train.classes, minlength=len(classes.names))
        if np.count_nonzero(counts) < 2:
            raise UserError("err_one_class", n=len(train))
        notes = [*classes.notes, *([_emptied(empty)] if empty else [])]
        if len(held_out) > config.eval_records:
            notes.append(_of_other_texts(config.eval_records, len(held_out)))
        positive = int(np.argmin(np.where(counts > 0, counts, counts.max() + 1)))
        shown = ", ".join(f"{name} {count:,}" for name, count in zip(classes.names, counts.tolist(), strict=True))
        facts = {
            "labels": classes.names,
            "counts": counts.tolist(),
            "positive": positive,
            "notes": notes,
            "left_out": {"untrained": empty} if empty else {},
            "train_records": len(train),
            "card": {"classes": shown, "f1 is of the class": classes.names[positive]},
        }
        samples = [
            {"prompt": source.records[kept[i]]["text"][:400], "expected": classes.names[held_out.classes[i]], "row": i}
            for i in _one_a_class(held_out.classes[: config.eval_records])
        ]
        return RunData(train, held_out, samples, {}, {}, facts)

    @classmethod
    def load(cls, entry, config: TrainConfig, data: RunData, dtype: torch.dtype, device: torch.device):
        model, _ = load_classifier(entry, data.facts["labels"], dtype=dtype, device=device)
        check_lengths(model, data)
        return model

    def __init__(self, place: Place, data: RunData):
        super().__init__(place, data)
        counts = np.array(data.facts["counts"])
        weights = balanced_weights(counts) if place.config.class_weights == "balanced" else np.ones(len(counts))
        self.weights = torch.tensor(weights, dtype=torch.float32, device=place.device)
        """[classes] what each text of a class counts."""
        # The share of each step's texts, by weight, that were learned from.
        self.figures = ("learned",) if place.config.least_loss else ()
        self._passes = 1
        self._cpu = place.device.type == "cpu"
        longest = max(int(rows.lengths.max(initial=0)) for rows in (data.train, data.held_out))
        self._one_row = PaddingFree(place.model, longest) if self._cpu else None

    @property
    def passes(self) -> int:
        return self._passes

    @torch.no_grad()
    def verify(self, items) -> list[str]:
        if self._one_row is not None:
            few = np.asarray(items)[[0, len(items) // 2, -1]]  # long and short ones
            self.place.model.eval()
            with self.place.autocast():
                expected = self._logits(self.data.train, few)
                exact = self.place.precision == "fp32"
                if not self._one_row.verify(self.data.train, few, expected, self.place.pad, exact):
                    self._one_row = None
        return []

    def cost(self, items) -> int:
        return self.tokens(items)

    def shape(self, items) -> Batch:
        lengths = self.lengths[items]
        return _padded(lengths, self._groups(lengths) if self._one_row is None else padding_free.groups(lengths))

    def _groups(self, lengths: np.ndarray) -> list[np.ndarray]:
        return like_lengths(lengths, _PASS_TOKENS[self._cpu])

    def normaliser(self, items) -> float:
        return float(self.weights.cpu()[torch.from_numpy(self.data.train.classes_of(items)).long()].sum().item()) or 1.0

    def loss_sum(self, items) -> tuple[torch.Tensor, dict[str, float]]:
        return self._learned(*(self._unsure(np.asarray(items)) if self.figures else (np.asarray(items), 0.0)))

    def parts(self, items) -> list[Part]:
        kept, sure = self._unsure(np.asarray(items)) if self.figures else (items, 0.0)
        parts = self.place.parts(kept, self.lengths)
        return [partial(self._learned, part, 0.0 if number else sure) for number, part in enumerate(parts)]

    def _learned(self, items: np.ndarray, sure: float) -> tuple[torch.Tensor, dict[str, float]]:
        """As `loss_sum`, learning from all of these items; `sure`: the weighted loss of those that are not learned from."""
        losses, weights = self._losses(items)
        return losses @ weights + sure, {name: weights.sum().item() for name in self.figures}

    @torch.no_grad()
    def _unsure(self, items: np.ndarray) -> tuple[np.ndarray, float]:
        """(the items whose loss reaches `least_loss`, or the one that comes nearest; the weighted loss of the others)."""
        parts = [self._losses(part) for part in self.place.parts(items, self.lengths)]
        losses, weights = map(torch.cat, zip(*parts, strict=True))
        # Autocast keeps the weights that it has cast, and these know no gradient.
        torch.clear_autocast_cache()
        bar = min(self.place.config.least_loss, losses.max().item())
        kept = ~(losses < bar)  # what is not a number is kept: the step must be left out, and not look like a sure one
        return items[kept.cpu().numpy()], (losses[~kept] @ weights[~kept]).item()

    def _losses(self, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(−log p [items] of each training item's class, what it counts [items])."""
        rows = self.data.train
        groups = self._groups(rows.lengths[items]) if self._one_row is None else [np.arange(len(items))]
        self._passes = len(groups)
        logits = torch.cat([self._read(rows, items[group]) for group in groups])
        logits = logits[torch.from_numpy(np.argsort(np.concatenate(groups))).to(logits.device)]
        wanted = torch.from_numpy(rows.classes_of(items).astype(np.int64)).to(logits.device)
        return functional.cross_entropy(logits, wanted, reduction="none"), self.weights[wanted]

    def _read(self, rows: TokenRows, items) -> torch.Tensor:
        """[items, classes] in fp32, in one row where that can be."""
        if self._one_row is None:
            return self._logits(rows, items)
        return self._one_row(rows, items, self.place.pad, self.place.device)

    def _logits(self, rows: TokenRows, items) -> torch.Tensor:
        """[items, classes] in fp32, padded, as the model itself has it."""
        batch = collate(rows, items, self.place.pad, self.place.device)
        return self.place.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()

    @torch.no_grad()
    def predict(self, rows: TokenRows, count: int) -> np.ndarray:
        """[count, classes] logits of the first rows, over all processes, in float64."""
        found = np.zeros((count, len(self.weights)))
        for items in self.place.mine(
            rows.lengths[:count], max(_EVALUATED[self._one_row is not None], self.place.config.batch_size)
        ):
            with self.place.judging.autocast():
                found[items] = self._read(rows, items).cpu().numpy()
        return np.array(self.place.sum(found.ravel().tolist())).reshape(found.shape)

    def judged(self, last: bool) -> int:
        rows = len(self.data.held_out)
        return rows if last else min(rows, self.place.config.eval_records)

    def evaluate(self, last: bool = True) -> tuple[dict[str, float], int]:
        rows = self.data.held_out
        count = self.judged(last)
        if not count:
            return {}, 0
        self._seen = torch.from_numpy(self.predict(rows, count))
        return self._figures(count), count

    def on_the_way(self, figures: dict[str, float]) -> dict[str, float]:
        few = self.judged(last=False)
        return self._figures(few) if figures and few < len(self._seen) else figures

    def _figures(self, count: int) -> dict[str, float]:
        """Of the first `count` texts of the newest evaluation."""
        rows, logits = self.data.held_out, self._seen[:count]
        classes, weights = rows.classes_of(slice(count)), self.weights.cpu().double()
        wanted = torch.from_numpy(classes.astype(np.int64))
        loss = functional.cross_entropy(logits, wanted, weight=weights, reduction="sum").item()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of a class that is never guessed; F1 is then 0
            figures = class_figures(logits.softmax(1).numpy(), classes, self.data.facts["positive"])
        return {"loss": loss / (weights[wanted].sum().item() or 1.0), **figures}

    def answers(self) -> Iterator[dict]:
        for sample in self.data.samples:
            probabilities = self._seen[sample["row"]].softmax(0)
            best = int(probabilities.argmax())
            text = f"{self.data.facts['labels'][best]} ({percent(float(probabilities[best]))})"
            yield {"prompt": sample["prompt"], "expected": sample["expected"], "text": text}


def largest_batch(lengths: np.ndarray, config: TrainConfig, is_cpu: bool) -> Batch:
    """What Loop.largest_batch says of a run on texts of so many tokens, in the data set's order; on a CPU, of a model that
    reads them in one row."""
    batches = Batches(lengths, config.global_batch, config.seed, Classify.pool)
    steps = range(min(config.max_steps, batches.per_epoch))
    rows = max(map(batches.rows_of, steps), key=lambda rows: int(lengths[rows].sum()))
    mine = lengths[max(share_of(rows, 0, config.num_processes, config.gradient_accumulation_steps), key=len)]
    return _padded(mine, padding_free.groups(mine) if is_cpu else like_lengths(mine, _PASS_TOKENS[False]))


def _padded(lengths: np.ndarray, groups: list[np.ndarray]) -> Batch:
    """Texts of so many tokens for the memory estimate, where those of a group are padded to its longest."""
    tokens = sum(int(lengths[group].max()) * len(group) for group in groups)
    return Batch(len(lengths), -(-tokens // len(lengths)), 0)


def _rows(source: Source, part: np.ndarray, classes: Classes, config: TrainConfig, tokenizer):
    """(TokenRows of the texts with a token beside the special ones, the indices of their records)."""
    limit = min(config.max_length, max(1, min(_LONGEST, tokenizer.model_max_length)))
    special = {*tokenizer.all_special_ids, *tokenizer("")["input_ids"]} - {tokenizer.unk_token_id}
    records = (source.records[int(i)] for i in part)
    named = ({**record, "label": classes.names[classes.index[record["label"]]]} for record in records)
    rows, numbers, kept = [], [], []
    for index, row in zip(part, encode_many(named, tokenizer, limit, labels=classes.names), strict=True):
        if not special.issuperset(row.input_ids):
            rows.append((row.input_ids, row.labels))
            numbers.append(row.label)
            kept.append(int(index))
    return TokenRows.from_lists(rows, numbers), kept


def _emptied(count: int) -> str:
    return say("note_emptied", n=count)


def _of_other_texts(way: int, end: int) -> str:
    return say("note_judged_at_end", way=way, end=end)


def _one_a_class(classes: np.ndarray) -> list[int]:
    """The first row of each of the first classes."""
    return [int(i) for i in np.unique(classes, return_index=True)[1][:_SAMPLES]]
