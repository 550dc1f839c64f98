"""A file, or rows from elsewhere, becomes a data set: read, detect, normalise, check, measure, write; whole or not at all.

Knows no page and no torch. Memory is bounded: rows pass through in batches, and what is held of each record
until the end are a few numbers (hashes, flags, a signature of 256 bytes).
"""

import time
from collections import Counter
from contextlib import closing
from itertools import chain
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from llmdemo.access.disk_quota import check_quota
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import Sentence, beside, say
from llmdemo.core.store import Home, free_bytes, new_id, whole_folder
from llmdemo.data import measure
from llmdemo.data.codes import ABOUT_TOKENS, CODES, DEFAULT_FILTERS
from llmdemo.data.deduplication import Held, deduplicate
from llmdemo.data.documents import read_document
from llmdemo.data.format_detection import ENCODINGS, FORMATS, detect_format, shown_name
from llmdemo.data.library import (
    LEFT_OUT,
    DatasetInfo,
    Writer,
    change_info,
    clean_name,
    save_info,
)
from llmdemo.data.measure import DEFAULT_MAX_LENGTH, Meter, Stopped
from llmdemo.data.packed import unpacked_file
from llmdemo.data.parquet import read_parquet
from llmdemo.data.readers import read_batches
from llmdemo.data.records import MAX_KINDS, SCHEMAS, to_batch
from llmdemo.data.render import TEMPLATE_KEYS, takes
from llmdemo.data.report import problems
from llmdemo.data.rows import BadRow
from llmdemo.data.shapes import MAX_LABELS, SAMPLE_ROWS, Shape, detect
from llmdemo.data.values import Bad, Notes
from llmdemo.settings import Settings

_LEFT_OUT_KEPT = 100_000
"""Rows left out that are kept with their reason; the others are only counted."""


def add_dataset(
    home: Home,
    settings: Settings,
    path: Path,
    name: str,
    *,
    tokenizer=None,
    columns: dict | None = None,
    task: str | None = None,
    max_length: int = DEFAULT_MAX_LENGTH,
    progress=None,
    should_stop=None,
) -> DatasetInfo:
    """Adds the file at `path`, which may be packed with gzip or zstd, under `name`; returns what is known of it.

    columns maps roles to columns by hand (see columns.ROLES), task is one of shapes.TASKS or None to detect it.
    progress(share done 0…1, what is being done) is called often; once should_stop() is true, Stopped is raised.
    Raises UserError (ColumnsNeeded where a mapping would help) with the place; nothing is left behind then.
    """
    path = Path(path)
    with unpacked_file(path, home.tmp, settings.max_upload_bytes, should_stop) as inside:
        format_, encoding = detect_format(inside, settings.max_upload_bytes)
        source = {"file": shown_name(path.name), "bytes": path.stat().st_size}
        shown = FORMATS[format_]
        if encoding in ENCODINGS:
            shown = f"{shown} in {ENCODINGS[encoding]}"
            source["encoding"] = ENCODINGS[encoding]
        return add_rows(
            home,
            settings,
            open_batches(inside, format_, encoding, settings.max_rows),
            name or inside.stem,
            shown,
            source,
            tokenizer=tokenizer,
            columns=columns,
            task=task,
            max_length=max_length,
            progress=progress,
            should_stop=should_stop,
            size=inside.stat().st_size,
        )


def open_batches(path: Path, format_: str, encoding: str, max_rows: int):
    """The batches of raw rows of a file that detect_format has named."""
    if format_ in ("parquet", "arrow"):
        return read_parquet(path, max_rows, FORMATS[format_])
    if format_ in ("pdf", "docx"):
        return read_document(path, format_)
    return read_batches(path, format_, encoding)


def add_rows(
    home: Home,
    settings: Settings,
    batches,
    name: str,
    format_: str,
    source: dict,
    *,
    tokenizer=None,
    columns=None,
    task=None,
    max_length: int = DEFAULT_MAX_LENGTH,
    progress=None,
    should_stop=None,
    size: int = 0,
    expected_rows: int = 0,
    **extra,
) -> DatasetInfo:
    """As `add_dataset`, for batches of raw rows (rows.Batch) from anywhere; `extra` goes into the DatasetInfo.

    size or expected_rows (one of them) is what the batches' `done` is a share of.
    """
    check_quota(home, settings)
    if free_bytes(home.root) < size * 3 + 64 * 2**20:
        raise UserError("err_no_room_for_data")
    dataset_id = new_id("data")
    try:
        with closing(batches), whole_folder(home.datasets / dataset_id, home.tmp) as folder:
            head, rows = _peek(batches)
            shape = detect([row for batch in head for row in batch.rows][:SAMPLE_ROWS], columns, task)
            intake = _Intake(folder, shape, settings, tokenizer, max_length)
            _take_all(intake, rows, size or expected_rows, progress, should_stop)
            step = _steps(progress, should_stop)
            info = intake.finish(dataset_id, clean_name(name), format_, source, extra, step)
            save_info(folder, info)
    except OSError as error:
        raise UserError("err_data_not_written", reason=error.strerror or error) from error
    return with_problems(home, info)


def _take_all(intake: "_Intake", batches, whole: int, progress, should_stop) -> None:
    try:
        for batch in batches:
            if should_stop and should_stop():
                raise Stopped()
            intake.take(batch)
            if progress:
                progress(0.95 * min(1.0, batch.done / max(1, whole)), say("data_working_read", n=intake.rows))
    finally:
        intake.close()


def _steps(progress, should_stop):
    """What is called between the parts of the work on all records together: tells how far it is, or gives up."""

    def step(share: float) -> None:
        if should_stop and should_stop():
            raise Stopped()
        if progress:
            progress(0.95 + 0.05 * share, say("data_working_duplicates"))

    return step


def with_problems(home: Home, info: DatasetInfo) -> DatasetInfo:
    """The info with its first 200 problems, in the data set's folder too."""
    return change_info(home, info.dataset_id, problems=problems(home, info.dataset_id)[0])


def _peek(batches):
    """(the first batches with a thousand rows together, all batches)."""
    head, rows = [], 0
    batches = iter(batches)
    for batch in batches:
        head.append(batch)
        rows += len(batch.rows)
        if rows >= SAMPLE_ROWS:
            break
    return head, chain(head, batches)


class _Intake:
    """Takes batches of raw rows into the files of a folder that is not a data set yet."""

    def __init__(self, folder: Path, shape: Shape, settings: Settings, tokenizer, max_length: int):
        self.folder, self.shape, self.settings, self.max_length = folder, shape, settings, max_length
        self.tokenizer = tokenizer
        self.rows = self.left_out = 0
        self.counts: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.first_reason = ""
        self.held: list[Held] = []
        self.notes = Notes()
        self.carried: set[str] = set()
        self.kinds: set[str] = set()
        self.records = Writer(folder / "records.arrow", SCHEMAS[shape.task])
        self.bad = Writer(folder / "left_out.arrow", LEFT_OUT)
        self.meter = Meter(folder, shape.task, tokenizer, max_length, "response") if tokenizer is not None else None

    def close(self) -> None:
        self.records.close()
        self.bad.close()

    def take(self, batch) -> None:
        records, lines, bad = [], [], []
        for number, raw in enumerate(batch.rows):
            row, line = batch.first_row + number, batch.lines[number] if batch.lines else 0
            try:
                made = self.shape.records(raw, self.notes)
            except Bad as problem:
                said = orjson.dumps(beside({"reason": problem.reason})).decode()
                bad.append((row, line, problem.code, problem.reason, _excerpt(raw), said))
                continue
            for record in made:
                records.append({"row": row, **record})
                lines.append(line)
        self.rows += len(batch.rows)
        if self.rows > self.settings.max_rows:
            raise UserError("err_too_many_rows", max_rows=self.settings.max_rows)
        self._leave_out(bad)
        if records:
            self._add(records, lines)

    def _leave_out(self, bad: list[tuple]) -> None:
        self.counts.update(code for _, _, code, *_ in bad)
        if bad and not self.first_reason:
            self.first_reason = say("row_reason", row=bad[0][0], reason=bad[0][3])
        room = max(0, _LEFT_OUT_KEPT - self.left_out)
        self.left_out += len(bad)
        if bad[:room]:
            self.bad.write(pa.record_batch([list(values) for values in zip(*bad[:room], strict=True)], schema=LEFT_OUT))

    def _add(self, records: list[dict], lines: list[int]) -> None:
        batch = to_batch(records, self.shape.task)
        self.records.write(batch)
        for name in ("tools", "reasoning"):
            if name in batch.schema.names and batch.column(name).null_count < batch.num_rows:
                self.carried.add(name)
        if len(self.kinds) <= MAX_KINDS:
            self.kinds.update(record.get("kind", "") for record in records)
        held = Held.of(records, lines, batch)
        if self.meter:
            held.flags |= self.meter.add(records)
        self.held.append(held)
        if self.shape.task == "classify":
            self.labels.update(record["label"] for record in records)
            if len(self.labels) > MAX_LABELS:
                raise UserError("err_label_column", max_labels=MAX_LABELS)

    def finish(self, dataset_id: str, name: str, format_: str, source: dict, extra: dict, step) -> DatasetInfo:
        task = self.shape.task
        self._must_be_usable()
        held = Held.joined(self.held)
        settled = deduplicate(self.folder, held, task, DEFAULT_FILTERS, step)
        if not settled.kept.any():
            raise UserError("err_checks_leave_none", what=_commonest(settled.counts))
        return DatasetInfo(
            dataset_id=dataset_id,
            name=name,
            format=format_,
            shape=self.shape.name,
            task=task,
            rows=self.rows,
            records=len(held),
            kept=int(settled.kept.sum()),
            counts={**self.counts, **settled.counts},
            filters=list(DEFAULT_FILTERS),
            content_hash=settled.content_hash,
            created=now(),
            tokens=self._measured(settled.kept),
            measured=self.meter.key if self.meter else None,
            columns=list(self.shape.columns)[:100],
            roles=self.shape.roles,
            unused=self._unused(),
            labels=sorted(self.labels),
            characters=settled.characters,
            bytes=source.get("bytes", 0),
            source=source,
            family=dataset_id,
            **extra,
        )

    def _unused(self) -> list[str]:
        """Columns and keys without a use, in the order of the file; with them what the model's template does not take."""
        names = {str(column)[:80]: place for place, column in enumerate(self.shape.columns)}
        unused = set(self.notes.unused)
        if "kind" in self.shape.roles and not 2 <= len(self.kinds) <= MAX_KINDS:
            unused.add(self.shape.roles["kind"][:80])
        if self.tokenizer is not None:
            unused |= {
                shown
                for name, shown in TEMPLATE_KEYS.items()
                if name in self.carried and not takes(self.tokenizer, name)
            }
        return sorted(unused, key=lambda name: (names.get(name, len(names)), name))

    def _must_be_usable(self) -> None:
        if not self.held:
            said = say("err_no_row_is_record", n=self.rows, first=self.first_reason)
            raise UserError(Sentence(said.strip(), said.key, said.values), say("err_no_row_is_record_hint"))
        if self.shape.task == "classify" and len(self.labels) < 2:
            raise UserError("err_one_label", label=repr(next(iter(self.labels))[:40]))

    def _measured(self, kept: np.ndarray) -> dict | None:
        if not self.meter:
            return None
        measured = measure.read_measured(self.folder, self.meter.finish())
        assert measured is not None, "the meter has just written it"
        return {**measure.summary(measured, kept, self.max_length, self.shape.task), "loss_on": "response"}


def now() -> str:
    """The time as it stands in `created`: UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _commonest(counts: dict[str, int]) -> str:
    name = max(counts, key=lambda each: counts[each])
    kind = "length" if name in ABOUT_TOKENS else "not_text" if name == "not_text" else "plain"
    title = Sentence(CODES[name].title, f"problem_{name}")
    return say(f"most_common_{kind}", title=title, n=counts[name])


def _excerpt(raw) -> str:
    if isinstance(raw, BadRow):
        return raw.excerpt
    try:
        return orjson.dumps(raw)[:2000].decode(errors="replace")[:200]
    except (TypeError, ValueError, RecursionError):
        return repr(raw)[:200]
