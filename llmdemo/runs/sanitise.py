"""Sanitises the config.json of an imported run: plain settings of bounded size. Knows neither files nor what they mean.

The worker checks the settings as it does any others; here it is made sure that whoever shows a run finds texts where
texts belong, objects where objects do, and nothing that JSON or a page cannot take.
"""

import re

from llmdemo.errors import UserError
from llmdemo.jobs.digest import number, text

PARTS = ("dataset", "model", "versions", "group")
"""Keys that hold an object of plain values; every other one holds a plain value, or a list of texts."""
_TEXTS = ("method", "task", "dataset_id", "model_id", "log_with", "precision", "publish_dtype", "best_by", "name")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_KEYS, _MOST_TEXT, _MOST_ITEMS = 200, 1000, 200
_AGAIN = "Export the run again on the other installation."


def believed(config: dict, run_id: str) -> dict:
    """The config as it is kept here, of the run `run_id`; raises UserError where it is none that this app writes."""
    if len(config) > _MOST_KEYS:
        raise UserError(f"config.json in the bundle has {len(config)} keys; at most {_MOST_KEYS} are read.", _AGAIN)
    about = config["run"] if isinstance(config.get("run"), dict) else {}
    kept = {key: _believed(key, value) for key, value in config.items() if key != "run"}
    if "model" in kept:  # files of the other installation mean nothing here
        kept["model"].pop("path", None)
    name, created = text(about.get("name"), 200), number(about.get("created"))
    known = {"name": name, "created": created} if created is not None else {"name": name}
    return kept | {"run": {**known, "id": run_id, "imported": True}}


def sound(config: dict) -> dict:
    """The config without those parts that are no objects: what lies in a run's folder may be older than `believed`."""
    return {key: value for key, value in config.items() if key not in PARTS or isinstance(value, dict)}


def _believed(key: str, value):
    if not _KEY.fullmatch(key):
        raise UserError(f"config.json in the bundle has the key {key[:60]!r}, which is no setting.", _AGAIN)
    if key in PARTS:
        fits = isinstance(value, dict) and len(value) <= _MOST_ITEMS and all(map(_is_plain, (*value, *value.values())))
    elif key in _TEXTS:
        fits = value is None or (isinstance(value, str) and _is_plain(value))
    elif isinstance(value, list):
        fits = len(value) <= _MOST_ITEMS and all(isinstance(each, str) and _is_plain(each) for each in value)
    else:
        fits = _is_plain(value)
    if not fits:
        raise UserError(f"config.json in the bundle has {key!r}: {str(value)[:60]}, which is no such setting.", _AGAIN)
    return value


def _is_plain(value) -> bool:
    if isinstance(value, str):
        return len(value) <= _MOST_TEXT and text(value) == value
    return value is None or isinstance(value, bool) or number(value) is not None
