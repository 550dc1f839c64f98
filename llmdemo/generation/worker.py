"""Makes one data set in a process of its own: `python -m llmdemo.generation.worker <folder>`.

Every record that was made, kept or not, is a line of records.jsonl at once; a stop or a kill loses the batch on its way
only, and what was kept becomes a data set all the same. Resumed, it goes on with the next number.
"""

import itertools
import os
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.events import EventWriter, read_events
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, read_json, write_json
from llmdemo.data.ingest import add_rows
from llmdemo.data.library import folder_of, save_info
from llmdemo.data.rows import Batch
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import Stopped, Worker, perform
from llmdemo.models import catalog
from llmdemo.models.catalog import ModelEntry
from llmdemo.settings import Settings
from llmdemo.settings.generation import GenerationSpec

RECORDS, RESULT = "records.jsonl", "result.json"
RESUME = say("resume_generation")
_SOON, _LEAST_SHARE = 64, 0.05
"""After so many attempts a share of kept records below this ends the work: it would take forever."""
_SHOWN = 240
"""Characters of the newest record that the progress tells."""


class _Log:
    """What was made so far, on disk and in figures."""

    def __init__(self, folder: JobFolder):
        self._path = folder.path / RECORDS
        self.kept: list[list[dict]] = []
        self.reasons: Counter[str] = Counter()
        self.cut = 0
        self.next_number = 0
        for line in _lines(self._path):
            self._count(line)
        self.made_before = self.made
        self._writer = EventWriter(self._path)

    def add(self, record: dict) -> None:
        self._writer.write("record", **record)
        self._count(record)

    def _count(self, line: dict) -> None:
        self.next_number = max(self.next_number, line["number"] + 1)
        if line["reason"]:
            self.reasons[line["reason"]] += 1
        else:
            self.kept.append(line["messages"])
            self.cut += bool(line.get("cut"))

    @property
    def made(self) -> int:
        return len(self.kept) + self.reasons.total()


def main(argv: list[str]) -> int:
    return work(JobFolder(Path(argv[0])), Home(Path(os.environ["LLMDEMO_HOME"])))


def work(folder: JobFolder, home: Home) -> int:
    """Does what the folder asks, and writes result.json {dataset_id, kept, made, reasons}; 0 unless our mistake ended it."""

    def generate(worker: Worker) -> None:
        spec = GenerationSpec.from_dict(folder.config()["spec"])
        entry, log = catalog.resolve(home, spec.model_id), _Log(folder)
        try:
            _make(worker, home, spec, entry, log)
        except Stopped:
            _finish(folder, home, spec, entry, log)
            raise
        _finish(folder, home, spec, entry, log)
        if not log.kept:
            raise UserError("err_generation_nothing", made=log.made, kept=0, reasons=_told(log))

    return perform(Worker(folder), generate, RESUME)


def _make(worker: Worker, home: Home, spec: GenerationSpec, entry: ModelEntry, log: _Log) -> None:
    worker.write("phase", phase="loading")
    # Imported here, since they bring torch: what is wrong with the settings is told before that takes its seconds.
    from llmdemo.evaluation.answers import loaded
    from llmdemo.generation.make import Maker, batches, key_of
    from llmdemo.models.load import best_device, usual_dtype

    prompts = _prompts(home, spec)
    wanted = spec.number if prompts is None else min(spec.number, len(prompts))
    numbers = itertools.count(log.next_number) if prompts is None else iter(range(log.next_number, len(prompts)))
    seen = {key_of(turns[0]["content"]) for kept in log.kept if (turns := [t for t in kept if t["role"] == "user"])}
    began = time.monotonic()

    def tell(share: float = 0.0, count: int = 0) -> None:
        kept = len(log.kept)
        fresh = log.made - log.made_before
        pace = (time.monotonic() - began) / fresh if fresh else None
        rate = kept / log.made if log.made else 0.0
        left = pace * (wanted - kept) / rate if pace and rate else None
        worker.progress(
            kept=kept, made=log.made, cut=log.cut, total=wanted, under_way=round(share * count, 1), reasons=dict(log.reasons),
            last=_shown(log.kept[-1]) if log.kept else [], eta_seconds=None if left is None else round(left),
        )  # fmt: skip

    with loaded(entry, usual_dtype(entry, best_device())) as (model, tokenizer):
        worker.write("phase", phase="writing")
        size = [1]
        maker = Maker(model, tokenizer, spec, seen, lambda share: tell(share, size[0]))
        for part in batches(numbers):
            if len(log.kept) >= wanted:
                break
            size[0] = len(part)
            made = maker.conversations(part) if prompts is None else maker.answers({n: prompts[n] for n in part})
            for each in made:
                if len(log.kept) < wanted:
                    log.add(each.to_dict())
            tell()
            if log.made >= _SOON and len(log.kept) < _LEAST_SHARE * log.made:
                raise UserError("err_generation_nothing", made=log.made, kept=len(log.kept), reasons=_told(log))


def _prompts(home: Home, spec: GenerationSpec) -> list[list[dict]] | None:
    """The turns to answer, from another data set; None where instructions are made."""
    if spec.kind != "answers":
        return None
    records = data.open_records(home, spec.dataset_id)
    found = []
    for record in records:
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in record["messages"]]
        if (
            "chosen" not in record
        ):  # up to its first answer: a later question leans on answers that are not this model's
            first = next((n for n, turn in enumerate(turns) if turn["role"] == "assistant"), len(turns))
            turns = turns[:first]
        if turns:
            found.append(turns)
    return found


def _finish(folder: JobFolder, home: Home, spec: GenerationSpec, entry: ModelEntry, log: _Log) -> None:
    """The kept records as a data set, in the place of one that an earlier stop left; none where nothing was kept."""
    result = {"dataset_id": "", "kept": len(log.kept), "made": log.made, "cut": log.cut, "reasons": dict(log.reasons)}
    if log.kept:
        info = add_rows(
            home,
            Settings.from_env(),
            _rows(log.kept),
            spec.name or f"Made by {entry.title}",
            "generated",
            {"generated": spec.to_dict() | {"model_title": entry.title, "revision": entry.revision}},
            task="chat",
            expected_rows=len(log.kept),
        )
        earlier = _version(home, str(_result(folder).get("dataset_id") or ""))
        if earlier:
            save_info(folder_of(home, info.dataset_id), replace(info, **earlier))
        result["dataset_id"] = info.dataset_id
    write_json(folder.path / RESULT, result)


def _result(folder: JobFolder) -> dict:
    try:
        value = read_json(folder.path / RESULT)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _version(home: Home, dataset_id: str) -> dict:
    """What a data set is told that continues one of an earlier stop; {} for the first, or where that is gone."""
    try:
        before = data.get_dataset(home, dataset_id) if dataset_id else None
    except UserError:
        before = None
    if before is None:
        return {}
    family = before.family or before.dataset_id
    change = say("data_change_more_made")
    return {"parent": before.dataset_id, "family": family, "version": before.version + 1, "change": change}


def _rows(kept: list[list[dict]]):
    for start in range(0, len(kept), 1000):
        part = [{"messages": messages} for messages in kept[start : start + 1000]]
        yield Batch(first_row=start + 1, rows=part, done=start + len(part))


def _told(log: _Log) -> list[str]:
    return [say(f"generation_{reason}", n=count) for reason, count in log.reasons.most_common()]


def _shown(messages: list[dict]) -> list[dict]:
    return [{"role": turn["role"], "content": turn["content"][:_SHOWN]} for turn in messages]


def _lines(path: Path):
    offset = 0
    while True:
        events, end = read_events(path, offset)
        yield from (event for event in events if event.get("type") == "record" and isinstance(event.get("number"), int))
        if end == offset:
            return
        offset = end


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
