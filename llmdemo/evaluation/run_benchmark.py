"""Evaluations of kind "benchmark": one or two models on a standard benchmark's questions, side by side with intervals."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from llmdemo.core.store import Home
from llmdemo.evaluation.answers import chunks, identity, loaded, precision_of, tell_part, told_models
from llmdemo.evaluation.benchmark import FIGURES, choice_logprobs, cut_to, marks, written
from llmdemo.evaluation.benchmark_files import Question, read
from llmdemo.evaluation.folder import Kept
from llmdemo.evaluation.intervals import Ratio, difference, wilson
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.run_lm_eval import records_of, samples_of
from llmdemo.jobs.worker import Stopped
from llmdemo.models import catalog
from llmdemo.settings.evaluation import Spec

FORMAT = 2
"""Raised when what a kept line means changes."""
_BATCH = 16
_MOST_SHOWN = 2000
"""Characters of a context in the records."""


def run_benchmark(job: Job, home: Home, spec: Spec) -> dict:
    """The result: {kind, shape, models, data, records, figures, notes, judge, seed}; records.jsonl is written too.

    Raises UserError, Stopped; a stop after some questions were asked of every model leaves the result of those.
    """
    assert spec.benchmark is not None, "only an evaluation of a benchmark comes here"
    if spec.benchmark.shape == "lm_eval":
        return _by_lm_eval(job, home, spec)
    questions = read(home, spec.benchmark)
    order = np.random.default_rng(spec.split_seed).permutation(len(questions))[: spec.limit].tolist()
    entries = [catalog.resolve(home, model_id) for model_id in spec.model_ids]
    job.plan([("benchmark", entry.title) for entry in entries])
    kept = [_kept(home, entry, spec) for entry in entries]
    try:
        for entry, lines in zip(entries, kept, strict=True):
            job.next_phase()
            _ask(job, entry, questions, order, lines, spec)
    except Stopped:
        done = [place for place in order if all(place in lines.lines for lines in kept)]
        if done:
            job.folder.write("result", _result(job, spec, entries, questions, done, kept))
        raise
    return _result(job, spec, entries, questions, order, kept)


def _by_lm_eval(job: Job, home: Home, spec: Spec) -> dict:
    assert spec.benchmark is not None
    entries = [catalog.resolve(home, model_id) for model_id in spec.model_ids]
    job.plan([("benchmark", entry.title) for entry in entries])
    sides = []
    for entry in entries:
        job.next_phase()
        with loaded(entry, precision_of(spec, entry)) as (model, tokenizer):
            sides.append(samples_of(spec.benchmark.name, model, tokenizer, spec.limit))
    records, keys = records_of(sides, spec.benchmark.name)
    return _told(job, spec, entries, records, keys)


def _kept(home: Home, entry, spec: Spec) -> Kept:
    assert spec.benchmark is not None
    about = {
        "format": FORMAT,
        "model": identity(entry),
        "data": spec.benchmark.key,
        "precision": str(precision_of(spec, entry)),
    }
    return Kept(home, "benchmark", about)


def _ask(job: Job, entry, questions: list[Question], order: list[int], kept: Kept, spec: Spec) -> None:
    """Keeps a line for each question: {id, cut, lls} or {id, cut, text}; cut: see `cut_to`."""
    missing = [place for place in order if place not in kept.lines]
    done = len(order) - len(missing)
    job.tell(done, len(order))
    if not missing:
        return
    with loaded(entry, precision_of(spec, entry)) as (model, tokenizer):
        for part in chunks(missing, _BATCH):
            asked = [questions[place] for place in part]
            tell = partial(tell_part, job, done, len(order), len(part))
            found: list[dict]
            if asked[0].choices:
                found = [{"lls": each} for each in choice_logprobs(model, tokenizer, asked)]
            else:
                found = [{"text": each} for each in written(model, tokenizer, asked, tell)]
            cuts = cut_to(model, tokenizer, asked)
            kept.add([{"id": at, "cut": cut, **each} for at, cut, each in zip(part, cuts, found, strict=True)])
            done += len(part)
            job.tell(done, len(order), fresh=len(part))


def _result(job: Job, spec: Spec, entries: list, questions: list[Question], order: list[int], kept: list[Kept]) -> dict:
    assert spec.benchmark is not None
    keys = FIGURES[spec.benchmark.writes]
    records = [_record(place, questions[place], [lines.lines[place] for lines in kept], keys) for place in order]
    cuts = [
        _about_cuts(entry, [lines.lines[place]["cut"] for place in order])
        for entry, lines in zip(entries, kept, strict=True)
    ]
    return _told(job, spec, entries, records, keys, [note for note in cuts if note["n"]])


def _about_cuts(entry, cuts: list[int]) -> dict:
    """The note of the questions that a model did not read whole."""
    n = sum(cut > 0 for cut in cuts)
    return {"code": "cut_questions", "model": entry.title, "n": n, "of": len(cuts), "tokens": max(cuts, default=0)}


def _told(
    job: Job, spec: Spec, entries: list, records: list[dict], keys: tuple[str, ...], notes: Sequence[dict] = ()
) -> dict:
    """The result of the records, which are written. lm-eval tells of what it cuts in its own log alone."""
    assert spec.benchmark is not None
    job.folder.write_records(records)
    return {
        "kind": "benchmark",
        "shape": spec.benchmark.shape,
        "models": told_models(entries),
        "data": {"name": spec.benchmark.name, "content_hash": spec.benchmark.key},
        "records": len(records),
        "figures": [_figure(key, records, len(entries), spec.split_seed) for key in keys],
        "notes": [*notes, *([{"code": "small", "n": len(records)}] if len(records) < 20 else [])],
        "judge": None,
        "seed": spec.seed,
    }


def _record(place: int, question: Question, lines: list[dict], keys: tuple[str, ...]) -> dict:
    found = [marks(question, line) for line in lines]
    return {
        "index": place,
        "row": place + 1,
        "prompt": question.context[-_MOST_SHOWN:],
        "reference": question.choices[question.right] if question.choices else question.answer,
        "said": [each["said"] for each in found],
        **{key: [each[key] for each in found] for key in keys},
    }


def _figure(key: str, records: list[dict], models: int, seed: int) -> dict:
    """As compare.summary's, with each model's own 95 % interval (Wilson's)."""
    sides = [np.array([float(record[key][side]) for record in records]) for side in range(models)]
    ones = np.ones(len(records))
    change = None
    if models == 2 and len(records) > 1:
        change = difference(Ratio(sides[0], ones), Ratio(sides[1], ones), seed)
    clear = change is not None and not change["low"] <= 0 <= change["high"]
    return {
        "key": key,
        "values": [float(side.mean()) for side in sides],
        "intervals": [list(wilson(float(side.sum()), len(side)) or (None, None)) for side in sides],
        "n": len(records),
        "higher": True,
        "difference": change,
        "better": int(change["value"] > 0) if clear and change else None,
    }
