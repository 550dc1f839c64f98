"""The served version and the one on trial beside each other: figures, thumbs and an owner's picks, each with an interval.

Knows figures only. Thumbs of a share are of different requests, picks of a shadow are of the same ones.
"""

from typing import Any

from llmdemo.evaluation.intervals import wilson


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
