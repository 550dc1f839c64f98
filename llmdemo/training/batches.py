"""A run's data as token ids: prepared once, kept in the run's folder, and cut into batches that depend on seed and step alone.

Nothing of the order is state: the batch of step s is computed from (seed, s), so that a resumed run, and two processes
where there was one, see the same records. Knows nothing of models and of tokenizers.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from llmdemo.core.errors import UserError

NOT_TRAINED = -100
POOL = 16
"""Global batches among which records are sorted by length: little padding, and still a random order."""


@dataclass(frozen=True)
class TokenRows:
    """Rows of token ids, end to end. ids and labels [total], offsets [rows + 1]."""

    ids: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray
    positions: np.ndarray | None = None
    """[total], for packed rows: each token's place in its own document, 0 where one begins."""
    classes: np.ndarray | None = None
    """[rows], for classification: the number of each row's class."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def classes_of(self, rows) -> np.ndarray:
        """The numbers of these rows' classes."""
        assert self.classes is not None, "a classifier's rows have them"
        return self.classes[rows]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, labels) of one row."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        return self.ids[part], self.labels[part]

    def row_positions(self, index: int) -> np.ndarray:
        """Places in the documents of one packed row."""
        assert self.positions is not None, "packed rows have them"
        return self.positions[self.offsets[index] : self.offsets[index + 1]]

    def trained(self, rows) -> int:
        """Number of trained tokens of these rows."""
        return int(sum((self.row(index)[1] != NOT_TRAINED).sum() for index in rows))

    @classmethod
    def from_lists(cls, rows: list[tuple], classes: list[int] | None = None) -> "TokenRows":
        """Rows of (ids, labels), lists or arrays of equal length."""
        ids, labels = (_joined([row[part] for row in rows]) for part in (0, 1))
        offsets = np.concatenate([[0], np.cumsum([len(row[0]) for row in rows])]).astype(np.int64)
        return cls(ids, labels, offsets, None, None if classes is None else np.array(classes, np.int32))


def _joined(parts: list) -> np.ndarray:
    return np.concatenate([np.asarray(part, np.int32) for part in parts]) if parts else np.zeros(0, np.int32)


@dataclass(frozen=True)
class RunData:
    """What a run trains on and is judged by."""

    train: TokenRows
    held_out: TokenRows
    samples: list[dict]
    """What the model is asked at each evaluation: {"prompt", "expected"}, texts to show, and "ids", token ids."""
    about: dict
    """Counts and hashes for the model card."""
    more: dict[str, TokenRows] = field(default_factory=dict)
    """Other rows that a task measures itself by, by name."""
    facts: dict = field(default_factory=dict)
    """JSON-able: what a task has to know of its data, such as the names of its classes."""


_KEYS = ("ids", "labels", "offsets", "positions", "classes")


def save_rows(path: Path, **parts: TokenRows) -> None:
    """Writes named TokenRows as one safetensors file."""
    arrays = {}
    for name, rows in parts.items():
        for key in _KEYS:
            if getattr(rows, key) is not None:
                arrays[f"{name}.{key}"] = np.ascontiguousarray(getattr(rows, key))
    save_file(arrays, path)


def load_rows(path: Path) -> dict[str, TokenRows]:
    """The TokenRows that `save_rows` wrote, by name."""
    arrays = load_file(path)
    names = {key.partition(".")[0] for key in arrays}
    return {name: _rows_of(arrays, name) for name in names}


def _rows_of(arrays: dict[str, np.ndarray], name: str) -> TokenRows:
    return TokenRows(
        arrays[f"{name}.ids"],
        arrays[f"{name}.labels"],
        arrays[f"{name}.offsets"],
        arrays.get(f"{name}.positions"),
        arrays.get(f"{name}.classes"),
    )


class Batches:
    """The global batches of a run: `rows_of(step)` for any step from 0, without any state.

    lengths [items]: the tokens of each item; among the items of `pool` batches, those of like length are put together.
    """

    def __init__(self, lengths: np.ndarray, global_batch: int, seed: int, pool: int = POOL):
        if not len(lengths):
            raise UserError("err_nothing_to_train")
        self._lengths = lengths
        self._size = min(global_batch, len(lengths))
        self._seed, self._pool = seed, pool
        self.per_epoch = -(-len(lengths) // self._size)
        self._epoch: tuple[int, list[np.ndarray]] | None = None

    def rows_of(self, step: int) -> np.ndarray:
        """Indices of the records of step `step`, longest first."""
        epoch, place = divmod(step, self.per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._order(epoch))
        return self._epoch[1][place]

    def _order(self, epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([self._seed, epoch])
        order = random.permutation(len(self._lengths))
        batches = []
        for start in range(0, len(order), self._pool * self._size):
            pool = order[start : start + self._pool * self._size]
            pool = pool[np.argsort(-self._lengths[pool], kind="stable")]
            batches += [pool[i : i + self._size] for i in range(0, len(pool), self._size)]
        return [batches[i] for i in random.permutation(len(batches))]


def share_of(rows: np.ndarray, process: int, processes: int, micro_batches: int) -> list[np.ndarray]:
    """This process's micro-batches of a global batch: every (processes × micro_batches)-th record, so that each share
    has long and short ones alike. Some may be empty for a batch shorter than usual."""
    shares = processes * micro_batches
    return [rows[process * micro_batches + m :: shares] for m in range(micro_batches)]


def in_parts(items: np.ndarray, sizes: np.ndarray, most: int) -> list[np.ndarray]:
    """`items` in their order, in parts that take at most `most` tokens each, padding included, or hold one item.

    sizes [items]: tokens of each.
    """
    cuts, longest = [0], 0
    for place, size in enumerate(sizes.tolist()):
        longest = max(longest, size)
        if place > cuts[-1] and longest * (place + 1 - cuts[-1]) > most:
            cuts.append(place)
            longest = size
    return np.split(items, cuts[1:])


def like_lengths(lengths: np.ndarray, extra: int, most: int = 256) -> list[np.ndarray]:
    """Places of `lengths`, cut into groups that are padded each to its longest, with the least padding and groups.

    A group counts as much as `extra` tokens. Longest first; solved exactly for each `most` of them.
    """
    order = np.argsort(-lengths, kind="stable")
    return [
        group for start in range(0, len(order), most) for group in _cut(lengths, order[start : start + most], extra)
    ]


def _cut(lengths: np.ndarray, order: np.ndarray, extra: int) -> list[np.ndarray]:
    sizes, count = lengths[order].astype(np.int64), len(order)
    best, cut = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    for end in range(1, count + 1):
        costs = best[:end] + sizes[:end] * (end - np.arange(end)) + extra  # the last group begins at each place
        cut[end] = int(np.argmin(costs))
        best[end] = costs[cut[end]]
    groups, end = [], count
    while end:
        groups.append(order[cut[end] : end])
        end = int(cut[end])
    return groups[::-1]


def collate(rows: TokenRows, indices, pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """input_ids, attention_mask and labels [b, t], padded on the right to the longest row."""
    return _padded([rows.row(index) for index in indices], pad_id, device)


@dataclass(frozen=True)
class FixedBatch:
    """A batch whose shapes are few: rows are padded to a multiple of some length, labels to a multiple of some number."""

    ids: Tensor
    """[b, t] padded on the right."""
    places: Tensor
    """[n] where in the b · t tokens those stand that predict a label."""
    targets: Tensor
    """[n] these labels; NOT_TRAINED, beside a place of no meaning, where there are fewer."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(b, t, n)."""
        return (*self.ids.shape, len(self.targets))

    def to(self, device: torch.device) -> "FixedBatch":
        """On that device; the host does not wait for a GPU."""
        own = [self.ids, self.places, self.targets]
        pinned = [tensor.pin_memory() for tensor in own] if device.type == "cuda" else own
        return FixedBatch(*(tensor.to(device, non_blocking=True) for tensor in pinned))

    def copy_(self, other: "FixedBatch") -> None:
        """Takes the values of a batch of the same shape."""
        for own, new in ((self.ids, other.ids), (self.places, other.places), (self.targets, other.targets)):
            own.copy_(new, non_blocking=True)


LABEL_SHARES = 8
"""A fixed batch has one of so many numbers of labels, as shares of its tokens."""


def collate_fixed(rows: TokenRows, indices, pad_id: int, unit: int, most: int | None = None) -> FixedBatch:
    """On the CPU, with the rows padded to a multiple of `unit` tokens, but to `most` at most."""
    picked = [rows.row(index) for index in indices]
    width = -(-max(len(ids) for ids, _ in picked) // unit) * unit
    width = width if most is None else min(width, most)
    ids = np.full((len(picked), width), pad_id, np.int64)
    labels = np.full((len(picked), width), NOT_TRAINED, np.int64)
    for place, (own, wanted) in enumerate(picked):
        ids[place, : len(own)] = own
        labels[place, : len(own)] = wanted
    # The token before a label predicts it; a row's first one is predicted by none.
    ahead = np.full_like(labels, NOT_TRAINED)
    ahead[:, :-1] = labels[:, 1:]
    found = np.flatnonzero(ahead != NOT_TRAINED)
    step = max(1, -(-ids.size // LABEL_SHARES))
    room = max(1, -(-len(found) // step)) * step
    places, targets = np.zeros(room, np.int64), np.full(room, NOT_TRAINED, np.int64)
    places[: len(found)], targets[: len(found)] = found, ahead.ravel()[found]
    return FixedBatch(*map(torch.from_numpy, (ids, places, targets)))


def collate_packed(rows: TokenRows, indices, pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """input_ids, labels and position_ids [b, t] of packed rows, and no mask.

    Positions that begin again are how transformers' attention knows one document from the next; it looks for them
    only where no mask is given. The padding is a document of its own.
    """
    batch = collate(rows, indices, pad_id, device)
    width = batch["input_ids"].shape[1]
    positions = torch.arange(width).repeat(len(indices), 1)
    for place, index in enumerate(indices):
        own = torch.from_numpy(rows.row_positions(index).astype(np.int64))
        positions[place, : len(own)] = own
        positions[place, len(own) :] -= len(own)
    del batch["attention_mask"]
    return {**batch, "position_ids": positions.to(device, non_blocking=True)}


def collate_unpacked(rows: TokenRows, indices, pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """As `collate`, with each document of the packed rows in a row of its own."""
    pieces: list[tuple[np.ndarray, np.ndarray]] = []
    for index in indices:
        ids, labels = rows.row(index)
        cuts = np.flatnonzero(rows.row_positions(index) == 0)[1:]
        pieces += zip(np.split(ids, cuts), np.split(labels, cuts), strict=True)
    return _padded(pieces, pad_id, device)


def _padded(picked: list[tuple[np.ndarray, np.ndarray]], pad_id: int, device: torch.device) -> dict[str, Tensor]:
    width = max(len(ids) for ids, _ in picked)
    shape = (len(picked), width)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    labels = torch.full(shape, NOT_TRAINED, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    for place, (ids, wanted) in enumerate(picked):
        input_ids[place, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
        labels[place, : len(ids)] = torch.from_numpy(wanted.astype(np.int64))
        mask[place, : len(ids)] = 1
    batch = {"input_ids": input_ids, "attention_mask": mask, "labels": labels}
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}
