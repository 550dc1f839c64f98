"""A file, or rows from elsewhere, becomes a data set: read, detect, normalise, check, measure, write; whole or not at all.

Knows no page and no torch. Memory is bounded: rows pass through in batches, and what is held of each record
until the end are a few numbers (hashes, flags, a signature of 256 bytes).
"""

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import Sentence, beside, say
from llmdemo.core.store import Home, new_id, whole_folder
from llmdemo.data import measure, tokenised
from llmdemo.data.codes import ABOUT_TOKENS, CODES, DEFAULT_FILTERS
from llmdemo.data.columns import check_mapping
from llmdemo.data.deduplication import Held, deduplicate
from llmdemo.data.files import Part, file_parts, require_room, several
from llmdemo.data.library import (
    LEFT_OUT,
    DatasetInfo,
    Writer,
    change_info,
    clean_name,
    save_info,
)
from llmdemo.data.measure import DEFAULT_MAX_LENGTH, Meter, Stopped
from llmdemo.data.records import MAX_KINDS, SCHEMAS, to_batch
from llmdemo.data.render import TEMPLATE_KEYS, takes
from llmdemo.data.report import by_file, problems
from llmdemo.data.rows import BadRow
from llmdemo.data.shapes import MAX_LABELS, SAMPLE_ROWS, Shape, detect
from llmdemo.data.tokenised import MadeWith
from llmdemo.data.values import Bad, Notes, whole_characters
from llmdemo.settings import Settings

_LEFT_OUT_KEPT = 100_000
"""Rows left out that are kept with their reason; the others are only counted."""


def add_dataset(
    home: Home,
    settings: Settings,
    path: Path | str | Sequence[Path | str],
    name: str,
    *,
    tokenizer=None,
    columns: dict | None = None,
    task: str | None = None,
    made_with: MadeWith | None = None,
    max_length: int = DEFAULT_MAX_LENGTH,
    progress=None,
    should_stop=None,
) -> DatasetInfo:
    """Adds the file at `path`, which may be packed with gzip or zstd, under `name`; returns what is known of it.

    Several paths become one data set: each file may have a format and columns of its own, and all must be of one task. Rows are
    counted on from file to file; source["files"] tells of each its first row, rows, kept records and problems.
    columns maps roles to columns by hand (see columns.ROLES), in the files that have these columns; task is one of
    shapes.TASKS or None to detect it. made_with: the tokenizer of rows that are token ids; without it they raise
    TokenizerNeeded. progress(share done 0…1, what is being done) is called often; once should_stop() is
    true, Stopped is raised. Raises UserError (ColumnsNeeded where a mapping would help) with the place; nothing is left behind then.
    """
    paths = several(path)
    parts = file_parts(paths, home, settings, should_stop)
    intake = _Intake(settings, tokenizer, max_length, columns, task, len(paths))
    intake.made_with = made_with
    size = sum(
        os.path.getsize(each) for each in paths if os.path.isfile(each)
    )  # pathlib raises for a name that is too long
    return _add(home, settings, parts, name, intake, size, progress, should_stop)


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
    expected_rows: int = 0,
    **extra,
) -> DatasetInfo:
    """As `add_dataset`, for batches of raw rows (rows.Batch) from anywhere; `extra` goes into the DatasetInfo.

    expected_rows is what the batches' `done` is a share of.
    """
    intake = _Intake(settings, tokenizer, max_length, columns, task)
    with closing(batches):
        parts = (part for part in (Part(batches, format_, source, expected_rows),))
        return _add(home, settings, parts, name, intake, 0, progress, should_stop, **extra)


def _add(
    home: Home, settings: Settings, parts, name: str, intake: "_Intake", size: int, progress, should_stop, **extra
) -> DatasetInfo:
    """Takes the parts in, into a folder that is whole or not there. size: bytes of all files, 0 where there is none."""
    require_room(home, settings, size)
    dataset_id = new_id("data")
    try:
        with closing(parts), whole_folder(home.datasets / dataset_id, home.tmp) as folder:
            _take_all(intake, folder, parts, size, progress, should_stop)
            step = _steps(progress, should_stop)
            info = intake.finish(dataset_id, clean_name(name or intake.parts[0].stem), extra, step)
            save_info(folder, info)
    except OSError as error:
        raise UserError("err_data_not_written", reason=error.strerror or error) from error
    return with_problems(home, info)


def _take_all(intake: "_Intake", folder: Path, parts, whole: int, progress, should_stop) -> None:
    before = 0
    try:
        for part in parts:
            head, batches = _peek(part.batches)
            intake.begin(folder, part, [row for batch in head for row in batch.rows][:SAMPLE_ROWS])
            own = part.source.get("bytes", 1) if whole else 1
            for batch in batches:
                if should_stop and should_stop():
                    raise Stopped()
                intake.take(batch)
                if progress:
                    share = (before + own * min(1.0, batch.done / max(1, part.size))) / max(1, whole)
                    progress(0.95 * min(1.0, share), say("data_working_read", n=intake.rows))
            before += own
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
    """The info with its first 200 problems, and what each of several files has, in the data set's folder too."""
    source = {**info.source, "files": by_file(home, info)} if "files" in info.source else info.source
    return change_info(home, info.dataset_id, problems=problems(home, info.dataset_id)[0], source=source)


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

    def __init__(
        self, settings: Settings, tokenizer, max_length: int, columns: dict | None, task: str | None, files: int = 1
    ):
        self.settings, self.tokenizer, self.max_length = settings, tokenizer, max_length
        self.columns, self.task, self.several = columns, task, files > 1
        self.parts: list[Part] = []
        self.firsts: list[int] = []  # the first row of each
        self.shapes: list[Shape] = []
        self.rows = self.left_out = 0
        self.counts: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.first_reason = ""
        self.held: list[Held] = []
        self.notes = Notes()
        self.carried: set[str] = set()
        self.kinds: set[str] = set()
        self.made_with: MadeWith | None = None
        self.records: Writer | None = None
        self.meter: Meter | None = None

    @property
    def shape(self) -> Shape:
        """That of the part that is being read."""
        return self.shapes[-1]

    def begin(self, folder: Path, part: Part, sample: list) -> None:
        """Goes on with this part, whose first rows are `sample`. Raises UserError where it is not of the others' task."""
        shape = self._shape_of(part, sample)
        if shape.name == tokenised.SHAPE and self.made_with is None:
            raise tokenised.TokenizerNeeded()
        if self.records is None:
            self.folder = folder
            self.records = Writer(folder / "records.arrow", SCHEMAS[shape.task])
            self.bad = Writer(folder / "left_out.arrow", LEFT_OUT)
            if self.tokenizer is not None:
                self.meter = Meter(folder, shape.task, self.tokenizer, self.max_length, "response")
        self.parts.append(part)
        self.firsts.append(self.rows + 1)
        self.shapes.append(shape)

    def _shape_of(self, part: Part, sample: list) -> Shape:
        if not self.several:
            return detect(sample, self.columns, self.task)
        name = part.source["file"]
        there = [column for row in sample if isinstance(row, dict) for column in row]
        own = isinstance(self.columns, dict) and all(column in there for column in self.columns.values() if column)
        try:
            shape = detect(sample, self.columns if own else None, self.task)
        except UserError as error:
            error.message = say("err_in_file", name=name, said=error.message)
            error.args = (f"{error.message} {error.hint}".strip(),)
            raise
        if self.shapes and shape.task != self.shape.task:
            tasks = {"task": shape.task, "other": self.shape.task}
            raise UserError("err_files_of_tasks", name=name, first=self.parts[0].source["file"], **tasks)
        return shape

    def close(self) -> None:
        if self.records is not None:
            self.records.close()
            self.bad.close()

    def take(self, batch) -> None:
        records, lines, bad = [], [], []
        for number, raw in enumerate(batch.rows):
            row = self.firsts[-1] - 1 + batch.first_row + number
            line = batch.lines[number] if batch.lines else 0
            try:
                made = self.shape.records(raw, self.notes)
                if self.made_with and self.shape.name == tokenised.SHAPE:
                    made = [self.made_with.checked(record) for record in made]
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
        if self.made_with and self.shape.name == tokenised.SHAPE:
            for record, text in zip(records, self.made_with.texts(records), strict=True):
                record["text"] = text
        batch = to_batch(records, self.shape.task)
        assert self.records is not None, "begin() was called"
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

    def finish(self, dataset_id: str, name: str, extra: dict, step) -> DatasetInfo:
        task, source = self.shape.task, self._source()
        if self.several and self.columns and not any(shape.name == "columns" for shape in self.shapes):
            check_mapping(self.columns, self._columns())  # that no file has
        self._must_be_usable()
        held = Held.joined(self.held)
        found = deduplicate(self.folder, held, task, DEFAULT_FILTERS, step)
        if not found.kept.any():
            raise UserError("err_checks_leave_none", what=_commonest(found.counts))
        return DatasetInfo(
            dataset_id=dataset_id,
            name=name,
            format=_listed([part.format for part in self.parts]),
            shape=_listed([shape.name for shape in self.shapes]),
            task=task,
            rows=self.rows,
            records=len(held),
            kept=int(found.kept.sum()),
            counts={**self.counts, **found.counts},
            filters=list(DEFAULT_FILTERS),
            content_hash=found.content_hash,
            created=now(),
            tokens=self._measured(found.kept),
            measured=self.meter.key if self.meter else None,
            columns=[whole_characters(column) for column in self._columns()[:100]],
            roles={role: whole_characters(column) for role, column in self.shapes[0].roles.items()},
            unused=self._unused(),
            labels=sorted(self.labels),
            characters=found.characters,
            bytes=source.get("bytes", 0),
            source=source,
            family=dataset_id,
            **extra,
        )

    def _columns(self) -> list:
        """Of all files, each once."""
        return list(dict.fromkeys(column for shape in self.shapes for column in shape.columns))

    def _source(self) -> dict:
        """Where it came from: the file, or each of the files; of token ids with the tokenizer that made them."""
        made = self.made_with.about if self.made_with and any(s.name == tokenised.SHAPE for s in self.shapes) else None
        more = {"tokenizer": made} if made else {}
        if not self.several:
            return {**self.parts[0].source, **more}
        ends = [*self.firsts[1:], self.rows + 1]
        files = [
            {**part.source, "format": part.format, "first_row": first, "rows": end - first}
            for part, first, end in zip(self.parts, self.firsts, ends, strict=True)
        ]
        return {"files": files, "bytes": sum(each["bytes"] for each in files), **more}

    def _unused(self) -> list[str]:
        """Columns and keys without a use, in the order of the file; with them what the model's template does not take."""
        names = {str(column)[:80]: place for place, column in enumerate(self._columns())}
        unused = set(self.notes.unused)
        if not 2 <= len(self.kinds) <= MAX_KINDS:
            unused |= {shape.roles["kind"][:80] for shape in self.shapes if "kind" in shape.roles}
        if self.tokenizer is not None:
            unused |= {
                shown
                for name, shown in TEMPLATE_KEYS.items()
                if name in self.carried and not takes(self.tokenizer, name)
            }
        ordered = sorted(unused, key=lambda name: (names.get(name, len(names)), name))
        return [whole_characters(name) for name in ordered]

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


def _listed(names: list[str]) -> str:
    """Each once."""
    return ", ".join(dict.fromkeys(names))


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
