"""Sanitises the config.json of an imported run: plain settings of bounded size. Knows neither files nor what they mean.

The worker checks the settings as it does any others; here it is made sure that whoever shows a run finds texts where
texts belong, objects where objects do, and nothing that JSON or a page cannot take.
"""

import re

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.jobs.digest import number, text
from llmdemo.settings.schema import show

PARTS = ("dataset", "model", "versions", "group")
"""Keys that hold an object of plain values; every other one holds a plain value, or a list of texts."""
_TEXTS = ("method", "task", "dataset_id", "model_id", "log_with", "precision", "publish_dtype", "best_by", "name")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_KEYS, _MOST_TEXT, _MOST_ITEMS = 200, 1000, 200
_AGAIN = say("export_again")
_DELETE = say("delete_run")


def believed(config: dict, run_id: str) -> dict:
    """The config as it is kept here, of the run `run_id`; raises UserError where it is none that this app writes."""
    if len(config) > _MOST_KEYS:
        raise UserError("err_bundle_keys", _AGAIN, n=len(config), most=_MOST_KEYS)
    about = config["run"] if isinstance(config.get("run"), dict) else {}
    for key, value in config.items():
        if key != "run":
            _check(key, value, say("where_bundle"), _AGAIN)
    kept = {key: value for key, value in config.items() if key != "run"}
    if "model" in kept:  # files of the other installation mean nothing here
        kept["model"].pop("path", None)
    name, created = text(about.get("name"), 200), number(about.get("created"))
    known = {"name": name, "created": created} if created is not None else {"name": name}
    return kept | {"run": {**known, "id": run_id, "imported": True}}


def settings(config: dict, run_id: str) -> dict:
    """The settings in a run's config; raises UserError where there are some that this app never writes.

    Whether the values suit a training is told where one starts: here only their types and sizes count.
    """
    found = {key: value for key, value in config.items() if key != "run"}
    if len(found) > _MOST_KEYS:
        raise UserError("err_run_keys", _DELETE, run_id=run_id, n=len(found), most=_MOST_KEYS)
    for key, value in found.items():
        _check(key, value, say("where_run", run_id=run_id), _DELETE)
    return found


def _check(key: str, value, where: str, hint: str) -> None:
    if not _KEY.fullmatch(key):
        raise UserError("err_odd_key", hint, where=where, key=repr(key[:60]))
    if key in PARTS:
        fits = isinstance(value, dict) and len(value) <= _MOST_ITEMS and all(map(_is_plain, (*value, *value.values())))
    elif key in _TEXTS:
        fits = value is None or (isinstance(value, str) and _is_plain(value))
    elif isinstance(value, list):
        fits = len(value) <= _MOST_ITEMS and all(isinstance(each, str) and _is_plain(each) for each in value)
    else:
        fits = _is_plain(value)
    if not fits:
        raise UserError("err_odd_setting", hint, where=where, key=repr(key), value=show(value))


def _is_plain(value) -> bool:
    if isinstance(value, str):
        return len(value) <= _MOST_TEXT and text(value) == value
    return value is None or isinstance(value, bool) or number(value) is not None
