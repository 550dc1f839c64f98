"""The model card of a run, as Markdown with the hub's front matter. Knows no network and no files.

Texts that come from data or from a model stand in code blocks or table cells with their marks taken out, so that they
stay text on the hub's page too.
"""

import re
from dataclasses import dataclass, field

from llmdemo import __version__
from llmdemo.core.languages import texts
from llmdemo.core.sentences import in_language, say
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


def card(facts: Facts, licence: str, base: str = "", language: str = "en") -> str:
    """The card in `language` (its tag). `licence` is the hub's name of one ("apache-2.0", "other"); `base` the hub's
    name of the base model."""
    model, data = facts.config.get("model") or {}, facts.config.get("dataset") or {}
    front = [
        "library_name: transformers",
        f"pipeline_tag: {'text-classification' if facts.config.get('task') in HEADED else 'text-generation'}",
        f"license: {licence}",
        *([f"base_model: {base}"] if base else []),
        f"tags: [{', '.join((*_tag(facts.config.get('method')), 'llmdemo'))}]",
    ]
    word = _Words(language)
    about = {
        "model": plain(model.get("title") or model.get("id")),
        "revision": plain(model.get("revision") or word("card_local")),
        "method": plain(facts.config.get("method", "galore")),
        "version": __version__,
    }
    data_licence = plain(facts.dataset.get("licence") or word("card_not_stated"))
    parts = [
        "---\n" + "\n".join(front) + "\n---",
        f"# {plain(facts.name)}",
        word("card_about", **about),
        f"## {word('card_before_after')}",
        _before_and_after(facts, word),
        *filter(None, [_weights(facts, word)]),
        *_samples(facts.samples, word),
        f"## {word('card_curves')}",
        f"![{word('card_curves_alt')}](curves.png)",
        f"## {word('card_data')}",
        _data(data, facts.dataset, facts.status.get("worker") or {}, word),
        f"## {word('card_settings')}",
        _table(_settings(facts.config, word), (word("card_setting"), word("card_value"))),
        f"## {word('card_licence')}",
        word("card_licences", licence=plain(licence), data=data_licence),
    ]
    return "\n\n".join(parts) + "\n"


class _Words:
    """The card's texts in one language, by key."""

    def __init__(self, language: str):
        self._language, self._texts = language, texts(language)

    def __call__(self, key: str, **values: object) -> str:
        return in_language(say(key, **values), self._language)

    def label(self, setting: str) -> str:
        """A setting as the form calls it, and as scripts do."""
        label = self._texts.get(f"f_{setting}", "")
        return f"{label} ({setting})" if label else setting


def _tag(value) -> list[str]:
    """The value as a tag of the front matter; none where it would be more than a word there."""
    return [value] if isinstance(value, str) and _WORD.fullmatch(value) else []


def plain(value) -> str:
    """A text on one line that Markdown shows as it is."""
    text = "" if value is None else str(value)
    text = "".join(mark if mark.isprintable() or mark in "\n\r" else "\ufffd" for mark in text[:_MOST_TEXT])
    return text.translate(_MARKS)


def _before_and_after(facts: Facts, word: _Words) -> str:
    rows = []
    for key, curve in sorted(facts.curves.items()):
        values = [value for value in curve.get("value", []) if value is not None]
        if key.startswith("eval_") and values:
            title = word("card_held_out_figure", figure=key.removeprefix("eval_").replace("_", " "))
            rows.append((title, f"{values[0]:.4g}", f"{values[-1]:.4g}"))
    if not rows:
        return word("card_nothing_held_out")
    return _table(rows, (word("card_figure"), word("card_first"), word("card_last")))


def _weights(facts: Facts, word: _Words) -> str:
    """In which type the weights are, and what the held-out loss of these files is beside the run's own."""
    told = facts.status.get("published")
    if not isinstance(told, dict) or not told.get("dtype"):
        return ""
    how = str(told["dtype"])
    if told.get("rounding") in ("nearest", "stochastic"):
        how = word("card_rounded", dtype=how, rounding=word(f"rounding_{told['rounding']}"))
    rows = [(word("card_weights"), how), (word("card_run_loss"), told.get("run_loss"))]
    rows += [(word("card_files_loss"), told.get("loss"))]
    known = [(name, f"{value:.5g}" if isinstance(value, float) else value) for name, value in rows if value is not None]
    return _table(known, (word("card_files"), ""))


def _samples(samples: list, word: _Words) -> list[str]:
    parts = []
    for sample in samples[:_MOST_SAMPLES]:
        outputs = sample.get("outputs") or []
        if outputs:
            parts.append(f"{word('card_prompt')}\n\n{_block(sample.get('prompt'))}")
            for key, output in (("card_before", outputs[0]), ("card_after", outputs[-1])):
                parts.append(f"{word(key, step=plain(output.get('step')))}\n\n{_block(output.get('text'))}")
    return parts


def _block(value) -> str:
    """A code block that its content cannot end: each line is indented by four spaces."""
    text = "".join(mark if mark.isprintable() or mark == "\n" else "\ufffd" for mark in str(value or "")[:_MOST_TEXT])
    return "\n".join("    " + line for line in (text or " ").split("\n"))


def _data(data: dict, known: dict, worker: dict, word: _Words) -> str:
    """`worker`: what the run's start said of its records: fewer may have been learned than were kept."""
    given = worker.get("left_out")
    left_out: dict = given if isinstance(given, dict) else {}
    rows = [
        (word("card_name"), data.get("name")),
        (word("card_records"), known.get("rows")),
        (word("card_kept"), known.get("kept")),
        (word("card_learned"), worker.get("train_records")),
        (word("card_held_out"), worker.get("held_out_records")),
        *((word("card_left_out", why=why.replace("_", " ")), count) for why, count in left_out.items()),
        (word("card_source"), known.get("source")),
        (word("card_data_licence"), known.get("licence")),
        (word("card_citation"), known.get("citation")),
        (word("card_hash"), data.get("content_hash")),
    ]
    return _table([(key, value) for key, value in rows if value not in (None, "")], (word("card_dataset"), ""))


def _settings(config: dict, word: _Words) -> list[tuple]:
    hidden = ("dataset", "model", "dataset_id", "model_id", "name", "versions", "run", "group")
    rows = [
        (word.label(key), value) for key, value in sorted(config.items()) if key not in hidden and value is not None
    ]
    return rows + [(name, version) for name, version in sorted((config.get("versions") or {}).items())]


def _table(rows, head: tuple) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell if line[0] == "---" else plain(cell) for cell in line) + " |" for line in lines
    )
