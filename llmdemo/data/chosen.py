"""Versions in bulk: some of the records to learn from beside all that the parent holds out; other labels. Knows no reason.

What is held out stays the same, so that runs on the parent and on this version are judged on the same records.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.data.checks import answer_of, loose_hash
from llmdemo.data.deduplication import digest_of, load_held
from llmdemo.data.library import DatasetInfo, folder_of, get_dataset, still_there
from llmdemo.data.records import Records, open_records, to_batch
from llmdemo.data.versions import check_places, child_of, write_version

_CHUNK = 1000


@still_there
def choose_records(
    home: Home, dataset_id: str, train: np.ndarray, held: np.ndarray, change: str, recipe: dict
) -> DatasetInfo:
    """A new version of the kept records `train` and `held` (indices of open_records), in their order; `held` is its fixed split.

    recipe: kept in the info's source under "selection". Raises UserError where nothing is left to learn from.
    """
    if not len(train):
        raise UserError("err_selection_none")
    parent, source = get_dataset(home, dataset_id), folder_of(home, dataset_id)
    records, known = open_records(home, dataset_id), load_held(source)
    places = records.places[np.union1d(train, held)]
    known.held_out = np.isin(np.arange(parent.records), records.places[held])
    known.digest = known.digest.copy()

    def split(place: int, record: dict) -> None:
        if len(held):
            record["split"] = "eval" if known.held_out[place] else "train"
        known.digest[place] = digest_of(record)

    info = replace(child_of(home, parent, change), source={**parent.source, "selection": recipe})
    batches = _batches(open_records(home, dataset_id, everything=True), places, split)
    return write_version(home, parent, info, batches, known, places)


@still_there
def mend_labels(home: Home, dataset_id: str, changes: dict[int, str], drops: list[int]) -> DatasetInfo:
    """A new version in which the records at these places (of all records) have another label, or are gone. Raises UserError."""
    parent, source = get_dataset(home, dataset_id), folder_of(home, dataset_id)
    check_places(parent, [*changes, *drops])
    places = np.setdiff1d(np.arange(parent.records), drops)
    if not len(places):
        raise UserError("err_none_would_be_left")
    records = open_records(home, dataset_id, everything=True)
    known = load_held(source)
    known.digest, known.answer = known.digest.copy(), known.answer.copy()

    def relabel(place: int, record: dict) -> None:
        if (label := changes.get(place)) is not None:
            record["label"] = label
            known.digest[place] = digest_of(record)
            known.answer[place] = loose_hash(answer_of(record))

    info = child_of(home, parent, say("data_change_labels", n=len(changes), dropped=len(set(drops))))
    return write_version(home, parent, info, _batches(records, places, relabel), known, places)


def _batches(records: Records, places: np.ndarray, change: Callable[[int, dict], None]) -> Iterator[pa.RecordBatch]:
    """The records at these places of all, each after `change(place, record)`."""
    for start in range(0, len(places), _CHUNK):
        chosen = places[start : start + _CHUNK]
        part = records.rows(chosen)
        for place, record in zip(chosen.tolist(), part, strict=True):
            change(place, record)
        yield to_batch(part, records.task)
