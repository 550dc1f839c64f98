"""Versions in bulk: some of the records to learn from beside all that the parent holds out; other labels. Knows no reason.

What is held out stays the same, so that runs on the parent and on this version are judged on the same records.
"""

from dataclasses import replace

import numpy as np

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, whole_folder
from llmdemo.data.checks import answer_of, loose_hash
from llmdemo.data.deduplication import digest_of, load_held
from llmdemo.data.ingest import with_problems
from llmdemo.data.library import DatasetInfo, Writer, folder_of, get_dataset, save_info, still_there
from llmdemo.data.records import SCHEMAS, open_records, to_batch
from llmdemo.data.versions import carry_measured, child_of, settled_info, share_beside

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
    records = open_records(home, dataset_id)
    indices = np.union1d(train, held)
    is_held = np.isin(indices, held)
    places = records.places[indices]
    known = load_held(source).at(places)
    known.held_out = is_held
    known.digest = known.digest.copy()
    info = replace(child_of(home, parent, change), source={**parent.source, "selection": recipe})
    with whole_folder(home.datasets / info.dataset_id, home.tmp) as folder:
        share_beside(source, folder)
        with Writer(folder / "records.arrow", SCHEMAS[parent.task]) as writer:
            for start in range(0, len(indices), _CHUNK):
                part = records.rows(indices[start : start + _CHUNK])
                for place, record in enumerate(part, start):
                    if len(held):
                        record["split"] = "eval" if is_held[place] else "train"
                    known.digest[place] = digest_of(record)
                writer.write(to_batch(part, parent.task))
        key = carry_measured(source, folder, parent, load_held(source), {}, places, None)
        info = settled_info(folder, info, known, parent, key)
        save_info(folder, info)
    return with_problems(home, info)


@still_there
def mend_labels(home: Home, dataset_id: str, changes: dict[int, str], drops: list[int]) -> DatasetInfo:
    """A new version in which the records at these places (of all records) have another label, or are gone. Raises UserError."""
    parent, source = get_dataset(home, dataset_id), folder_of(home, dataset_id)
    if not changes and not drops:
        raise UserError("err_none_chosen")
    for place in [*changes, *drops]:
        if not 0 <= place < parent.records:
            raise UserError("err_no_record_at", place=str(place), last=parent.records - 1)
    places = np.setdiff1d(np.arange(parent.records), drops)
    if not len(places):
        raise UserError("err_none_would_be_left")
    records = open_records(home, dataset_id, everything=True)
    known = load_held(source).at(places)
    known.digest, known.answer = known.digest.copy(), known.answer.copy()
    info = child_of(home, parent, say("data_change_labels", n=len(changes), dropped=len(set(drops))))
    with whole_folder(home.datasets / info.dataset_id, home.tmp) as folder:
        share_beside(source, folder)
        with Writer(folder / "records.arrow", SCHEMAS[parent.task]) as writer:
            for start in range(0, len(places), _CHUNK):
                part = records.rows(places[start : start + _CHUNK])
                for number, record in enumerate(part, start):
                    if (label := changes.get(int(places[number]))) is not None:
                        record["label"] = label
                        known.digest[number] = digest_of(record)
                        known.answer[number] = loose_hash(answer_of(record))
                writer.write(to_batch(part, parent.task))
        key = carry_measured(source, folder, parent, load_held(source), {}, places, None)
        info = settled_info(folder, info, known, parent, key)
        save_info(folder, info)
    return with_problems(home, info)
