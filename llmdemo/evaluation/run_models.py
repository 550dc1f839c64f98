"""Evaluations of kind "answers" and "perplexity": one or two models on held-out records, and a judge over them.

Joins what the other modules know apart. Called by the worker; a model, a judge or a record that fails takes nothing
with it that was done before.
"""

import numpy as np
import orjson

from llmdemo.core.store import Home
from llmdemo.evaluation.answers import answers_of, kept_of, told_models
from llmdemo.evaluation.compare import record_of, summary, text_record
from llmdemo.evaluation.heldout import HeldOut, example, held_out, overlap
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.judging import judge_all
from llmdemo.jobs.worker import Stopped
from llmdemo.models import catalog
from llmdemo.settings.evaluation import Spec


def run_models(job: Job, home: Home, spec: Spec, key: str = "") -> dict:
    """The result: {models, held_out, figures, notes, judge}; records.jsonl is written too. Raises UserError, Stopped.

    When a stop comes after some records were asked of every model, the result of those is written before Stopped.
    """
    held = held_out(home, spec)
    entries = [catalog.resolve(home, model_id) for model_id in spec.model_ids]
    judging = spec.judge.kind != "none" and spec.kind == "answers"
    job.plan([(spec.kind, entry.title) for entry in entries] + [("judging", "")] * judging)
    sides = []
    try:
        for entry in entries:
            job.next_phase()
            sides.append(answers_of(job, home, entry, held, spec))
    except Stopped:
        _write_partial(job, home, spec, held, entries)
        raise
    records = _records(held, sides, spec)
    judged = None
    if judging:
        job.folder.write_records(records)
        job.folder.write("result", _result(home, spec, held, entries, records, None))
        job.next_phase()
        prompts = {int(index): example(held.records, index).prompt for index in held.indices}
        judged = judge_all(job, home, spec.judge, records, key, spec.split_seed, prompts)
    job.folder.write_records(records)
    return _result(home, spec, held, entries, records, judged)


def _write_partial(job: Job, home: Home, spec: Spec, held: HeldOut, entries: list) -> None:
    """What every model has answered so far, as a result of fewer records."""
    kept = [kept_of(home, entry, held, spec).lines for entry in entries]
    common = [index for index in held.indices.tolist() if all(index in lines for lines in kept)]
    if not common:
        return
    part = HeldOut(held.records, held.train, np.array(common))
    records = _records(part, [[lines[index] for index in common] for lines in kept], spec)
    job.folder.write("result", _result(home, spec, part, entries, records, None))
    job.folder.write_records(records)


def _records(held: HeldOut, sides: list[list[dict]], spec: Spec) -> list[dict]:
    found = []
    for place, index in enumerate(held.indices):
        lines = [side[place] for side in sides]
        if spec.kind == "answers":
            found.append(record_of(example(held.records, index), lines))
        else:
            found.append(text_record(held.records[int(index)], int(index), lines))
    return found


def _result(home: Home, spec: Spec, held: HeldOut, entries: list, records: list[dict], judged: dict | None) -> dict:
    return {
        "kind": spec.kind,
        "models": told_models(entries),
        "data": {"name": held.records.info.name, "content_hash": held.records.info.content_hash},
        "records": len(records),
        "figures": summary(records, len(entries), spec.split_seed),
        "notes": notes(home, spec, held, entries) + _cut(spec, entries, records),
        "judge": judged,
        "seed": spec.seed,
    }


def notes(home: Home, spec: Spec, held: HeldOut, entries: list) -> list[dict]:
    """What a reader must know: {"code", …numbers}: overlap, unknown, tokenizers, small."""
    found = []
    for entry in entries:
        seen = overlap(home, entry.id, held)
        if seen["seen"]:
            found.append({"code": "overlap", "model": entry.title, "n": seen["seen"], "of": seen["of"]})
        if seen["unknown"]:
            found.append({"code": "unknown", "model": entry.title, "data": ", ".join(seen["unknown"][:3])})
    if spec.kind != "classify" and len(entries) == 2 and _tokenizers_differ(entries):
        found.append({"code": "tokenizers"})
    if len(held.indices) < 20:
        found.append({"code": "small", "n": len(held.indices)})
    return found


def _cut(spec: Spec, entries: list, records: list[dict]) -> list[dict]:
    count = sum(any(record.get("cut", ())) for record in records)
    length = min(spec.max_length, *(entry.context or spec.max_length for entry in entries))
    found = [{"code": "cut", "n": count, "of": len(records), "tokens": length}] if count else []
    refused = sum(bool(record.get("refused")) for record in records)
    return found + ([{"code": "refused", "n": refused, "of": len(records)}] if refused else [])


def _tokenizers_differ(entries: list) -> bool:
    """Whether the two models cut texts differently: their losses a token are then of different tokens."""
    vocabularies = []
    for entry in entries:
        file = entry.path / "tokenizer.json"
        vocabularies.append(file.read_bytes() if file.is_file() else str(entry.id).encode())
    if vocabularies[0] == vocabularies[1]:
        return False
    return _vocabulary(vocabularies[0]) != _vocabulary(vocabularies[1])


def _vocabulary(content: bytes):
    """What decides about tokens in a tokenizer.json: truncation and padding, which training may set, do not."""
    try:
        value = orjson.loads(content)
        return {key: value.get(key) for key in ("model", "pre_tokenizer", "normalizer", "added_tokens")}
    except (ValueError, AttributeError):
        return content
