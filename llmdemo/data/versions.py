"""New versions of data sets: other filters, an edited or dropped record, several merged. Old ones stay as they are.

Each version is a data set of its own, whole by itself; it names its parent and its family. Unchanged records are
copied as they lie on disk, so that an edit of one among 100,000 takes about a second. Knows no files that are uploaded.

Places count all records of a data set, kept or not, from 0: the index of `open_records(…, everything=True)`.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, new_id, whole_folder
from llmdemo.data import measure
from llmdemo.data.codes import ABOUT_TOKENS, BIT, CODES, FLAGS, mask
from llmdemo.data.deduplication import Held, deduplicate, load_held
from llmdemo.data.ingest import now, with_problems
from llmdemo.data.library import (
    LEFT_OUT,
    MADE,
    DatasetInfo,
    Writer,
    clean_name,
    column,
    content_hash,
    folder_of,
    get_dataset,
    kept_mask,
    list_datasets,
    open_arrow,
    raise_if_gone,
    read_checks,
    save_info,
    still_there,
)
from llmdemo.data.records import SCHEMAS, conformed, to_batch
from llmdemo.data.shapes import MAX_LABELS, Shape
from llmdemo.data.tokenised import shared
from llmdemo.data.turns import raw_turns
from llmdemo.data.values import Bad
from llmdemo.settings import Settings

_FIELDS = {
    "chat": ("messages", "tools", "alternatives", "split", "kind"),
    "text": ("text", "split", "kind"),
    "classify": ("text", "label", "split"),
    "preference": ("messages", "chosen", "rejected", "tools", "split", "kind"),
}
"""What a person may change of a task's record."""


# ---- filters ----


@still_there
def preview_filters(home: Home, dataset_id: str, filters: list[str] | None = None) -> dict:
    """What these filters (None: the data set's own) would leave, without changing anything.

    {"kept", "records", "filters": [{code, title, on, count, only}]}: `count` records have the problem, `only` of
    them are left out by this filter alone. Problems that no record has are not listed.
    """
    info = get_dataset(home, dataset_id)
    chosen = _checked(info.filters if filters is None else filters)
    flags = column(read_checks(folder_of(home, dataset_id)), "flags")
    rows = []
    for code in FLAGS:
        has = (flags & np.uint32(code.mask)) != 0
        if not has.any():
            continue
        others = kept_mask(flags, [name for name in chosen if name != code.name])
        rows.append(
            {
                "code": code.name,
                "title": code.title,
                "on": code.name in chosen,
                "count": int(has.sum()),
                "only": int((has & others).sum()),
            }
        )
    return {"kept": int(kept_mask(flags, chosen).sum()), "records": len(flags), "filters": rows}


@still_there
def apply_filters(home: Home, dataset_id: str, filters: list[str]) -> DatasetInfo:
    """A new version with these filters on and all others off. Raises UserError if they leave nothing."""
    parent, source = get_dataset(home, dataset_id), folder_of(home, dataset_id)
    filters = _checked(filters)
    if set(filters) == set(parent.filters):
        return parent
    checks = read_checks(source)
    kept = kept_mask(column(checks, "flags"), filters)
    if not kept.any():
        raise UserError("err_filters_leave_none")
    tokens = parent.tokens
    if tokens and parent.measured and (measured := measure.read_measured(source, parent.measured)):
        again = measure.summary(measured, kept, tokens["max_length"], parent.task)
        tokens = {**again, "loss_on": tokens["loss_on"]}
    info = replace(
        child_of(home, parent, "Filters: " + (", ".join(CODES[name].title for name in filters) or "none") + "."),
        filters=filters,
        kept=int(kept.sum()),
        tokens=tokens,
        content_hash=content_hash(parent.task, checks.column("digest"), kept),
    )
    with whole_folder(home.datasets / info.dataset_id, home.tmp) as folder:
        for file in source.iterdir():
            if file.name != "info.json" and not file.name.startswith("."):
                _share_file(file, folder / file.name)
        save_info(folder, info)
    return with_problems(home, info)


def _checked(filters) -> list[str]:
    for name in filters:
        if name not in BIT:
            raise UserError("err_no_filter", name=repr(str(name)[:40]), names=list(BIT))
    return [code.name for code in FLAGS if code.name in filters]


def _share_file(file: Path, target: Path) -> None:
    """The same immutable content under another path: a link where the file system has them, else a copy."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def _share_beside(source: Path, folder: Path) -> None:
    """What a version with other records takes over of its parent: the rows that make none, and how each row was made."""
    _share_file(source / "left_out.arrow", folder / "left_out.arrow")
    if (source / MADE).exists():
        _share_file(source / MADE, folder / MADE)


# ---- records ----


@still_there
def edit_record(home: Home, dataset_id: str, place: int, record: dict, *, tokenizer=None) -> DatasetInfo:
    """A new version in which the record at `place` is this one, with the fields of its task. Raises UserError.

    With the tokenizer that the data set was measured with, the tokens stay measured.
    """
    parent = get_dataset(home, dataset_id)
    check_places(parent, [place])
    row = int(column(read_checks(folder_of(home, dataset_id)), "row")[place])
    roles = {field: field for field in _FIELDS[parent.task]}  # our own names, whatever the file had
    shape = Shape("", parent.task, roles, ())
    if parent.task == "chat" and isinstance(record.get("messages"), list):
        record = {**record, "messages": raw_turns(record)}
    try:
        edited = shape.records(record)[0]
    except Bad as problem:
        raise UserError("err_record_problem", reason=problem.reason) from problem
    return _rewrite(
        home, parent, say("data_change_edited", row=row), {place: {"row": row, **edited}}, np.zeros(0, int), tokenizer
    )


@still_there
def drop_records(home: Home, dataset_id: str, places: list[int], *, tokenizer=None) -> DatasetInfo:
    """A new version without the records at these places. Raises UserError if none would be left."""
    parent = get_dataset(home, dataset_id)
    check_places(parent, places)
    rows = column(read_checks(folder_of(home, dataset_id)), "row")[sorted(set(places))]
    shown = ", ".join(f"{row:,}" for row in rows[:3])
    shown = say("rows_and_more", rows=shown, n=len(rows) - 3) if len(rows) > 3 else shown
    change = say("data_change_dropped", n=len(rows), rows=shown)
    return _rewrite(home, parent, change, {}, np.array(sorted(set(places)), int), tokenizer)


def check_places(info: DatasetInfo, places) -> None:
    """Raises UserError unless these are places of its records, at least one."""
    for place in places:
        if isinstance(place, bool) or not isinstance(place, int | np.integer) or not 0 <= place < info.records:
            raise UserError("err_no_record_at", place=str(place)[:20], last=info.records - 1)
    if not len(places):
        raise UserError("err_none_chosen")


def _rewrite(home, parent: DatasetInfo, change: str, edits: dict, drops: np.ndarray, tokenizer) -> DatasetInfo:
    source = folder_of(home, parent.dataset_id)
    keep = np.setdiff1d(np.arange(parent.records), drops)
    if not len(keep):
        raise UserError("err_none_would_be_left")
    held = load_held(source)
    for place, record in edits.items():
        one = Held.of([record], [int(held.line[place])], to_batch([record], parent.task))
        held = Held.joined([held.at(np.arange(place)), one, held.at(np.arange(place + 1, len(held)))])
    batches = _changed_batches(source, edits, drops, parent.task)
    return write_version(home, parent, child_of(home, parent, change), batches, held, keep, edits, tokenizer)


def write_version(
    home: Home,
    parent: DatasetInfo,
    info: DatasetInfo,
    batches: Iterable[pa.RecordBatch],
    held: Held,
    places: np.ndarray,
    edits: dict[int, dict] | None = None,
    tokenizer=None,
) -> DatasetInfo:
    """Writes the version `info` of `parent` with these batches of records, checks it anew, and returns what is known of it.

    held: of all the parent's records as they are now, once the batches have been read; places: of the records that stay.
    edits: {place: record} whose texts are others; their tokens are measured again if `tokenizer` is that of the parent.
    Raises UserError where the checks would leave nothing.
    """
    source = folder_of(home, parent.dataset_id)
    with whole_folder(home.datasets / info.dataset_id, home.tmp) as folder:
        _share_beside(source, folder)
        with Writer(folder / "records.arrow", SCHEMAS[parent.task]) as writer:
            for batch in batches:
                writer.write(batch)
        key = _carry_measured(source, folder, parent, held, edits or {}, places, tokenizer)
        info = _settled_info(folder, info, held.at(places), parent, key)
        save_info(folder, info)
    return with_problems(home, info)


def _changed_batches(source: Path, edits: dict, drops: np.ndarray, task: str):
    """The record batches of the parent, those without a change as they are."""
    reader, start = open_arrow(source / "records.arrow"), 0
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        inside = [place for place in edits if start <= place < start + batch.num_rows]
        gone = drops[(drops >= start) & (drops < start + batch.num_rows)] - start
        if inside:
            records = batch.to_pylist()
            for place in inside:
                records[place - start] = edits[place]
            batch = to_batch(records, task)
        start += reader.get_batch(number).num_rows
        if len(gone):
            left = np.setdiff1d(np.arange(batch.num_rows), gone)
            batch = batch.take(pa.array(left))
        if batch.num_rows:
            yield conformed(batch, task)


def _carry_measured(source, folder, parent, held, edits, keep, tokenizer) -> str | None:
    """Takes over the parent's measurement where the tokenizer is the same (or nothing was edited); returns its key."""
    old = measure.read_measured(source, parent.measured) if parent.measured else None
    if old is None:
        return None
    length, trained, flags = old.length.copy(), old.trained.copy(), old.flags.copy()
    vocabulary = np.array(old.vocabulary)
    max_length, loss_on = parent.tokens["max_length"], parent.tokens["loss_on"]
    if edits and (tokenizer is None or measure.measure_key(tokenizer, max_length, loss_on) != parent.measured):
        return None
    for place, record in edits.items():
        one = measure.measure_records([record], parent.task, tokenizer, max_length, loss_on)
        length[place], trained[place], flags[place] = one.length[0], one.trained[0], one.flags[0]
        held.flags[place] |= one.flags[0]
        vocabulary[: len(one.vocabulary)] += one.vocabulary  # the old text's tokens stay counted: a count is a hint
    measure.write_measured(
        folder, parent.measured, measure.Measured(length[keep], trained[keep], flags[keep], vocabulary)
    )
    return parent.measured


def _settled_info(folder: Path, info: DatasetInfo, held: Held, parent: DatasetInfo, key: str | None) -> DatasetInfo:
    """The info with all that follows from the records in `folder`."""
    found = deduplicate(folder, held, info.task, info.filters)
    if not found.kept.any():
        raise UserError("err_checks_would_leave_none")
    tokens = None
    if key and (measured := measure.read_measured(folder, key)):
        assert parent.tokens, "its measurement was carried over"
        tokens = measure.summary(measured, found.kept, parent.tokens["max_length"], info.task)
        tokens["loss_on"] = parent.tokens["loss_on"]
    lost = {name: count for name, count in info.counts.items() if name not in BIT}
    return replace(
        info,
        records=len(held),
        kept=int(found.kept.sum()),
        counts={**lost, **found.counts},
        content_hash=found.content_hash,
        characters=found.characters,
        tokens=tokens,
        measured=key if tokens else None,
        labels=_labels(folder) if info.task == "classify" else info.labels,
    )


def _labels(folder: Path) -> list[str]:
    reader = open_arrow(folder / "records.arrow")
    labels = set()
    for number in range(reader.num_record_batches):
        labels |= set(reader.get_batch(number).column("label").unique().to_pylist())
    if not 2 <= len(labels) <= MAX_LABELS:
        raise UserError("err_labels_left", n=len(labels), most=MAX_LABELS)
    return sorted(labels)


def child_of(home: Home, parent: DatasetInfo, change: str) -> DatasetInfo:
    """The info that a new version begins with: its parent's, but for what names it."""
    family = parent.family or parent.dataset_id
    versions = [info.version for info in list_datasets(home) if (info.family or info.dataset_id) == family]
    return replace(
        parent,
        dataset_id=new_id("data"),
        parent=parent.dataset_id,
        family=family,
        version=max([parent.version, *versions]) + 1,
        change=change,
        created=now(),
        problems=[],
    )


# ---- merge ----


def merge_datasets(home: Home, settings: Settings, dataset_ids: list[str], name: str) -> DatasetInfo:
    """A new data set with the kept records of these, in their order, checked against each other.

    They must have one task. Rows are numbered anew. Tokens have to be measured again. Raises UserError.
    """
    parents = [get_dataset(home, dataset_id) for dataset_id in dataset_ids]
    if len(parents) < 2 or len(set(dataset_ids)) < len(dataset_ids):
        raise UserError("err_merge_same")
    tasks = {parent.task for parent in parents}
    if len(tasks) > 1:
        raise UserError("err_merge_tasks", tasks=sorted(tasks))
    if sum(parent.kept for parent in parents) > settings.max_rows:
        raise UserError("err_merge_too_many", max_rows=settings.max_rows)
    task, dataset_id = tasks.pop(), new_id("data")
    info = replace(
        parents[0],
        dataset_id=dataset_id,
        name=clean_name(name),
        format="merged",
        shape=" + ".join(dict.fromkeys(parent.shape for parent in parents)),
        parent=None,
        family=dataset_id,
        version=1,
        change=say("data_change_merged", names=[parent.name for parent in parents]),
        source={"merged": dataset_ids, **shared(parents)},
        created=now(),
        problems=[],
        tokens=None,
        measured=None,
        counts={},
        rows=sum(parent.kept for parent in parents),
        bytes=sum(parent.bytes for parent in parents),
    )
    with whole_folder(home.datasets / dataset_id, home.tmp) as folder:
        try:
            held = _merged_records(home, parents, folder, task)
        except OSError as error:
            raise_if_gone(home, dataset_ids, error)
            raise
        Writer(folder / "left_out.arrow", LEFT_OUT).close()
        info = _settled_info(folder, info, held, info, None)
        save_info(folder, info)
    return with_problems(home, info)


def _merged_records(home: Home, parents: list[DatasetInfo], folder: Path, task: str) -> Held:
    parts, done = [], 0
    with Writer(folder / "records.arrow", SCHEMAS[task]) as writer:
        for parent in parents:
            source = folder_of(home, parent.dataset_id)
            held = load_held(source)
            kept = kept_mask(held.flags, parent.filters)
            held, reader, start = held.at(np.flatnonzero(kept)), open_arrow(source / "records.arrow"), 0
            held.row, held.line = np.arange(done + 1, done + len(held) + 1), np.zeros(len(held), np.int64)
            held.flags = held.flags & ~np.uint32(mask(ABOUT_TOKENS))
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                chosen = batch.filter(pa.array(kept[start : start + batch.num_rows]))
                start += batch.num_rows
                if chosen.num_rows:
                    rows = pa.array(np.arange(done + 1, done + chosen.num_rows + 1))
                    writer.write(conformed(chosen.set_column(0, "row", rows), task))
                    done += chosen.num_rows
            parts.append(held)
    return Held.joined(parts)
