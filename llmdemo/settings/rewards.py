"""Which rewards a run that learns from a checker may have, and what each needs to be told. Imports no torch."""

import json
from typing import Any, Literal

from llmdemo.core.errors import UserError
from llmdemo.settings.evaluation_decoding import CheckerSpec

RewardKind = Literal[
    "normalised",
    "exact",
    "fields",
    "number",
    "contains",
    "regex",
    "json",
    "json_schema",
    "expression",
    "length",
    "model",
]
CheckedBy = Literal["normalised", "exact", "number", "json", "expression"]
"""Checkers that need nothing but an answer and the right one."""
_NAMES = {"regex": "pattern", "contains": "text", "json_schema": "schema"}
"""By kind: the key of CheckerSpec that holds what it looks for."""
WITH_TEXT = tuple(_NAMES)
"""Kinds that look for a text."""


def checker_spec(kind: str, text: str = "") -> CheckerSpec:
    """The checker of a reward of this kind; `text`: what it looks for. Raises UserError."""
    value: Any = text
    if kind == "json_schema":
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise UserError("err_reward_schema") from None
    return CheckerSpec.from_value({"kind": kind, **({_NAMES[kind]: value} if kind in _NAMES else {})})


def check_rewards(first: str, second: str, text: str, model_id: str) -> None:
    """Raises UserError for rewards that cannot be told apart, or whose text cannot be used."""
    if first == second:
        raise UserError("err_same_rewards", kind=first)
    if "model" in (first, second) and not model_id:
        raise UserError("err_no_reward_model")
    need = [kind for kind in (first, second) if kind in _NAMES]
    if len(need) > 1:
        raise UserError("err_two_reward_texts", first=first, second=second)
    for kind in need:
        checker_spec(kind, text)
