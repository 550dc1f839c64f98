"""The data sets of the home folder: one folder each, immutable but for its name. Knows nothing of how they come.

A folder holds info.json, records.arrow (the normalised records), checks.arrow (a row for each record: its row
and line in the file, flags, group, digest), left_out.arrow (rows that make no record) and measured-<key>.* files; of
records that a model made also made.jsonl, a line a row of how it was made, which outlives the job that made it.
Which records are kept follows from the flags and the filters in info.json.
"""

import functools
import hashlib
import re
import shutil
import tempfile
import threading
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home, child, read_json, write_json
from llmdemo.data.codes import BIT, mask

TASKS = ("chat", "text", "classify", "preference")
_FIGURES = frozenset(("total", "longest", "mean", "trained", "max_length"))
_MEASURE_KEY = re.compile(r"[0-9a-f]{16}")
"""What names a measurement's files (measure.measure_key)."""
_CHANGING = threading.Lock()
MADE = "made.jsonl"


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set; `to_dict` is what endpoints return."""

    dataset_id: str
    name: str
    format: str
    shape: str
    task: str
    rows: int
    """Rows of the file."""
    records: int
    """Records made of them."""
    kept: int
    """Records that the filters leave."""
    counts: dict
    """How many rows or records have each problem."""
    filters: list
    """Codes whose records are left out."""
    content_hash: str
    """SHA-256 of the task and the kept records: equal for equal data, whatever file it came from."""
    created: str
    problems: list = field(default_factory=list)
    """The first 200; all of them with report.problems."""
    tokens: dict | None = None
    """total, longest, mean, trained over the kept records; None before a tokenizer has measured them."""
    measured: str | None = None
    """Key of the measurement that `tokens` is from."""
    columns: list = field(default_factory=list)
    roles: dict = field(default_factory=dict)
    unused: list = field(default_factory=list)
    """Columns, and keys of turns, that hold something and are not used."""
    labels: list = field(default_factory=list)
    characters: int = 0
    bytes: int = 0
    source: dict = field(default_factory=dict)
    """Where it came from: a file's name and size, or a hub id with revision, licence and citation."""
    parent: str | None = None
    """The data set that this is a new version of."""
    family: str = ""
    version: int = 1
    change: str = ""
    """What made this version, in a sentence."""
    format_version: int = 1

    def to_dict(self) -> dict:
        return asdict(self)

    def in_menu(self) -> dict:
        """{dataset_id, name, version, kept, task, created}: what tells it from others in a menu."""
        return {key: getattr(self, key) for key in ("dataset_id", "name", "version", "kept", "task", "created")}


def list_datasets(home: Home) -> list[DatasetInfo]:
    """All data sets, the newest first. Folders that cannot be read are left out: they are not whole."""
    found = []
    for folder in home.datasets.iterdir() if home.datasets.is_dir() else ():
        try:
            found.append(get_dataset(home, folder.name))
        except UserError:
            continue
    # Times are to the second: of two versions made in one, the later version is the newer.
    return sorted(found, key=lambda info: (info.created, info.version, info.dataset_id), reverse=True)


def get_dataset(home: Home, dataset_id: str) -> DatasetInfo:
    """The data set with this id; raises UserError if there is none or it is damaged."""
    path = folder_of(home, dataset_id) / "info.json"
    try:
        values = read_json(path)
        known = {item.name for item in fields(DatasetInfo)}
        info = DatasetInfo(**{key: value for key, value in values.items() if key in known})
        odd = "dataset_id" if info.dataset_id != dataset_id else _odd_field(info)
        if odd:
            raise ValueError(f"{odd} is odd")
        return info
    except FileNotFoundError as error:
        raise _gone(dataset_id) from error
    except (ValueError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise UserError("err_dataset_damaged", dataset=dataset_id) from error


def _gone(dataset_id: str) -> UserError:
    return UserError("err_no_dataset", dataset_id=dataset_id)


def _odd_field(info: DatasetInfo) -> str | None:
    """The name of a field that does not hold what it must; None when all do."""
    for item in fields(info):
        value = getattr(info, item.name)
        kind = cast(type, item.type)  # no annotation of DatasetInfo is a string
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            return item.name
    whole = all(value >= 0 for value in (info.rows, info.records, info.kept, info.characters, info.bytes, info.version))
    if not whole or info.task not in TASKS:
        return "task" if whole else "rows"
    texts = [*info.columns, *info.labels, *info.filters, *info.unused, *info.roles, *info.roles.values(), *info.counts]
    if not all(isinstance(text, str) for text in texts) or not set(info.filters) <= BIT.keys():
        return "filters"
    if not all(isinstance(count, int) for count in info.counts.values()):
        return "counts"
    figures = info.tokens or {}
    if not all(isinstance(figures.get(name, 0), int | float) for name in _FIGURES):
        return "tokens"
    if info.tokens is not None and not (figures.keys() >= _FIGURES and isinstance(figures.get("loss_on"), str)):
        return "tokens"
    if info.measured is not None and not _MEASURE_KEY.fullmatch(info.measured):
        return "measured"
    return None if all(isinstance(problem, dict) for problem in info.problems) else "problems"


def still_there(function):
    """`function(home, dataset_id, …)`, but a data set that is deleted meanwhile ends in a sentence."""

    @functools.wraps(function)
    def call(home: Home, dataset_id: str, *args, **options):
        try:
            return function(home, dataset_id, *args, **options)
        except OSError as error:
            raise_if_gone(home, [dataset_id], error)
            raise

    return call


def raise_if_gone(home: Home, dataset_ids: list[str], error: OSError) -> None:
    """Raises UserError for the first of these data sets that is no longer there."""
    for dataset_id in dataset_ids:
        if not (folder_of(home, dataset_id) / "info.json").is_file():
            raise _gone(dataset_id) from error


def folder_of(home: Home, dataset_id: str) -> Path:
    return child(home.datasets, dataset_id)


def save_info(folder: Path, info: DatasetInfo) -> None:
    write_json(folder / "info.json", info.to_dict())


def change_info(home: Home, dataset_id: str, **changes) -> DatasetInfo:
    """The data set's info with these changes, written; what others changed meanwhile stays. Raises UserError."""
    with _CHANGING:
        info = replace(get_dataset(home, dataset_id), **changes)
        try:
            save_info(folder_of(home, dataset_id), info)
        except FileNotFoundError as error:
            raise _gone(dataset_id) from error
    return info


def clean_name(name: str) -> str:
    """The name as it is kept: printable, on one line, 1 to 80 characters, no folders."""
    name = str(name).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:80].strip(". ")
    return name or "data set"


def rename_dataset(home: Home, dataset_id: str, name: str) -> DatasetInfo:
    """Gives it another name; its content, id and hash stay. Raises UserError for an empty name."""
    if not str(name).strip():
        raise UserError("err_empty_name")
    return change_info(home, dataset_id, name=clean_name(name))


def delete_dataset(home: Home, dataset_id: str) -> None:
    """Removes it. Later versions of it stay: each is whole by itself. Raises UserError if there is none."""
    folder = folder_of(home, dataset_id)
    if not folder.is_dir():
        raise _gone(dataset_id)
    home.tmp.mkdir(parents=True, exist_ok=True)
    trash = Path(tempfile.mkdtemp(dir=home.tmp, prefix="deleted."))
    try:
        folder.rename(trash / folder.name)  # gone at once for everyone else, even if removing it takes a while
        shutil.rmtree(home.untouched / dataset_id, ignore_errors=True)  # it has the held-out records' texts
    except FileNotFoundError as error:  # somebody else was faster
        raise _gone(dataset_id) from error
    finally:
        shutil.rmtree(trash, ignore_errors=True)


# ---- files of a folder ----


class Writer:
    """Record batches into an Arrow file."""

    def __init__(self, path: Path, schema: pa.Schema):
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, schema)
        self.schema = schema

    def write(self, batch) -> None:
        if isinstance(batch, pa.Table):
            self._writer.write_table(batch, max_chunksize=1000)
        else:
            self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def open_arrow(path: Path):
    """A reader of an Arrow file, memory-mapped. Raises UserError if it is missing or damaged."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except FileNotFoundError as error:
        if path.parent.is_dir():
            raise UserError("err_dataset_damaged", dataset=path.parent.name) from error
        raise _gone(path.parent.name) from error
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError("err_dataset_damaged", dataset=path.parent.name) from error


CHECKS = pa.schema(
    [
        ("row", pa.int64()),
        ("line", pa.int64()),
        ("flags", pa.uint32()),
        ("other", pa.int64()),
        ("group", pa.int64()),
        ("characters", pa.int64()),
        ("digest", pa.binary(16)),
        ("prompt", pa.uint64()),
        ("answer", pa.uint64()),
        ("held_out", pa.bool_()),
    ]
)
LEFT_OUT = pa.schema(
    [
        ("row", pa.int64()),
        ("line", pa.int64()),
        ("code", pa.string()),
        ("reason", pa.string()),
        ("excerpt", pa.string()),
        ("said", pa.string()),  # JSON: key and values of the reason, which is English
    ]
)


def read_checks(folder: Path) -> pa.Table:
    return open_arrow(folder / "checks.arrow").read_all()


def column(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy()


def kept_mask(flags: np.ndarray, filters) -> np.ndarray:
    """bool (N,): the records that these filters leave."""
    return (flags & np.uint32(mask(filters))) == 0


def content_hash(task: str, digests: pa.ChunkedArray, kept: np.ndarray) -> str:
    """SHA-256 over the task and the digests of the kept records in their order."""
    state = hashlib.sha256(task.encode())
    done = 0
    for chunk in digests.chunks:
        raw = np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * 16 : (chunk.offset + len(chunk)) * 16]
        state.update(raw.reshape(-1, 16)[kept[done : done + len(chunk)]].tobytes())
        done += len(chunk)
    return state.hexdigest()
