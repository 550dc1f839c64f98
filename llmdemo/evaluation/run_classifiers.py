"""Evaluations of kind "classify" and "kfold": classifiers and the small baselines on the same held-out texts.

Joins what the other modules know apart. Called by the worker.
"""

from functools import partial

import numpy as np

from llmdemo.errors import UserError
from llmdemo.evaluation import baselines, class_metrics, classifier
from llmdemo.evaluation.answers import FORMAT, chunks, identity, loaded, precision_of
from llmdemo.evaluation.folder import Kept
from llmdemo.evaluation.heldout import HeldOut, held_out, run_config
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.run_models import notes
from llmdemo.evaluation.spec import Spec
from llmdemo.models import catalog
from llmdemo.store import Home

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
    labels, texts, truth = _held_texts(held)
    positive = class_metrics.rarest(truth)
    small = _baselines(job, held, labels, texts, truth, positive)
    models, records = [], _records(held, texts, truth, labels)
    for entry in entries:
        job.next_phase()
        probabilities = _probabilities(job, home, entry, held, texts, labels, spec)
        models.append(
            {"id": entry.id, "title": entry.title, "identity": identity(entry), "parameters": entry.parameters}
            | _described(truth, probabilities, labels, positive)
        )
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
        "models": models,
        "baselines": small,
        "notes": notes(home, spec, held, entries) + _about_data(truth, labels),
        "seed": spec.seed,
    }


def run_folds(job: Job, home: Home, spec: Spec) -> dict:
    """The result of K-fold cross-validation: each run's model on the part that it held out.

    {labels, folds [{fold, model, logistic, bayes}], spread {who: {figure: {mean, sd, values}}}}. Raises UserError.
    """
    entries = [catalog.resolve(home, run_id) for run_id in spec.run_ids]
    job.plan([("classify", entry.title) for entry in entries])
    folds, names = [], None
    for entry in entries:
        job.next_phase()
        config = run_config(home, entry.id) or {}
        own = Spec.from_dict(
            {**spec.to_dict(), "fold": int(config.get("fold") or 0), "folds": int(config.get("folds") or 0)}
        )
        held = held_out(home, own)
        labels, texts, truth = _held_texts(held)
        names = names or labels
        positive = class_metrics.rarest(_all_truth(held, labels))
        probabilities = _probabilities(job, home, entry, held, texts, labels, own)
        row = {"fold": own.fold, "run": entry.id, "title": entry.title, "n": len(truth)}
        row["model"] = _brief(class_metrics.figures(truth, probabilities, labels, positive))
        for name in baselines.names_for(len(labels)):
            job.check()
            shares, _ = baselines.fit_and_predict(name, *_train_texts(held, labels), texts, len(labels))
            row[name] = _brief(class_metrics.figures(truth, shares, labels, positive))
        folds.append(row)
    return {
        "kind": "kfold",
        "labels": names,
        "folds": folds,
        "spread": {who: spread([fold[who] for fold in folds]) for who in ("model", *baselines.names_for(len(names)))},
        "data": {"name": held.records.info.name, "content_hash": held.records.info.content_hash},
        "positive": names[positive],
        "records": sum(fold["n"] for fold in folds),
        "notes": [],
        "seed": spec.seed,
    }


def spread(rows: list[dict]) -> dict:
    """{figure: {"mean", "sd", "values"}} over the folds; sd with N − 1, None for a single fold."""
    found = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        if any(value is None for value in values):
            continue
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[key] = {"mean": float(np.mean(values)), "sd": sd, "values": values}
    return found


def _brief(figures: dict) -> dict:
    """What is averaged over folds."""
    return {
        "accuracy": figures["accuracy"],
        "f1_macro": figures["macro"]["f1"],
        "f1": figures["classes"][figures["positive"]]["f1"],
        "roc_auc": figures["roc_auc"],
        "pr_auc": figures["pr_auc"],
        "ece": figures["ece"],
    }


def _held_texts(held: HeldOut) -> tuple[list[str], list[str], np.ndarray]:
    """(labels, held-out texts, their classes int (N,)). Raises UserError when only one class is held out or there is."""
    labels = sorted(set(held.records.labels() or []))
    if len(labels) < 2:
        raise UserError(
            f"{held.records.info.name} has {len(labels)} class; a classifier needs two.", "Choose other data."
        )
    records = held.records.rows(held.indices)
    number = {label: place for place, label in enumerate(labels)}
    return labels, [record["text"] for record in records], np.array([number[record["label"]] for record in records])


def _train_texts(held: HeldOut, labels: list[str]) -> tuple[list[str], np.ndarray]:
    number = {label: place for place, label in enumerate(labels)}
    records = held.records.rows(held.train)
    return [record["text"] for record in records], np.array([number[record["label"]] for record in records])


def _all_truth(held: HeldOut, labels: list[str]) -> np.ndarray:
    number = {label: place for place, label in enumerate(labels)}
    return np.array([number[label] for label in held.records.labels()])


def _baselines(job: Job, held: HeldOut, labels, texts, truth, positive: int) -> list[dict]:
    trained_on, known = _train_texts(held, labels)
    found = []
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
) -> np.ndarray:
    """float (N, C) in the order of `labels`; logits are kept as they come. Raises UserError for other classes."""
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
            own = classifier.labels_of(model)
            _check_labels(entry, own, labels)
            order = [own.index(label) for label in labels]
            for part in chunks(missing, _PART):
                tell = partial(_tell_part, job, done, len(wanted))
                some = [texts[place] for place in part]
                logits = classifier.logits_of(model, tokenizer, some, spec.max_length, tell)
                kept.add(
                    [
                        {"id": wanted[place], "logits": [round(float(value), 5) for value in row[order]]}
                        for place, row in zip(part, logits, strict=True)
                    ]
                )
                done += len(part)
                job.tell(done, len(wanted), fresh=len(part))
    return class_metrics.softmax(np.array([kept.lines[index]["logits"] for index in wanted], np.float64))


def _tell_part(job: Job, done: int, total: int, under_way: int) -> None:
    job.tell(done, total, under_way=under_way)


def _check_labels(entry, own: list[str], labels: list[str]) -> None:
    lacking = sorted(set(labels) - set(own))
    if lacking or len(own) != len(labels):
        raise UserError(
            f"{entry.title} knows the classes {', '.join(own[:6])}; the data has {', '.join(labels[:6])}.",
            "Choose the data that it was trained on, or data with the same labels.",
        )


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


def _about_data(truth: np.ndarray, labels: list[str]) -> list[dict]:
    missing = [labels[place] for place in range(len(labels)) if not (truth == place).any()]
    return [{"code": "missing_class", "labels": ", ".join(missing[:6])}] if missing else []
