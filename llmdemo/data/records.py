"""The records of a data set, memory-mapped: by number, by page, by search; and how they are split.

Knows nothing of files that are uploaded, of tokens or of training.
"""

from bisect import bisect_right

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llmdemo.data.codes import BIT, FLAGS
from llmdemo.data.library import DatasetInfo, column, folder_of, get_dataset, kept_mask, open_arrow, read_checks
from llmdemo.errors import UserError
from llmdemo.store import Home

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMAS = {
    "chat": pa.schema(
        [
            ("row", pa.int64()),
            ("messages", _TURNS),
            ("split", pa.string()),
            ("untrained", pa.list_(pa.int32())),  # indices of the answers that are not learned
            ("reasoning", pa.list_(pa.string())),  # of each turn, or null
            ("tools", pa.string()),  # the JSON of their list
        ]
    ),
    "text": pa.schema([("row", pa.int64()), ("text", pa.string()), ("split", pa.string())]),
    "classify": pa.schema([("row", pa.int64()), ("text", pa.string()), ("label", pa.string()), ("split", pa.string())]),
    "preference": pa.schema(
        [
            ("row", pa.int64()),
            ("messages", _TURNS),
            ("chosen", pa.string()),
            ("rejected", pa.string()),
            ("split", pa.string()),
            ("tools", pa.string()),
        ]
    ),
}


def to_batch(records: list[dict], task: str) -> pa.RecordBatch:
    """Normalised records (with "row") as Arrow; other keys are left off."""
    schema = SCHEMAS[task]
    return pa.RecordBatch.from_arrays(
        [pa.array([record.get(name) for record in records], schema.field(name).type) for name in schema.names],
        schema=schema,
    )


_OPTIONAL = ("split", "untrained", "reasoning", "tools")


def conformed(batch: pa.RecordBatch, task: str) -> pa.RecordBatch:
    """The batch with all columns of its task: data sets of earlier versions of the app lack some."""
    schema = SCHEMAS[task]
    if batch.schema.equals(schema):
        return batch
    columns = [
        batch.column(field.name) if field.name in batch.schema.names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def open_records(home: Home, dataset_id: str, everything: bool = False) -> "Records":
    """The kept records of a data set (with `everything`, those that filters leave out too). Raises UserError."""
    info = get_dataset(home, dataset_id)
    return Records(info, folder_of(home, dataset_id), everything)


class Records:
    """len, [i] -> dict, [a:b] -> list of dicts. A dict has "row" and the fields of its task; "split",
    "untrained", "reasoning" and "tools" only where it has them."""

    def __init__(self, info: DatasetInfo, folder, everything: bool = False):
        self.info, self.task = info, info.task
        self._reader = open_arrow(folder / "records.arrow")
        checks = read_checks(folder)
        self._flags, self._groups = column(checks, "flags"), column(checks, "group")
        self._rows, self._lines, self._other = (column(checks, name) for name in ("row", "line", "other"))
        self._prompts = column(checks, "prompt")
        kept = kept_mask(self._flags, info.filters)
        self.places = np.arange(len(kept)) if everything else np.flatnonzero(kept)
        """Index in the file of records of each record shown here."""
        self._kept = kept
        sizes = [self._reader.get_batch(i).num_rows for i in range(self._reader.num_record_batches)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._last = (-1, None)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.rows(range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._at(int(self.places[index]))

    def __iter__(self):
        for place in self.places:
            yield self._at(int(place))

    def rows(self, indices) -> list[dict]:
        """The records with these indices, in this order."""
        return [self[int(index)] for index in indices]

    def _at(self, place: int) -> dict:
        number = bisect_right(self._starts, place) - 1
        if self._last[0] != number:
            self._last = (number, self._reader.get_batch(number))
        record = self._last[1].slice(place - int(self._starts[number]), 1).to_pylist()[0]
        for name in _OPTIONAL:
            if name in record and record[name] is None:
                del record[name]
        return record

    @property
    def groups(self) -> np.ndarray:
        """int64 (N,): equal for records with the same or nearly the same instruction."""
        return self._groups[self.places]

    @property
    def prompts(self) -> np.ndarray:
        """uint64 (N,): equal for records whose instruction (or text) is the same but for case and blanks."""
        return self._prompts[self.places]

    def labels(self) -> list[str] | None:
        """The label of each record, for classification only."""
        return self._column("label") if self.task == "classify" else None

    def splits(self) -> list:
        """The split that the file fixes for each record: "train", "eval" or None."""
        return self._column("split")

    def columns(self, name: str) -> list[pa.Array]:
        """A column of all records of the file, kept or not, in the parts in which it lies on disk."""
        return [self._reader.get_batch(i).column(name) for i in range(self._reader.num_record_batches)]

    def _column(self, name: str) -> list:
        whole = pa.chunked_array(self.columns(name), SCHEMAS[self.task].field(name).type)
        return whole.take(pa.array(self.places)).to_pylist()

    def page(self, offset: int = 0, limit: int = 20, query: str = "", code: str = "") -> tuple[list[dict], int]:
        """(records, how many there are in all) that hold `query` (case does not matter) and have the problem `code`.

        Each record also has "index" (to pass to [i]), "kept", "line" and "problems" (codes).
        """
        found = self.search(query, code)
        chosen = found[max(0, offset) : max(0, offset) + min(max(1, limit), 500)]
        return [self.described(int(index)) for index in chosen], len(found)

    def described(self, index: int) -> dict:
        """Record `index` with what is known of it."""
        place = int(self.places[index])
        flags = int(self._flags[place])
        problems = [code.name for code in FLAGS if flags & (1 << code.bit)]
        line = int(self._lines[place]) or None
        return {**self._at(place), "index": index, "line": line, "kept": bool(self._kept[place]), "problems": problems}

    def search(self, query: str = "", code: str = "") -> np.ndarray:
        """Indices of the records that hold the text `query` and have the problem `code`; "" leaves either out."""
        chosen = np.ones(len(self), bool)
        if code:
            if code not in BIT:
                raise UserError(f"{str(code)[:40]!r} is no problem of a record.", f"Known are {', '.join(BIT)}.")
            chosen &= (self._flags[self.places] & np.uint32(BIT[code])) != 0
        if query:
            chosen &= self._holds(query)[self.places]
        return np.flatnonzero(chosen)

    def _holds(self, query: str) -> np.ndarray:
        found = []
        for number in range(self._reader.num_record_batches):
            batch = self._reader.get_batch(number)
            hit = np.zeros(batch.num_rows, bool)
            for name in batch.schema.names:
                if name == "messages":
                    texts = batch.column(name).flatten().field("content")
                    of = pc.list_parent_indices(batch.column(name)).to_numpy()
                    hit[of[_matches(texts, query)]] = True
                elif name in ("text", "label", "chosen", "rejected"):
                    hit |= _matches(batch.column(name), query)
            found.append(hit)
        return np.concatenate(found) if found else np.zeros(0, bool)


def _matches(texts, query: str) -> np.ndarray:
    return pc.match_substring(texts, query, ignore_case=True).to_numpy(zero_copy_only=False).astype(bool)


def split(
    records: Records, seed: int, eval_share: float, fold: int = 0, folds: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(train, eval) indices, int64, each sorted.

    With `folds` (at least 2), all records are dealt into that many parts by `seed` and part `fold` is held out: K-fold
    cross-validation, which heeds neither the share nor a fixed split. Else, if the data fixes a split, that is it.
    Otherwise about `eval_share` of the records (0 ≤ share < 1) are drawn by `seed`, label by label for classification;
    records with the same or nearly the same instruction never stand on both sides. At least one record is left to
    train on. Raises UserError for a share out of range.
    """
    if not 0 <= eval_share < 1:
        raise UserError(f"The share held out is {eval_share}.", "It must be at least 0 and less than 1.")
    if folds:
        held = parts(records, seed, folds) == fold
        return np.flatnonzero(~held), np.flatnonzero(held)
    fixed = np.array([part == "eval" for part in records.splits()], bool)
    if fixed.any() and not fixed.all():
        return np.flatnonzero(~fixed), np.flatnonzero(fixed)
    generator = np.random.default_rng(seed)
    strata, group = _strata(records), np.unique(records.groups, return_inverse=True)[1]
    held = np.zeros(len(records), bool)
    # a group goes with the label of its first record; whole groups are drawn until the share is reached
    _, first = np.unique(group, return_index=True)
    sizes = np.bincount(group, minlength=len(first))
    for stratum in range(int(strata.max(initial=-1)) + 1):
        members = np.flatnonzero(strata[first] == stratum)
        members = members[generator.permutation(len(members))]
        room, taken = round(eval_share * sizes[members].sum()), []
        for member in members:
            if sizes[member] <= room:
                taken.append(member)
                room -= sizes[member]
        held |= np.isin(group, taken)
    if held.all() and len(held):
        held[group == group[0]] = False
    return np.flatnonzero(~held), np.flatnonzero(held)


def parts(records: Records, seed: int, folds: int) -> np.ndarray:
    """int64 (N,): the part, 0 … folds - 1, of each record for K-fold cross-validation.

    Parts are alike in size and in their mix of labels; records with the same or nearly the same instruction share one.
    Raises UserError when there are fewer groups of records than parts.
    """
    strata, group = _strata(records), np.unique(records.groups, return_inverse=True)[1]
    _, first = np.unique(group, return_index=True)
    if not 2 <= folds <= len(first):
        raise UserError(
            f"{len(first):,} different records cannot be dealt into {folds} parts.",
            "Give at least 2 folds, and no more than there are different records.",
        )
    sizes = np.bincount(group, minlength=len(first))
    generator = np.random.default_rng(seed)
    part_of, whole = np.zeros(len(first), np.int64), np.zeros(folds, np.int64)
    for stratum in range(int(strata.max(initial=-1)) + 1):
        members = np.flatnonzero(strata[first] == stratum)
        filled = np.zeros(folds, np.int64)
        for member in members[generator.permutation(len(members))]:
            part = int(np.lexsort((whole, filled))[0])  # the emptiest for this label, then the emptiest of all
            part_of[member] = part
            filled[part] += sizes[member]
            whole[part] += sizes[member]
    return part_of[group]


def _strata(records: Records) -> np.ndarray:
    """int64 (N,): a number for each label; all 0 where records have none."""
    labels = records.labels()
    return np.unique(labels, return_inverse=True)[1] if labels else np.zeros(len(records), np.int64)
