"""The settings of an evaluation of decoding strategies: lanes, a checker, own prompts. Imports no torch.

Part of settings.evaluation.Spec; knows nothing of how models answer. Of a search over a strategy's values every combination
is a lane of its own behind the lanes that are compared anyway. They draw with the same random numbers, so that what
differs between them comes from their values alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.patterns import check_pattern
from llmdemo.settings.app import Settings
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.json_schema import check_schema
from llmdemo.settings.lane import CONSTRAINTS, SEVERAL, STRATEGIES, keys_of
from llmdemo.settings.schema import check, show

CheckerKind = Literal[
    "normalised", "exact", "number", "contains", "regex", "json", "json_schema", "expression", "judge"
]
USUAL_LANES: tuple[Any, ...] = ("greedy", "sample", "beam", {"strategy": "best_of_n", "num_return_sequences": 4})
USUAL_TOKENS = 96
MOST_PROMPTS = 2000
_MOST_CHARACTERS = 20_000
_MOST_CANDIDATES = 31
"""Candidates, beside at least one lane that they are held against: what one forward carries."""
_MOST_CANDIDATE_NAME = 40


@dataclass(frozen=True)
class CheckerSpec:
    """What makes an answer right."""

    kind: CheckerKind = "normalised"
    """normalised: equal to the right answer but for form, as in /evaluate; exact: letter for letter; number: its last
    number is the right answer's; contains: it holds the right answer, or `text`; regex: what `pattern` finds in it is
    what it finds in the right answer, or without one anything; json: it is JSON; json_schema: it is JSON that satisfies
    `schema`; expression: arithmetic (numbers, + - * / // % ^, parentheses, abs, min, max, floor, ceil) with the value of the
    right answer, or which passes its tests, as in "x=2: 7; x=3: 12"; judge: the evaluation's judge gives it `grade` of 5 or
    more, by itself and with feedback. A judge reads the answer that a lane chose, not all that it drew."""
    pattern: Annotated[str, Field(max_length=300)] = ""
    """Of regex, in RE2's syntax; the last match counts, or its first group."""
    text: Annotated[str, Field(max_length=1000)] = ""
    """Of contains, where it is the same for all; empty: the record's right answer."""
    grade: Annotated[int, Field(ge=2, le=5)] = 4
    """Of judge: the lowest grade that is right."""
    schema: Any = None
    """Of json_schema: a JSON schema (draft 2020-12), an object."""

    @property
    def needs_answers(self) -> bool:
        """Whether a record without a right answer cannot be checked."""
        return self.kind in ("normalised", "exact", "number", "expression") or (
            self.kind == "contains" and not self.text
        )

    @classmethod
    def from_value(cls, value: Any) -> "CheckerSpec":
        """From JSON: a kind's name, an object, or None for normalised. Raises UserError."""
        value = {"kind": value} if isinstance(value, str) else {} if value is None else value
        if not isinstance(value, dict):
            raise UserError("err_checker", value=show(value))
        values = dict(value)
        schema = values.pop("schema", None)
        checker = replace(cls(**check(cls, values, "The checker")), schema=schema)
        if checker.kind == "regex":
            if not checker.pattern:
                raise UserError("err_checker_no_pattern")
            check_pattern("The checker's pattern", checker.pattern)
        if checker.kind == "json_schema":
            check_schema("The checker's schema", schema)
        return checker


@dataclass(frozen=True)
class DecodingSpec:
    """Which strategies are compared, and how their answers are checked."""

    settings: dict[str, Any] = field(default_factory=dict)
    """As DecodeSettings.to_dict() gives them, the lanes included."""
    checker: CheckerSpec = CheckerSpec()
    prompts: tuple[dict[str, str], ...] = ()
    """Own prompts instead of a data set's records: {"prompt", "answer"}."""
    pass_at: tuple[int, ...] = ()
    """The k of pass@k, for lanes that draw several answers; empty: 1, 2, 4, … up to their number."""
    search: dict[str, Any] | None = None
    """{"strategy", "values": {setting: [values]}, "first": which of the lanes is its first candidate}; None: no search."""

    @classmethod
    def from_value(cls, value: Any, limits: Settings | None = None) -> "DecodingSpec | None":
        """From JSON: {lanes, settings, checker, prompts, pass_at, search}; None for an evaluation of another kind. Raises UserError."""
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise UserError("err_decoding_object", value=show(value))
        known = ("lanes", "settings", "checker", "prompts", "pass_at", "search")
        strange = next((key for key in value if key not in known), None)
        if strange is not None:
            raise UserError("err_decoding_key", key=show(strange), known=", ".join(known))
        settings = value.get("settings")
        if settings is not None and not isinstance(settings, dict):
            raise UserError("err_decoding_settings", value=show(settings))
        search = checked_search(value.get("search"))
        usual_lanes = USUAL_LANES if search is None else ("greedy",)
        lanes = value.get("lanes") or (settings or {}).get("lanes") or usual_lanes
        if not isinstance(lanes, list | tuple):
            raise UserError("err_lanes_no_list", items=show(lanes), names=list(STRATEGIES))
        lanes = list(lanes)
        if search is not None and "first" not in search:  # else its candidates are among the lanes already
            search["first"] = len(lanes)
            lanes += candidates(search)
        elif search is not None:
            check_first(search, len(lanes))
        checker = CheckerSpec.from_value(value.get("checker"))
        if "vote_on" not in (settings or {}):
            lanes = [_voting(lane, checker) for lane in lanes]
        given = {"max_new_tokens": USUAL_TOKENS, "temperature": 0.7, **(settings or {}), "lanes": lanes}
        checked = DecodeSettings.from_dict(given, limits)
        spec = cls(
            checked.to_dict(), checker, _prompts(value.get("prompts")),
            _pass_at(value.get("pass_at"), checked), search,
        )  # fmt: skip
        if spec.prompts and spec.checker.needs_answers and not all(each["answer"].strip() for each in spec.prompts):
            raise UserError("err_checker_needs_answers", kind=spec.checker.kind)
        return spec


def _voting(lane: Any, checker: CheckerSpec) -> Any:
    """A lane of self_consistency that does not say what is voted on votes on what is checked: answers to other questions
    than sums have no last number, or one by chance."""
    own = {"strategy": lane} if isinstance(lane, str) else lane
    if not isinstance(own, dict) or own.get("strategy") != "self_consistency" or "vote_on" in own:
        return lane
    return {**own, "vote_on": "number" if checker.kind == "number" else "text"}


def _prompts(value: Any) -> tuple[dict[str, str], ...]:
    if value in (None, (), []):
        return ()
    if not isinstance(value, list | tuple):
        raise UserError("err_prompts_list", value=show(value))
    if len(value) > MOST_PROMPTS:
        raise UserError("err_many_prompts", n=len(value), most=MOST_PROMPTS)
    found = []
    for place, each in enumerate(value):
        each = {"prompt": each} if isinstance(each, str) else each
        if not isinstance(each, dict) or not set(each) <= {"prompt", "answer"}:
            raise UserError("err_odd_prompt", n=place + 1, value=show(each))
        prompt, answer = each.get("prompt"), each.get("answer", "")
        answer = str(answer) if type(answer) in (int, float) else answer
        if not isinstance(prompt, str) or not prompt.strip() or not isinstance(answer, str):
            raise UserError("err_odd_prompt", n=place + 1, value=show(each))
        if len(prompt) + len(answer) > _MOST_CHARACTERS:
            raise UserError("err_long_prompt", n=place + 1, length=len(prompt) + len(answer), most=_MOST_CHARACTERS)
        found.append({"prompt": prompt, "answer": answer})
    return tuple(found)


def _pass_at(value: Any, settings: DecodeSettings) -> tuple[int, ...]:
    if value in (None, (), []):
        return ()
    most = max([lane.num_return_sequences for lane in settings.lanes if lane.strategy in SEVERAL], default=1)
    if not isinstance(value, list | tuple) or not all(type(k) is int and k >= 1 for k in value):
        raise UserError("err_pass_at", value=show(value))
    if max(value) > most:
        raise UserError("err_pass_at_large", k=max(value), most=most)
    return tuple(sorted(set(value)))


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
    if not 2 <= number <= _MOST_CANDIDATES:
        raise UserError("err_search_large", n=number, most=_MOST_CANDIDATES)
    found: list[dict[str, Any]] = []
    for values in product(*lists):
        named = " · ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True))
        name = named if len(named) <= _MOST_CANDIDATE_NAME else f"{named[: _MOST_CANDIDATE_NAME - 5]}… {len(found) + 1}"
        found.append(
            {"strategy": search["strategy"], "name": name, "draws": "search", **dict(zip(keys, values, strict=True))}
        )
    return found
