"""What a race or a search asks for, checked, and the runs that it makes of one base config. Starts nothing.

Knows the settings' names, no run, no file.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from llmdemo.core.errors import UserError
from llmdemo.experiments import halving, space
from llmdemo.settings.training import METHOD_NAMES

METHODS = ("galore", "adamw", "lora")
STRATEGIES = ("grid", "random", "halving")
OWN = (
    "learning_rate", "rank", "scale", "update_proj_gap", "optim_bits", "weight_bits", "basis_bits",
    "offload_gradients", "proj_type", "refresh", "stagger", "galore_optimizer",
)  # fmt: skip
"""Settings that belong to a method: in a race each method has its own defaults for them."""
MOST_RUNS = 64
"""Most runs of one experiment's first round."""


@dataclass(frozen=True)
class Trial:
    """One run of an experiment: what tells it from the others."""

    label: str
    values: dict
    """Its config: the base's, with what it changes."""
    varied: dict
    """The changed settings alone, as a table shows them."""
    rung: int = 0


@dataclass(frozen=True)
class Plan:
    """All that is known before the first run starts."""

    kind: Literal["race", "search"]
    """race or search."""
    base: dict
    trials: list[Trial]
    strategy: str = ""
    rungs: list[tuple[int, int]] = field(default_factory=list)
    """Runs and steps of each round of successive halving."""
    keep: str = "all"
    """all: every run keeps its model; best: only the best one does, which saves the disk."""


def race(base: dict, asked: dict | None = None) -> Plan:
    """Two or three methods on the same records: keys `methods` and `own` {method: {setting: value}} of `asked`.

    Settings that belong to a method are taken over from `base` for its own method only. Raises UserError.
    """
    asked = _object(asked, "race")
    _known(asked, ("methods", "own", "tokens", "name"))
    methods = asked.get("methods", list(METHODS))
    if not isinstance(methods, (list, tuple)) or not all(method in METHODS for method in methods):
        raise UserError("err_methods", methods=repr(str(methods)[:80]), names=list(METHODS))
    if len(set(methods)) != len(methods) or not 2 <= len(methods) <= len(METHODS):
        raise UserError("err_two_methods", n=len(set(methods)))
    own = _object(asked.get("own"), "own")
    if set(own) - set(methods):
        raise UserError("err_own_settings", names=", ".join(sorted(map(str, set(own) - set(methods))))[:60])
    trials = [_race_trial(base, method, _object(own.get(method), f"own.{method}")) for method in methods]
    return Plan("race", base, trials)


def _race_trial(base: dict, method: str, own: dict) -> Trial:
    strange = sorted(set(map(str, own)) - set(OWN))
    if strange:
        raise UserError("err_cannot_differ", setting=repr(strange[0][:60]), names=list(OWN[:5]))
    same = method == base.get("method", "galore")
    shared = {key: value for key, value in base.items() if same or key not in OWN}
    return Trial(METHOD_NAMES[method], {**shared, **own, "method": method}, {"method": method, **own})


def search(base: dict, asked: dict | None, steps: int) -> Plan:
    """Runs over the space of `asked`: keys strategy, space, runs, seed, eta, least_steps, keep. Raises UserError.

    `steps` is what a whole run of `base` takes; with successive halving the first rounds take fewer.
    """
    asked = _object(asked, "search")
    _known(asked, ("strategy", "space", "runs", "seed", "eta", "least_steps", "keep", "name"))
    strategy = asked.get("strategy", "random")
    if strategy not in STRATEGIES:
        raise UserError("err_search_strategy", strategy=repr(str(strategy)[:40]), names=list(STRATEGIES))
    keep = asked.get("keep", "best")
    if keep not in ("best", "all"):
        raise UserError("err_keep", keep=repr(str(keep)[:40]))
    found = space.parse(asked.get("space"), base.get("method", "galore"), ranges=strategy != "grid")
    if strategy == "grid":
        points = space.grid(found, MOST_RUNS)
        if len(points) < 2:
            raise UserError("err_one_point")
    else:
        points = space.draw(found, _count(asked, "runs", 9, 2, MOST_RUNS), _count(asked, "seed", 0, 0, 2**31 - 1))
    rungs = []
    if strategy == "halving":
        least = _count(asked, "least_steps", max(1, min(10, steps // 9)), 1, 1_000_000)
        rungs = halving.rungs(len(points), steps, least, _count(asked, "eta", 3, 2, 16))
    trials = [search_trial(base, point, 0, rungs[0][1] if rungs else None) for point in points]
    return Plan("search", base, trials, strategy, rungs, keep)


def search_trial(base: dict, point: dict, rung: int, steps: int | None) -> Trial:
    """A run of a search at one point, of `steps` steps where they differ from the base's."""
    more = {"max_steps": steps} if steps else {}
    return Trial(label(point, rung if steps else None), {**base, **point, **more}, dict(point), rung)


def label(point: dict, rung: int | None = None) -> str:
    """For example "learning rate 0.0004, rank 64"."""
    names = {"learning_rate": "lr", "update_proj_gap": "gap"}
    parts = [f"{names.get(key, key)} {value:g}" for key, value in point.items()]
    return ", ".join(parts) + (f" (round {rung + 1})" if rung is not None else "")


def _count(asked: dict, key: str, default: int, low: int, high: int) -> int:
    value = asked.get(key, default)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value != int(value)
    ):
        raise UserError("err_no_whole_number", key=key, value=repr(str(value)[:40]))
    if not low <= value <= high:
        raise UserError("err_out_of_range", key=key, value=int(value), low=low, high=high)
    return int(value)


def _object(value, name: str) -> dict:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError("err_no_object_of_name", name=name)
    return value


def _known(asked: dict, keys: tuple[str, ...]) -> None:
    strange = sorted(set(map(str, asked)) - set(keys))
    if strange:
        raise UserError("err_nothing_called", name=repr(strange[0][:60]), names=list(keys))
