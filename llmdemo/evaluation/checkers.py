"""Whether an answer is right, by one of the kinds of settings.evaluation_decoding.CheckerSpec. Texts only."""

import json
from collections.abc import Callable, Sequence
from functools import cache

from llmdemo.arena.ranking import last_number
from llmdemo.core.patterns import last_match
from llmdemo.evaluation.expressions import passes
from llmdemo.evaluation.text_metrics import exact_match, normalised_match
from llmdemo.settings.evaluation_decoding import CheckerSpec

Checker = Callable[[str, Sequence[str]], bool | None]
"""(answer, right answers) → whether it is right; None where that cannot be told of this record, whatever the answer."""


def checker_of(spec: CheckerSpec) -> Checker:
    """The checker. None of them raises for any text."""
    kinds: dict[str, Checker] = {
        "exact": lambda answer, right: _any(exact_match, answer, right),
        "normalised": lambda answer, right: _any(normalised_match, answer, right),
        "number": _number,
        "contains": lambda answer, right: _contains(answer, [spec.text] if spec.text else right),
        "regex": lambda answer, right: _found(answer, right, spec.pattern),
        "json": lambda answer, right: _satisfies(answer, "{}"),
        "json_schema": lambda answer, right: _satisfies(answer, json.dumps(spec.schema)),
        "expression": _expression,
    }
    return kinds[spec.kind]


def agreement(spec: CheckerSpec, answer: str, answers: Sequence[str]) -> float:
    """The share of `answers` that say what `answer` says: how sure a lane that draws several is of the one it chose."""
    if spec.kind in ("number", "expression"):
        said = last_number(answer)
        same = [last_number(each) == said for each in answers]
    else:
        same = [each == answer or normalised_match(each, answer) for each in answers]
    return sum(same) / len(same)


def _any(match: Callable[[str, str], bool], answer: str, right: Sequence[str]) -> bool | None:
    known = [each for each in right if each.strip()]
    return any(match(answer, each) for each in known) if known else None


def _number(answer: str, right: Sequence[str]) -> bool | None:
    wanted = {value for each in right if (value := last_number(each)) is not None}
    return last_number(answer) in wanted if wanted else None


def _contains(answer: str, right: Sequence[str]) -> bool | None:
    known = [each.strip().casefold() for each in right if each.strip()]
    return any(each in answer.casefold() for each in known) if known else None


def _found(answer: str, right: Sequence[str], pattern: str) -> bool:
    found = last_match(answer, pattern)
    wanted = [last_match(each, pattern) or each.strip() for each in right if each.strip()]
    return found is not None and (not wanted or found in wanted)


def _expression(answer: str, right: Sequence[str]) -> bool | None:
    found = [passes(answer, each) for each in right if each.strip()]
    known = [each for each in found if each is not None]
    return any(known) if known else None


def _satisfies(answer: str, schema: str) -> bool:
    from referencing.exceptions import Unresolvable

    text = answer.strip()
    if text.startswith("```"):  # a code fence, as models write it
        text = text.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        return bool(_validator(schema).is_valid(json.loads(text, parse_constant=_no_number)))
    except (
        ValueError,
        RecursionError,
        Unresolvable,
    ):  # no JSON; a reference to elsewhere; a pattern that RE2 can't read
        return False


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is Python's, not JSON's")


@cache
def _validator(schema: str):
    """A validator that asks nothing of the network and whose patterns run in RE2, which is linear in the text."""
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def pattern(validator, pattern, instance, schema):
        if validator.is_type(instance, "string") and last_match(instance, f"({pattern})") is None:
            yield ValidationError("the pattern is not found")

    def pattern_properties(validator, patterns, instance, schema):
        for pattern, below in patterns.items() if validator.is_type(instance, "object") else ():
            for key, value in instance.items():
                if last_match(key, f"({pattern})") is not None:
                    yield from validator.descend(value, below, path=key, schema_path=pattern)

    own = {"pattern": pattern, "patternProperties": pattern_properties}
    return extend(Draft202012Validator, own)(json.loads(schema))
