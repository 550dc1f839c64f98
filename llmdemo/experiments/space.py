"""What a search varies: values or ranges of settings, and the points that are drawn from them. Knows nothing of runs."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from llmdemo.core.errors import UserError
from llmdemo.settings.schema import check_one, fields_of
from llmdemo.settings.training import METHODS, TrainConfig

SEARCHABLE = {name: field for name, field in fields_of(TrainConfig).items() if field.setting.searchable}
"""The settings that a search may vary."""
METHODS_OF = {name: field.setting.methods or METHODS for name, field in SEARCHABLE.items()}
"""The methods that have each of them."""
MOST_VALUES = 50
_DIGITS = 3


@dataclass(frozen=True)
class Range:
    """All values from low to high; drawn evenly on a logarithmic scale, since these settings act by their ratio."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        return math.exp(random.uniform(math.log(self.low), math.log(self.high)))


Values = tuple[float, ...]
Space = dict[str, Values | Range]


def parse(values, method: str, *, ranges: bool) -> Space:
    """The space in `values`: {setting: [values] | {"low", "high"}}; ranges only where `ranges` allows them.

    Raises UserError for an empty space, a setting that the method has not, and whatever is no positive number.
    """
    if not isinstance(values, dict) or not values:
        raise UserError("err_nothing_to_vary", names=list(METHODS_OF))
    return {str(key): _parse_one(str(key), value, method, ranges) for key, value in values.items()}


def _parse_one(key: str, value, method: str, ranges: bool) -> Values | Range:
    if key not in METHODS_OF:
        raise UserError("err_not_searchable", key=repr(key[:60]), names=list(METHODS_OF))
    if method not in METHODS_OF[key]:
        raise UserError("err_means_nothing", key=key, method=method, names=list(METHODS_OF[key]))
    if isinstance(value, dict):
        return _parse_range(key, value, ranges)
    if not isinstance(value, (list, tuple)) or not value:
        raise UserError("err_no_values", key=key)
    if len(value) > MOST_VALUES:
        raise UserError("err_many_values", key=key, n=len(value), most=MOST_VALUES)
    return tuple(dict.fromkeys(_number(key, each) for each in value))


def _parse_range(key: str, value: dict, ranges: bool) -> Range:
    if not ranges:
        raise UserError("err_range_in_grid", key=key)
    low, high = (_number(key, value.get(end)) for end in ("low", "high"))
    if not low < high:
        raise UserError("err_odd_range", key=key, low=f"{low:g}", high=f"{high:g}")
    return Range(low, high)


def _number(key: str, value) -> float | int:
    if value is None:
        raise UserError("err_value_missing", key=key, valid=SEARCHABLE[key].valid())
    found = check_one(SEARCHABLE[key], value)
    return int(found) if SEARCHABLE[key].kind is int else float(found)


def grid(space: Space, most: int) -> list[dict]:
    """Every combination, in order. Raises UserError when there are more than `most`."""
    choices = [values for values in space.values() if isinstance(values, tuple)]
    assert len(choices) == len(space), "a grid's space is parsed without ranges"
    count = math.prod([len(values) for values in choices])
    if count > most:
        sizes = " × ".join(str(len(values)) for values in choices)
        raise UserError("err_many_points", sizes=sizes, count=count, most=most)
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*choices)]


def draw(space: Space, count: int, seed: int) -> list[dict]:
    """`count` different points, the same for the same seed. Raises UserError where there are not as many."""
    random = np.random.default_rng(seed)
    found: dict[tuple, dict] = {}
    for _ in range(100 * count):
        point = {key: _draw_one(key, values, random) for key, values in space.items()}
        found.setdefault(tuple(point.values()), point)
        if len(found) == count:
            return list(found.values())
    raise UserError("err_few_settings", n=len(found), count=count)


def _draw_one(key: str, values: tuple | Range, random: np.random.Generator) -> float | int:
    if not isinstance(values, Range):
        return values[int(random.integers(len(values)))]
    drawn = values.draw(random)
    if SEARCHABLE[key].kind is int:
        return round(drawn)
    # Three digits are as much as a learning rate means, and can be read.
    return min(max(float(f"{drawn:.{_DIGITS}g}"), values.low), values.high)
