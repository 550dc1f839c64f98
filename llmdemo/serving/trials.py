"""A second model beside a served one: it answers a share of the requests (A/B), or all of them unseen (shadow), until an
owner promotes it or ends the trial, and both beside each other: figures, thumbs and an owner's picks, each with an
interval. Thumbs of a share are of different requests, picks of a shadow are of the same ones. Knows no engine and no HTTP.
"""

import hashlib
import secrets
import time
from dataclasses import replace
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.evaluation.intervals import wilson
from llmdemo.serving.registry import Served

SHARE, SHADOW = "share", "shadow"
MODES = (SHARE, SHADOW)
_PARTS = 2**32


def begun(served: Served, model_id: str, mode: str, share: float) -> Served:
    """`served` with a model on trial beside it. Raises UserError for a mode, a share or a model that makes no sense."""
    if mode not in MODES:
        raise UserError("err_trial_mode", given=repr(str(mode)[:40]), known=MODES)
    if mode == SHARE and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1):
        raise UserError("err_trial_share", given=repr(str(share)[:40]))
    if model_id == served.model_id:
        raise UserError("err_trial_same", name=served.name)
    trial = {"model_id": model_id, "mode": mode, "share": float(share) if mode == SHARE else 1.0}
    return replace(served, trial={**trial, "since": round(time.time(), 3)})


def promoted(served: Served) -> Served:
    """The model on trial takes the name; the one before can be brought back. Raises UserError without a trial."""
    return replace(served, model_id=_trial(served)["model_id"], before=served.model_id, trial=None)


def ended(served: Served) -> Served:
    """`served` goes on alone. Raises UserError without a trial."""
    _trial(served)
    return replace(served, trial=None)


def rolled_back(served: Served) -> Served:
    """The model that had the name before has it again; done twice, nothing has changed. Raises UserError without one."""
    if not served.before:
        raise UserError("err_no_roll_back", name=served.name)
    return replace(served, model_id=served.before, before=served.model_id, trial=None)


def version_for(served: Served, user: str | None) -> Served:
    """The version that answers one request: `served`, or it with the model on trial. Who names a `user` gets the same one
    each time, as long as the trial is the same; the others are drawn."""
    trial = served.trial
    if trial is None or trial["mode"] != SHARE:
        return served
    if user:
        seed = f"{served.name}\0{trial['model_id']}\0{trial['since']}\0{user}"
        drawn = int.from_bytes(hashlib.sha256(seed.encode("utf-8", "replace")).digest()[:4], "big")
    else:
        drawn = secrets.randbelow(_PARTS)
    return on_trial(served) if drawn < trial["share"] * _PARTS else served


def on_trial(served: Served) -> Served:
    """The version with the model on trial in the served one's place."""
    return replace(served, model_id=_trial(served)["model_id"])


def _trial(served: Served) -> dict:
    if served.trial is None:
        raise UserError("err_no_trial", name=served.name)
    return served.trial


def side_by_side(served: dict[str, Any] | None, trial: dict[str, Any] | None, picks: dict[str, int]) -> dict[str, Any]:
    """{"now", "beside": {requests, first, each, mean_tokens, failed, liked}, "picks": {now, beside, same, liked}}.

    served, trial: figures as service.figures has them, None for a version that nobody has asked. liked: {"share", "low",
    "high", "of"}: of the thumbs those that are up, of the picks those for the model on trial (a tie counts half), with
    Wilson's 95 % interval; None without any.
    """
    decided = sum(picks.values())
    return {
        "now": _told(served),
        "beside": _told(trial),
        "picks": {**picks, "liked": _liked(picks["beside"] + picks["same"] / 2, decided)},
    }


def _told(figures: dict[str, Any] | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    outcomes, opinions = figures["outcomes"], figures.get("opinions") or {}
    answered = sum(outcomes.get(key, 0) for key in ("answered", "left", "shadow"))
    return {
        "requests": figures["requests"],
        "first": figures["first"],
        "each": figures["each"],
        "mean_tokens": round(figures["tokens"] / answered, 1) if answered else None,
        "failed": outcomes.get("failed", 0),
        "liked": _liked(opinions.get("up", 0), opinions.get("up", 0) + opinions.get("down", 0)),
        "right": _liked(opinions.get("right", 0), opinions.get("labelled", 0)),
    }


def _liked(successes: float, trials: int) -> dict[str, Any] | None:
    between = wilson(successes, trials)
    if between is None:
        return None
    low, high = between
    return {"share": round(successes / trials, 4), "low": round(low, 4), "high": round(high, 4), "of": trials}
