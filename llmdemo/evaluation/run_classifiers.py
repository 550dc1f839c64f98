"""Evaluations of kind "classify" and "kfold": classifiers and the small baselines on the same held-out texts.

Joins what the other modules know apart. Called by the worker.
"""

from functools import partial

import numpy as np

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data.labels import Classes, merge_labels, spelling
from llmdemo.evaluation import baselines, class_metrics, classifier
from llmdemo.evaluation.answers import FORMAT, chunks, identity, loaded, precision_of, told_models
from llmdemo.evaluation.folder import Kept
from llmdemo.evaluation.heldout import HeldOut, held_out, run_config
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.run_models import notes
from llmdemo.models import catalog
from llmdemo.settings.evaluation import Spec

_MISTAKES = 50
_MOST_SCORES = 200_000
_PART = 256
_EXCERPT = 600


def run_classifiers(job: Job, home: Home, spec: Spec) -> dict:
    """The result: {labels, models [figures …], baselines [figures …], curves, scores, mistakes, notes}. Raises UserError."""
    held = held_out(home, spec)
    entries = [catalog.resolve(home, model_id) for model_id in spec.model_ids]
    job.plan([("baselines", "")] + [("classify", entry.title) for entry in entries])
    job.next_phase()
    classes = _classes(held)
    labels, (texts, truth) = classes.names, _texts(held, held.indices, classes)
    positive = class_metrics.rarest(truth)
    small = _baselines(job, held, classes, texts, truth, positive)
    models, told, records = [], [], _records(held, texts, truth, labels)
    for entry in entries:
        job.next_phase()
        probabilities, cut = _probabilities(job, home, entry, held, texts, labels, spec)
        told += _about_cuts(entry, cut, spec)
        models.append(_described(truth, probabilities, labels, positive))
        for record, shares in zip(records, probabilities, strict=True):
            record["predicted"].append(labels[int(shares.argmax())])
            record["probability"].append(round(float(shares.max()), 4))
    job.folder.write_records(records)
    return {
        "kind": "classify",
        "labels": labels,
        "data": {"name": held.records.info.name, "content_hash": held.records.info.content_hash},
        "records": len(truth),
        "train_records": len(held.train),
        "models": [about | figures for about, figures in zip(told_models(entries), models, strict=True)],
        "baselines": small,
        "notes": notes(home, spec, held, entries) + _about_data(truth, classes) + told,
        "seed": spec.seed,
    }


def run_folds(job: Job, home: Home, spec: Spec) -> dict:
    """The result of K-fold cross-validation: each run's model on the part that it held out.

    {labels, folds [{fold, model, logistic, bayes}], spread {who: {figure: {mean, sd, values, n}}}}. Raises UserError.
    """
    entries = [catalog.resolve(home, run_id) for run_id in spec.run_ids]
    job.plan([("classify", entry.title) for entry in entries])
    folds: list[dict] = []
    told: list[dict] = []
    for entry in entries:
        job.next_phase()
        config = run_config(home, entry.id) or {}
        own = Spec.from_dict(
            {**spec.to_dict(), "fold": int(config.get("fold") or 0), "folds": int(config.get("folds") or 0)}
        )
        held = held_out(home, own)
        classes = _classes(held)
        labels, (texts, truth) = classes.names, _texts(held, held.indices, classes)
        positive = class_metrics.rarest(classes.numbers(held.records.labels() or []))
        probabilities, cut = _probabilities(job, home, entry, held, texts, labels, own)
        told += _about_cuts(entry, cut, own)
        row = {"fold": own.fold, "run": entry.id, "title": entry.title, "n": len(truth)}
        row["model"] = _brief(class_metrics.figures(truth, probabilities, labels, positive))
        for name in baselines.names_for(len(labels)):
            job.check()
            shares, _ = baselines.fit_and_predict(name, *_texts(held, held.train, classes), texts, len(labels))
            row[name] = _brief(class_metrics.figures(truth, shares, labels, positive))
        folds.append(row)
    return {
        "kind": "kfold",
        "labels": labels,
        "folds": folds,
        "spread": {who: spread([fold[who] for fold in folds]) for who in ("model", *baselines.names_for(len(labels)))},
        "data": {"name": held.records.info.name, "content_hash": held.records.info.content_hash},
        "positive": labels[positive],
        "records": sum(fold["n"] for fold in folds),
        "notes": told,
        "seed": spec.seed,
    }


def spread(rows: list[dict]) -> dict:
    """{figure: {"mean", "sd", "values", "n"}} over the n folds that have the figure; sd with N − 1, None for one fold."""
    found = {}
    for key in rows[0]:
        values = [row[key] for row in rows if row[key] is not None]
        if not values:
            continue
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[key] = {"mean": float(np.mean(values)), "sd": sd, "values": values, "n": len(values)}
    return found


def _brief(figures: dict) -> dict:
    """What is averaged over folds. A fold without a record of the positive class says nothing of its F1."""
    positive = figures["classes"][figures["positive"]]
    return {
        "accuracy": figures["accuracy"],
        "f1_macro": figures["macro"]["f1"],
        "f1": positive["f1"] if positive["support"] else None,
        "roc_auc": figures["roc_auc"],
        "pr_auc": figures["pr_auc"],
        "ece": figures["ece"],
    }


def _classes(held: HeldOut) -> Classes:
    """The classes as training sees them, so that a model can be asked about the data that it was trained on."""
    return merge_labels(held.records.labels() or [], most=None)


def _texts(held: HeldOut, indices: np.ndarray, classes: Classes) -> tuple[list[str], np.ndarray]:
    """(texts, their classes int (N,)) of these records."""
    records = held.records.rows(indices)
    return [record["text"] for record in records], classes.numbers([record["label"] for record in records])


def _baselines(job: Job, held: HeldOut, classes: Classes, texts, truth, positive: int) -> list[dict]:
    trained_on, known = _texts(held, held.train, classes)
    found, labels = [], classes.names
    names = baselines.names_for(len(labels))
    for done, name in enumerate(names):
        job.tell(done, len(names))
        shares, seconds = baselines.fit_and_predict(name, trained_on, known, texts, len(labels))
        found.append(
            {"name": name, "seconds": round(seconds, 2)} | class_metrics.figures(truth, shares, labels, positive)
        )
    return found


def _probabilities(
    job: Job, home: Home, entry, held: HeldOut, texts: list[str], labels: list[str], spec: Spec
) -> tuple[np.ndarray, list[bool]]:
    """(float (N, C) in the order of `labels`, which texts were cut); what a model says is kept as it comes.

    Raises UserError for other classes.
    """
    about = {
        "format": FORMAT, "model": identity(entry), "data": held.records.info.content_hash,
        "max_length": spec.max_length, "precision": str(precision_of(spec, entry)),
    }  # fmt: skip
    kept = Kept(home, "logits", about)
    wanted = held.indices.tolist()
    missing = [place for place, index in enumerate(wanted) if index not in kept.lines]
    done = len(wanted) - len(missing)
    job.tell(done, len(wanted))
    if missing:
        with loaded(entry, precision_of(spec, entry), classifier.load) as (model, tokenizer):
            order = _order(entry, classifier.labels_of(model), labels)
            for part in chunks(missing, _PART):
                tell = partial(_tell_part, job, done, len(wanted))
                some = [texts[place] for place in part]
                logits = classifier.logits_of(model, tokenizer, some, spec.max_length, tell)
                cut = classifier.cut_of(model, tokenizer, some, spec.max_length)
                kept.add(
                    [
                        {"id": wanted[place], "logits": [round(float(value), 5) for value in row[order]], "cut": is_cut}
                        for place, row, is_cut in zip(part, logits, cut, strict=True)
                    ]
                )
                done += len(part)
                job.tell(done, len(wanted), fresh=len(part))
    lines = [kept.lines[index] for index in wanted]
    logits = np.array([line["logits"] for line in lines], np.float64)
    return class_metrics.softmax(logits), [line["cut"] for line in lines]


def _tell_part(job: Job, done: int, total: int, under_way: int) -> None:
    job.tell(done, total, under_way=under_way)


def _order(entry, own: list[str], labels: list[str]) -> list[int]:
    """Where each of `labels` stands among the model's `own`, which may spell them otherwise. Raises UserError."""
    place = {spelling(label): number for number, label in enumerate(own)}
    if len(own) != len(labels) or place.keys() != set(map(spelling, labels)):
        raise UserError("err_other_classes", title=entry.title, names=list(own[:6]), names2=list(labels[:6]))
    return [place[spelling(label)] for label in labels]


def _described(truth: np.ndarray, probabilities: np.ndarray, labels: list[str], positive: int) -> dict:
    """Figures, and what the page draws: curves of each class (the first twelve), scores for the threshold, mistakes."""
    described = class_metrics.figures(truth, probabilities, labels, positive)
    classes = list(range(len(labels)))[:12] if len(labels) > 2 else [positive]
    if positive not in classes:
        classes.append(positive)
    enough = len(truth) * len(classes) <= _MOST_SCORES
    return described | {
        "curves": {str(label): class_metrics.curves(truth, probabilities[:, label], label) for label in classes},
        "scores": {str(label): [round(float(p), 4) for p in probabilities[:, label]] for label in classes}
        if enough
        else {},
        "truth": truth.tolist() if enough else [],
        "mistakes": class_metrics.worst(truth, probabilities, _MISTAKES),
    }


def _records(held: HeldOut, texts: list[str], truth: np.ndarray, labels: list[str]) -> list[dict]:
    rows = held.records.rows(held.indices)
    return [
        {"index": int(index), "row": record["row"], "text": text[:_EXCERPT], "label": labels[int(label)], "predicted": [], "probability": []}
        for index, record, text, label in zip(held.indices, rows, texts, truth, strict=True)
    ]  # fmt: skip


def _about_data(truth: np.ndarray, classes: Classes) -> list[dict]:
    found, labels, merged = [], classes.names, classes.merged()
    if merged:
        found.append({"code": "merged", "labels": ", ".join(merged[:6])})
    missing = [labels[place] for place in range(len(labels)) if not (truth == place).any()]
    if missing:
        found.append({"code": "missing_class", "labels": ", ".join(missing[:6])})
    return found


def _about_cuts(entry, cut: list[bool], spec: Spec) -> list[dict]:
    length = min(spec.max_length, entry.context or spec.max_length)
    about = {"code": "cut_texts", "model": entry.title, "n": sum(cut), "of": len(cut), "tokens": length}
    return [about] if any(cut) else []
