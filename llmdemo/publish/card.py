"""The model card of a run, as Markdown with the hub's front matter. Knows no network and no files.

Texts that come from data or from a model stand in code blocks or table cells with their marks taken out, so that they
stay text on the hub's page too.
"""

import re
from dataclasses import dataclass, field

from llmdemo import __version__
from llmdemo.settings.training import HEADED

_MOST_TEXT = 1200
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_MOST_SAMPLES = 4
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "|`*_[]<>#!\\"} | {"\n": " ", "\r": " "})


@dataclass(frozen=True)
class Facts:
    """What is known of a run."""

    name: str
    config: dict
    """The run's settings, with `dataset` {name, content_hash} and `model` {id, title, revision}."""
    status: dict
    """Runs.status."""
    curves: dict = field(default_factory=dict)
    """Runs.series."""
    samples: list = field(default_factory=list)
    """Runs.samples."""
    dataset: dict = field(default_factory=dict)
    """What is known of the data set: rows, kept, licence, source; empty when it is gone."""


def card(facts: Facts, licence: str, base: str = "") -> str:
    """The card. `licence` is the hub's name of one ("apache-2.0", "other"); `base` the hub's name of the base model."""
    model, data = facts.config.get("model") or {}, facts.config.get("dataset") or {}
    front = [
        "library_name: transformers",
        f"pipeline_tag: {'text-classification' if facts.config.get('task') in HEADED else 'text-generation'}",
        f"license: {licence}",
        *([f"base_model: {base}"] if base else []),
        f"tags: [{', '.join((*_tag(facts.config.get('method')), 'llmdemo'))}]",
    ]
    parts = [
        "---\n" + "\n".join(front) + "\n---",
        f"# {plain(facts.name)}",
        f"{plain(model.get('title') or model.get('id'))} (revision {plain(model.get('revision') or 'local')}), fine-tuned with "
        f"{plain(facts.config.get('method', 'galore'))} by llmdemo {__version__}.",
        "## Before and after",
        _before_and_after(facts),
        *filter(None, [_weights(facts)]),
        *_samples(facts.samples),
        "## Curves",
        "![Loss by step](curves.png)",
        "## Data",
        _data(data, facts.dataset, facts.status.get("worker") or {}),
        "## Settings",
        _table(_settings(facts.config), ("setting", "value")),
        "## Licence",
        f"This model: {plain(licence)}. The licences of the base model and of the data apply beside it; the data's is "
        f"{plain(facts.dataset.get('licence') or 'not stated')}.",
    ]
    return "\n\n".join(parts) + "\n"


def _tag(value) -> list[str]:
    """The value as a tag of the front matter; none where it would be more than a word there."""
    return [value] if isinstance(value, str) and _WORD.fullmatch(value) else []


def plain(value) -> str:
    """A text on one line that Markdown shows as it is."""
    text = "" if value is None else str(value)
    text = "".join(mark if mark.isprintable() or mark in "\n\r" else "\ufffd" for mark in text[:_MOST_TEXT])
    return text.translate(_MARKS)


def _before_and_after(facts: Facts) -> str:
    rows = []
    for key, curve in sorted(facts.curves.items()):
        values = [value for value in curve.get("value", []) if value is not None]
        if key.startswith("eval_") and values:
            title = "held-out " + key.removeprefix("eval_").replace("_", " ")
            rows.append((title, f"{values[0]:.4g}", f"{values[-1]:.4g}"))
    if not rows:
        return "Nothing was held out of the training."
    return _table(rows, ("figure", "first", "last"))


def _weights(facts: Facts) -> str:
    """In which type the weights are, and what the held-out loss of these files is beside the run's own."""
    told = facts.status.get("published")
    if not isinstance(told, dict) or not told.get("dtype"):
        return ""
    how = f"{told['dtype']}, {told['rounding']} rounding" if told.get("rounding") else told["dtype"]
    rows = [("weights", how), ("held-out loss of the run", told.get("run_loss"))]
    rows += [("held-out loss of these files", told.get("loss"))]
    known = [(name, f"{value:.5g}" if isinstance(value, float) else value) for name, value in rows if value is not None]
    return _table(known, ("files", ""))


def _samples(samples: list) -> list[str]:
    parts = []
    for sample in samples[:_MOST_SAMPLES]:
        outputs = sample.get("outputs") or []
        if outputs:
            parts.append(f"Prompt:\n\n{_block(sample.get('prompt'))}")
            parts.append(f"Before, at step {outputs[0].get('step')}:\n\n{_block(outputs[0].get('text'))}")
            parts.append(f"After, at step {outputs[-1].get('step')}:\n\n{_block(outputs[-1].get('text'))}")
    return parts


def _block(value) -> str:
    """A code block that its content cannot end: each line is indented by four spaces."""
    text = "".join(mark if mark.isprintable() or mark == "\n" else "\ufffd" for mark in str(value or "")[:_MOST_TEXT])
    return "\n".join("    " + line for line in (text or " ").split("\n"))


def _data(data: dict, known: dict, worker: dict) -> str:
    """`worker`: what the run's start said of its records: fewer may have been learned than were kept."""
    rows = [("name", data.get("name")), ("records", known.get("rows")), ("kept", known.get("kept"))]
    given = worker.get("left_out")
    left_out: dict = given if isinstance(given, dict) else {}
    rows += [("learned from", worker.get("train_records")), ("held out", worker.get("held_out_records"))]
    rows += [(f"not learned, or not whole: {why.replace('_', ' ')}", count) for why, count in left_out.items()]
    rows += [("source", known.get("source")), ("licence", known.get("licence")), ("citation", known.get("citation"))]
    rows += [("hash of the records", data.get("content_hash"))]
    return _table([(key, value) for key, value in rows if value not in (None, "")], ("data set", ""))


def _settings(config: dict) -> list[tuple]:
    hidden = ("dataset", "model", "dataset_id", "model_id", "name", "versions", "run", "group")
    rows = [(key, value) for key, value in sorted(config.items()) if key not in hidden and value is not None]
    return rows + [(name, version) for name, version in sorted((config.get("versions") or {}).items())]


def _table(rows, head: tuple) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell if line[0] == "---" else plain(cell) for cell in line) + " |" for line in lines
    )
