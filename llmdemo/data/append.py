"""A later version of a data set with more records: what a model was asked since, and how it should have answered."""

from dataclasses import replace
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.data.ingest import add_rows, with_problems
from llmdemo.data.library import DatasetInfo, delete_dataset, folder_of, get_dataset, save_info
from llmdemo.data.rows import Batch
from llmdemo.data.versions import child_of, merge_datasets
from llmdemo.settings import Settings


def append_rows(
    home: Home, settings: Settings, dataset_id: str, rows: list[dict[str, Any]], task: str, change: str
) -> DatasetInfo:
    """A new version of `dataset_id` with its kept records and, after them, those of `rows` (raw, of one task).

    All are checked against each other. Rows are numbered anew, and tokens have to be measured again. `change` says what
    made the version. Raises UserError where the tasks differ, or no row makes a record.
    """
    parent = get_dataset(home, dataset_id)
    if parent.task != task:
        raise UserError("err_merge_tasks", tasks=sorted({parent.task, task}))
    added = rows_as_dataset(home, settings, rows, parent.name, task, {})
    try:
        merged = merge_datasets(home, settings, [dataset_id, added.dataset_id], parent.name)
    finally:
        delete_dataset(home, added.dataset_id)
    child = child_of(home, parent, change)
    lineage = {key: getattr(child, key) for key in ("parent", "family", "version", "change", "name")}
    source = {key: value for key, value in parent.source.items() if key != "files"}
    if "generated" in source:  # rows are numbered anew: the job's log tells no longer which record is which
        source["generated"] = {**source["generated"], "job_id": ""}
    info = replace(merged, **lineage, format=parent.format, shape=parent.shape, source=source)
    save_info(folder_of(home, info.dataset_id), info)
    return with_problems(home, info)


def rows_as_dataset(
    home: Home, settings: Settings, rows: list[dict[str, Any]], name: str, task: str, source: dict[str, Any]
) -> DatasetInfo:
    """A data set of its own of `rows`. Raises UserError as add_rows does."""
    batch = Batch(first_row=1, rows=rows, done=len(rows))
    return add_rows(
        home, settings, _one(batch), name, "requests", source, task=task, expected_rows=len(rows),
        change=say("data_change_requests", n=len(rows)),
    )  # fmt: skip


def _one(batch: Batch):
    yield batch
