"""The records of a data set, memory-mapped: by number, by page, by search.

Knows nothing of files that are uploaded, of tokens or of training.
"""

from bisect import bisect_right

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data.codes import BIT, FLAGS
from llmdemo.data.library import DatasetInfo, column, folder_of, get_dataset, kept_mask, open_arrow, read_checks

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
            ("alternatives", pa.list_(pa.string())),  # other right answers than the last turn
            ("kind", pa.string()),  # of which source or kind it is
        ]
    ),
    "text": pa.schema(
        [
            ("row", pa.int64()),
            ("text", pa.string()),
            ("split", pa.string()),
            ("kind", pa.string()),
            ("ids", pa.list_(pa.int32())),  # the token ids that it came as
            ("labels", pa.list_(pa.int32())),  # and which of them are learned, where it came with them
        ]
    ),
    "classify": pa.schema([("row", pa.int64()), ("text", pa.string()), ("label", pa.string()), ("split", pa.string())]),
    "preference": pa.schema(
        [
            ("row", pa.int64()),
            ("messages", _TURNS),
            ("chosen", pa.string()),
            ("rejected", pa.string()),
            ("split", pa.string()),
            ("tools", pa.string()),
            ("kind", pa.string()),
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


MAX_KINDS = 50
"""Most kinds of records that are told apart: of more, each would be held out by chance anyway."""
_OPTIONAL = ("split", "untrained", "reasoning", "tools", "alternatives", "kind", "ids", "labels")


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


def open_records(home: Home, dataset_id: str, everything: bool = False, despite: tuple[str, ...] = ()) -> "Records":
    """The kept records of a data set (with `everything`, those that filters leave out too; with `despite`, those that only
    these filters do). Raises UserError."""
    info = get_dataset(home, dataset_id)
    return Records(info, folder_of(home, dataset_id), everything, despite)


class Records:
    """len, [i] -> dict, [a:b] -> list of dicts. A dict has "row" and the fields of its task; "split",
    "untrained", "reasoning", "tools", "alternatives" and "kind" only where it has them."""

    def __init__(self, info: DatasetInfo, folder, everything: bool = False, despite: tuple[str, ...] = ()):
        self.info, self.task = info, info.task
        self._reader = open_arrow(folder / "records.arrow")
        checks = read_checks(folder)
        self._flags, self._groups = column(checks, "flags"), column(checks, "group")
        self._rows, self._lines, self._other = (column(checks, name) for name in ("row", "line", "other"))
        self._prompts = column(checks, "prompt")
        kept = kept_mask(self._flags, tuple(name for name in info.filters if name not in despite))
        self.places = np.arange(len(kept)) if everything else np.flatnonzero(kept)
        """Index in the file of records of each record shown here."""
        self._kept = kept
        sizes = [self._reader.get_batch(i).num_rows for i in range(self._reader.num_record_batches)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._last: tuple[int, pa.RecordBatch | None] = (-1, None)

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
        known, batch = self._last
        if batch is None or known != number:
            batch = self._reader.get_batch(number)
            self._last = (number, batch)
        record = batch.slice(place - int(self._starts[number]), 1).to_pylist()[0]
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

    def flagged(self, code: str) -> np.ndarray:
        """bool (N,): which records have this problem, a code of codes.FLAGS."""
        return (self._flags[self.places] & np.uint32(BIT[code])) != 0

    def labels(self) -> list[str] | None:
        """The label of each record, for classification only."""
        return self._column("label") if self.task == "classify" else None

    def kinds(self) -> tuple[np.ndarray, list[str]]:
        """(int64 (N,), names): of which kind each record is, as an index of the names, which are sorted.

        "" is the kind of records without one. No names where the file does not tell 2 to MAX_KINDS kinds, and for
        classification, whose kinds are its labels.
        """
        none: tuple[np.ndarray, list[str]] = np.zeros(len(self), np.int64), []
        first = self._reader.get_batch(0) if self._reader.num_record_batches else None
        if self.task == "classify" or first is None or "kind" not in first.schema.names:
            return none
        found = pa.chunked_array(self.columns("kind"), pa.string()).take(pa.array(self.places))
        if found.null_count == len(found):
            return none
        coded = pc.fill_null(found, "").combine_chunks().dictionary_encode()
        names = coded.dictionary.to_pylist()
        if not 2 <= len(names) <= MAX_KINDS:
            return none
        order = sorted(range(len(names)), key=names.__getitem__)
        return np.argsort(order)[coded.indices.to_numpy()].astype(np.int64), [names[place] for place in order]

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
        problems = [code.name for code in FLAGS if flags & code.mask]
        line = int(self._lines[place]) or None
        return {**self._at(place), "index": index, "line": line, "kept": bool(self._kept[place]), "problems": problems}

    def search(self, query: str = "", code: str = "") -> np.ndarray:
        """Indices of the records that hold the text `query` and have the problem `code`; "" leaves either out."""
        chosen = np.ones(len(self), bool)
        if code:
            if code not in BIT:
                raise UserError("err_no_problem_of_record", code=repr(str(code)[:40]), names=list(BIT))
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
