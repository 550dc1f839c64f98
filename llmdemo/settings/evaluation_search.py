"""A search over a strategy's values in an evaluation: which lanes stand for it. Imports no torch.

Every combination of the values is a lane of its own behind the lanes that are compared anyway. They draw with the same
random numbers, so that what differs between them comes from their values alone.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.settings.lane import CONSTRAINTS, STRATEGIES, keys_of
from llmdemo.settings.schema import show

_MOST = 31
"""Candidates, beside at least one lane that they are held against: what one forward carries."""
_MOST_NAME = 40


def checked_search(value: Any) -> dict[str, Any] | None:
    """{"strategy", "values": {setting: [values]}} as a page or a call gives it; None for none. Raises UserError."""
    if value in (None, {}, ""):
        return None
    if not isinstance(value, Mapping) or not set(value) <= {"strategy", "values", "first"}:
        raise UserError("err_search_object", value=show(value))
    strategy, values = value.get("strategy"), value.get("values")
    if strategy not in STRATEGIES:
        raise UserError("err_search_strategy", strategy=show(strategy), names=list(STRATEGIES))
    if not isinstance(values, Mapping) or not values:
        raise UserError("err_search_values", value=show(values))
    for key, each in values.items():
        if key not in keys_of(strategy) or key in CONSTRAINTS:
            names = [name for name in keys_of(strategy) if name not in CONSTRAINTS]
            raise UserError("err_search_key", key=show(key), strategy=strategy, names=names)
        if (
            not isinstance(each, list | tuple)
            or not each
            or not all(isinstance(one, str | int | float) for one in each)
        ):
            raise UserError("err_search_list", key=key, value=show(each))
    return {**value, "values": {key: list(dict.fromkeys(each)) for key, each in values.items()}}


def check_first(search: Mapping[str, Any], lanes: int) -> None:
    """Raises UserError unless the search's candidates are the last of so many lanes, as its "first" says."""
    first, number = search["first"], len(candidates(search))
    if type(first) is not int or first < 1 or first + number != lanes:
        raise UserError("err_search_first", first=show(first), n=number, lanes=lanes)


def candidates(search: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A lane for each combination of a checked search's values. Raises UserError for too many."""
    keys, lists = list(search["values"]), list(search["values"].values())
    number = 1
    for each in lists:
        number *= len(each)
    if not 2 <= number <= _MOST:
        raise UserError("err_search_large", n=number, most=_MOST)
    found: list[dict[str, Any]] = []
    for values in product(*lists):
        named = " · ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True))
        name = named if len(named) <= _MOST_NAME else f"{named[: _MOST_NAME - 5]}… {len(found) + 1}"
        found.append(
            {"strategy": search["strategy"], "name": name, "draws": "search", **dict(zip(keys, values, strict=True))}
        )
    return found
