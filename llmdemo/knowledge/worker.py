"""Asks one model in a process of its own: `python -m llmdemo.knowledge.worker <folder>`.

What was found of each record is a line of records.jsonl at once; resumed, it goes on with the records that have none.
"""

import time

import numpy as np

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.events import EventWriter
from llmdemo.core.sentences import percent, say
from llmdemo.core.store import Home, write_json
from llmdemo.data.records import Records
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import Worker, perform, run_process
from llmdemo.knowledge.classes import counted, pair_of
from llmdemo.knowledge.found import RECORDS, RESULT, lines
from llmdemo.knowledge.service import RESUME
from llmdemo.models import catalog
from llmdemo.settings.knowledge import ProbeSpec

BATCH = 32


def work(folder: JobFolder, home: Home) -> int:
    """Does what the folder asks; writes RESULT. 0 unless our mistake ended it."""
    return perform(Worker(folder), lambda worker: _probe(worker, home), RESUME)


def asked_of(records: Records, spec: ProbeSpec, tokenizer) -> tuple[list[int], list[tuple[str, list[str]]]]:
    """(indices, pairs) of the records that can be asked, `limit` of them by the seed. Raises UserError where none can."""
    found = []
    for index, record in enumerate(records):
        pair = pair_of(record)
        if pair and len(tokenizer(pair[1][0], add_special_tokens=False)["input_ids"]) <= spec.max_new_tokens:
            found.append((index, pair))
    if not found:
        raise UserError("err_probe_none", most=spec.max_new_tokens)
    order = np.random.default_rng(spec.seed).permutation(len(found))[: spec.limit]
    chosen = [found[place] for place in sorted(order)]
    return [index for index, _ in chosen], [pair for _, pair in chosen]


def _probe(worker: Worker, home: Home) -> None:
    spec = ProbeSpec.from_dict(worker.folder.config()["spec"])
    records, entry = data.open_records(home, spec.dataset_id), catalog.resolve(home, spec.model_id)
    worker.write("phase", phase="loading")
    from llmdemo.evaluation.answers import loaded  # brings torch: what is wrong with the settings is told before that
    from llmdemo.knowledge.ask import Asker
    from llmdemo.models.load import best_device, usual_dtype

    path = worker.folder.path / RECORDS
    known = {line["index"]: line for line in lines(path)}
    with loaded(entry, usual_dtype(entry, best_device())) as (model, tokenizer):
        indices, pairs = asked_of(records, spec, tokenizer)
        asker, writer = Asker(model, tokenizer, spec, pairs), EventWriter(path)
        missing = [place for place, index in enumerate(indices) if index not in known]
        began, fresh = time.monotonic(), 0
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            done = len(indices) - len(missing) + start

            def tell(share: float, done: int = done, size: int = len(part), fresh: int = fresh) -> None:
                worked = fresh + share * size
                left = (time.monotonic() - began) / worked * (len(missing) - worked) if worked else None
                worker.progress(
                    done=round(done + share * size, 1),
                    total=len(indices),
                    counts=counted([*known.values()]),
                    eta_seconds=None if left is None else round(left),
                )

            for line in asker.asked([indices[place] for place in part], [pairs[place] for place in part], tell):
                writer.write("record", **line)
                known[line["index"]] = line
            fresh += len(part)
        worker.check()
    found = [known[index] for index in indices]
    result = {
        "dataset_id": spec.dataset_id,
        "content_hash": records.info.content_hash,
        "asked": len(found),
        "records": len(records),
        "counts": counted(found),
        "advice": advice(counted(found)),
    }
    write_json(worker.folder.path / RESULT, result)


def advice(counts: dict[str, int]) -> str:
    """What to do, in a sentence, by the share of unknown records."""
    total = max(1, sum(counts.values()))
    share = counts["unknown"] / total
    key = "probe_advice_unknown" if share > 0.5 else "probe_advice_some" if share > 0.1 else "probe_advice_known"
    return say(key, share=percent(share))


if __name__ == "__main__":
    run_process(work)
