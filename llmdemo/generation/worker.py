"""Makes one data set in a process of its own: `python -m llmdemo.generation.worker <folder>`.

Every record that was made, kept or not, is a line of records.jsonl at once; a stop or a kill loses the batch on its way
only, and what was kept becomes a data set all the same. Resumed, it goes on with the next number.
"""

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.json_lines import append_lines
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, read_json, write_json
from llmdemo.data.ingest import add_rows
from llmdemo.data.library import MADE, folder_of, save_info
from llmdemo.data.rows import batches_of
from llmdemo.generation.kinds import KINDS, sources_of
from llmdemo.generation.log import RECORDS, Log, highest
from llmdemo.generation.service import RESULT, RESUME
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import Stopped, Worker, perform, run_process
from llmdemo.models import catalog
from llmdemo.settings import Settings
from llmdemo.settings.generation import GenerationSpec

BATCH, JUDGED_BATCH = 32, 8
"""Records at once; fewer where each waits for a judge, since a stop loses those on their way."""
_SOON, _LEAST_SHARE = 64, 0.05
"""After so many attempts a share of kept records below this ends the work: it would take forever."""
_SHOWN = 240
"""Characters of the newest record that the progress tells."""


def work(folder: JobFolder, home: Home, secret: str = "") -> int:
    """Does what the folder asks, and writes result.json {dataset_id, kept, made, cut, reasons, left_out, seconds_each (log.py)}; 0 unless our mistake ended it.

    secret: the keys of the endpoints that write ("maker") and judge ("judge"), as JSON; they are written nowhere.
    """
    keys: dict[str, str] = json.loads(secret) if secret else {}

    def generate(worker: Worker) -> None:
        config = folder.config()
        spec = GenerationSpec.from_dict(config["spec"])
        log = Log(folder.path / RECORDS)
        try:
            _Work(worker, home, spec, keys, log).do()
        except (Stopped, UserError):  # what was made stays, whatever ended it
            _finish(folder, home, spec, str(config.get("model_title") or ""), log)
            raise
        finally:
            log.close()
        _finish(folder, home, spec, str(config.get("model_title") or ""), log)
        if not log.kept:
            raise _nothing(spec, log)

    return perform(Worker(folder), generate, RESUME)


class _Work:
    """The making itself: models, batches, progress."""

    def __init__(self, worker: Worker, home: Home, spec: GenerationSpec, keys: dict[str, str], log: Log):
        self._worker, self._home, self._spec, self._keys, self._log = worker, home, spec, keys, log
        self._sources = sources_of(home, spec)
        self._wanted = to_make(spec, None if self._sources is None else len(self._sources))
        self._size = 1

    def do(self) -> None:
        self._worker.write("phase", phase="loading")
        # Imported here, since they bring torch: what is wrong with the settings is told before that takes its seconds.
        from llmdemo.generation.make import Maker, key_of
        from llmdemo.generation.referee import referee_of

        spec, log = self._spec, self._log
        users = ([turn for turn in line["messages"] if turn["role"] == "user"] for line in log.kept)
        seen = {key_of(turns[0]["content"]) for turns in users if turns}
        numbers = itertools.count() if self._sources is None else iter(range(len(self._sources)))
        left = (number for number in numbers if number not in log.done)
        judged = spec.judge.kind != "none" or spec.checker is not None
        with ExitStack() as stack:
            load = held_by(stack)
            writers = self._writers(stack, load)
            referee = stack.enter_context(referee_of(self._home, spec, self._keys.get("judge", ""), self._tell, load))
            self._worker.write("phase", phase="writing")
            log.begin()
            maker = Maker(writers, spec, seen, referee)
            while len(log.kept) < self._wanted and (part := list(islice(left, JUDGED_BATCH if judged else BATCH))):
                self._size = len(part)
                sources = [None if self._sources is None else self._sources[number] for number in part]
                for each in KINDS[spec.kind].make(maker, list(zip(part, sources, strict=True))):
                    if each.reason != "lost" and len(log.kept) < self._wanted:
                        log.add(each.to_dict())
                self._tell()
                if maker.failure:
                    raise maker.failure
                if log.made >= _SOON and len(log.kept) < _LEAST_SHARE * log.made:
                    raise _nothing(spec, log)

    def _writers(self, stack: ExitStack, load) -> list:
        """The one that writes, and of pairs the one of the second answers, which may be the same."""
        from llmdemo.generation.endpoint_writer import EndpointWriter
        from llmdemo.generation.writers import LocalWriter
        from llmdemo.models.load import best_device, usual_dtype

        spec = self._spec

        def local(model_id: str) -> LocalWriter:
            entry = catalog.resolve(self._home, model_id)
            model, tokenizer = stack.enter_context(load(entry, usual_dtype(entry, best_device())))
            return LocalWriter(entry.id, model, tokenizer, self._tell)

        def remote(model: str) -> EndpointWriter:
            writer = EndpointWriter(spec, model, self._keys.get("maker", ""), self._tell)
            stack.callback(writer.close)
            return writer

        writers = [remote(spec.model) if spec.url.strip() else local(spec.model_id)]
        if spec.kind == "pairs" and spec.second_model_id:
            writers.append(local(spec.second_model_id))
        elif spec.kind == "pairs" and spec.url.strip() and spec.second_model.strip():
            writers.append(remote(spec.second_model))
        return writers

    def _tell(self, share: float = 0.0) -> None:
        """Progress; raises Stopped once a stop was asked for."""
        log, wanted = self._log, self._wanted
        kept, each = len(log.kept), log.seconds_each
        self._worker.progress(
            kept=kept, made=log.made, cut=log.cut, total=wanted, under_way=round(share * self._size, 1),
            reasons=dict(log.reasons), last=_shown(log.kept[-1]) if log.kept else [],
            eta_seconds=None if each is None else round(each * (wanted - kept)),
        )  # fmt: skip


def held_by(stack: ExitStack):
    """As evaluation.answers.loaded, but each model is loaded once and stays until `stack` is left."""
    from llmdemo.evaluation.answers import loaded

    held: dict = {}

    @contextmanager
    def load(entry, dtype) -> Iterator[tuple]:
        if (entry.id, dtype) not in held:
            held[entry.id, dtype] = stack.enter_context(loaded(entry, dtype))
        yield held[entry.id, dtype]

    return load


def to_make(spec: GenerationSpec, sources: int | None) -> int:
    """Records to keep before a share of them is left out at the end, so that `number` stay; no more than there are sources."""
    number = spec.number
    while number - int(spec.perplexity_share * number) < spec.number:
        number += 1
    return number if sources is None else min(number, sources)


def _finish(folder: JobFolder, home: Home, spec: GenerationSpec, title: str, log: Log) -> None:
    """The kept records as a data set, in the place of one that an earlier stop left; none where nothing was kept."""
    from llmdemo.generation.make import row_of

    left_out = highest(log.kept, spec.perplexity_share)
    lines = [line for line in log.kept if line["number"] not in left_out]
    reasons = dict(log.reasons) | ({"perplexity_share": len(left_out)} if left_out else {})
    result = {"dataset_id": "", "kept": len(lines), "made": log.made, "cut": log.cut, "reasons": reasons}
    result |= {"left_out": sorted(left_out), "seconds_each": log.seconds_each}
    if lines:
        about = {key: result[key] for key in ("made", "cut", "reasons")}
        about |= {"model_title": title, "job_id": folder.id, "revision": _revision(home, spec)}
        info = add_rows(
            home,
            Settings.from_env(),
            batches_of([row_of(line) for line in lines]),
            spec.name or f"Made by {title}",
            "generated",
            {"generated": spec.to_dict() | about},
            task=KINDS[spec.kind].gives,
            expected_rows=len(lines),
        )
        append_lines(folder_of(home, info.dataset_id) / MADE, [_how(row, line) for row, line in enumerate(lines, 1)])
        earlier = _version(home, str(_result(folder).get("dataset_id") or ""))
        if earlier:
            save_info(folder_of(home, info.dataset_id), replace(info, **earlier))
        result["dataset_id"] = info.dataset_id
    write_json(folder.path / RESULT, result)


def _how(row: int, line: dict) -> dict:
    """What the data set keeps of the log's line beside the record itself: number, source, perplexity, judged, drawn, …"""
    itself = ("type", "t", "reason", "messages", "answers", "tools", "other_answers")
    return {"row": row} | {key: value for key, value in line.items() if key not in itself}


def _revision(home: Home, spec: GenerationSpec) -> str | None:
    return None if spec.url.strip() else catalog.resolve(home, spec.model_id).revision


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


def _nothing(spec: GenerationSpec, log: Log) -> UserError:
    """Nearly nothing of what was made could be kept."""
    reasons = [say(f"generation_{reason}", n=count) for reason, count in log.reasons.most_common()]
    key = "err_generation_pairs" if KINDS[spec.kind].judged else "err_generation_nothing"
    return UserError(key, made=log.made, kept=len(log.kept), reasons=reasons)


def _shown(line: dict) -> list[dict]:
    turns = line["messages"]
    if "answers" in line:
        winner = line["judged"]["winner"]
        turns = [
            *turns,
            *(
                {"role": role, "content": line["answers"][n]}
                for role, n in (("chosen", winner), ("rejected", 1 - winner))
            ),
        ]
    return [{"role": turn["role"], "content": turn["content"][:_SHOWN]} for turn in turns]


if __name__ == "__main__":
    run_process(work, has_secret=True)
