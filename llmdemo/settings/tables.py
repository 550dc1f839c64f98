"""Markdown tables of all settings, for the package's README. Knows no particular setting."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from llmdemo.settings.app import Settings
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.evaluation import Spec
from llmdemo.settings.generation import GenerationSpec
from llmdemo.settings.judge import JudgeSpec
from llmdemo.settings.knowledge import ProbeSpec
from llmdemo.settings.maps import MapSpec
from llmdemo.settings.schema import documentation, fields_of, one_of, show
from llmdemo.settings.selection import SelectionSpec
from llmdemo.settings.training import METHODS, TASKS, TrainConfig

_NOTHING: tuple[object, ...] = (None, "", (), {})


def tables() -> str:
    """Every setting: the app's by its environment variable, those of a run, a comparison and an evaluation by key."""
    parts = ["## The app's own, from the environment", "", *_app()]
    for title, schema in (
        ("A training run", TrainConfig),
        ("A comparison", DecodeSettings),
        ("An evaluation", Spec),
        ("An evaluation's judge", JudgeSpec),
        ("Data made by a model", GenerationSpec),
        ("A map of a data set", MapSpec),
        ("A selection of records", SelectionSpec),
        ("What a model knows", ProbeSpec),
    ):
        parts += ["", f"## {title}", "", *_schema(schema)]
    return "\n".join(parts) + "\n"


def _app() -> Iterator[str]:
    yield from _head("variable", "default", "what")
    texts = documentation(Settings)
    for field in fields(Settings):
        yield _row(f"`LLMDEMO_{field.name.upper()}`", _amount(field.name, field.default), texts[field.name])


def _schema(schema: type) -> Iterator[str]:
    yield from _head("key", "valid", "default", "used by", "what")
    texts = documentation(schema)
    for name, field in fields_of(schema).items():
        users = [
            one_of(names)
            for names, every in ((field.setting.methods, METHODS), (field.setting.tasks, TASKS))
            if names and len(names) < len(every)
        ]
        default = "" if field.default in _NOTHING else show(field.default)
        yield _row(f"`{name}`", field.valid(), default, ", ".join(users), texts[name])


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*["---"] * len(names))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _amount(name: str, value: Any) -> str:
    """A default as people write it: bytes in MiB or GiB."""
    if not isinstance(value, int | float):
        return ""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if name.endswith("_bytes") and value and value % size == 0:
            return f"{int(value // size):,} {unit}"
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}"
