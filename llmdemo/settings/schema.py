"""One description for each setting: its type, range, default and use. Checks, forms and documents follow from it.

A schema is a dataclass whose fields are annotated with pydantic's constraints and, where there is more to say, a
`Setting`. `check` makes values from outside clean or refuses them with a sentence; `describe` gives what a form needs.
Knows no torch, no page and no particular setting.
"""

import ast
import inspect
import itertools
import textwrap
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say, together

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_MOST_SHOWN = 60


@dataclass(frozen=True)
class Setting:
    """What a field's type and range do not say. The words of a setting KEY are f_KEY (its name) and h_KEY (its help)."""

    unit: str = ""
    """What is counted: steps, records, tokens, bits; the word is unit_…"""
    methods: tuple[str, ...] = ()
    """The training methods that use it; empty: all."""
    tasks: tuple[str, ...] = ()
    """The training tasks that use it; empty: all."""
    form: bool = False
    """Whether a form shows it; every setting can be given through the API."""
    widget: str = ""
    """How a form asks for it where the type does not tell: dataset (a menu of data sets), model, share (a percentage), probe
    (the newest one, or none)."""
    searchable: bool = False
    """Whether a hyperparameter search may vary it."""
    remedy: str = ""
    """A sentence for who is refused a value: what to do instead."""


@dataclass(frozen=True)
class Field:
    """One setting, as read from its annotation."""

    name: str
    kind: type
    """int, float, bool, str, tuple for a list of texts, or dict for numbers by text or any object."""
    optional: bool
    """Whether None is a value: the default then depends on other settings."""
    default: Any
    choices: tuple[Any, ...]
    low: float | None
    high: float | None
    above_low: bool
    """Whether `low` itself is excluded."""
    longest: int | None
    """Most characters of a text."""
    of_numbers: bool
    """Of a dict: whether it holds numbers, rather than anything."""
    setting: Setting
    adapter: TypeAdapter[Any]

    def valid(self, high: float | None = None) -> str:
        """What is valid, as the end of "It must be …"; `high` where the app's own limit is lower than the schema's."""
        top = self.high if high is None else high
        if self.choices:
            return say("valid_choices", choices=[show(choice) for choice in self.choices])
        if self.kind is str:
            return say("valid_text_of", n=self.longest) if self.longest else say("valid_text")
        if self.kind in _VALID:
            return say("valid_any_object" if self.kind is dict and not self.of_numbers else _VALID[self.kind])
        low = ("_above" if self.above_low else "_from") if self.low is not None else ""
        to = "_to" if top is not None else ""
        key = f"valid_{'whole' if self.kind is int else 'number'}{low}{to}"
        return say(key, low=number(self.low or 0), high=number(top or 0))


_VALID: dict[type, str] = {bool: "valid_boolean", tuple: "valid_texts", dict: "valid_object"}


@cache
def fields_of(schema: type) -> dict[str, Field]:
    """{name: Field} of a schema's fields, in order; fields that are schemas themselves are left out."""
    hints = get_type_hints(schema, include_extras=True)
    found = {}
    for each in fields(schema):
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        default = None if default is MISSING else default
        field = _field(each.name, hints[each.name], default)
        if field:
            found[each.name] = field
    return found


def _field(name: str, hint: Any, default: Any) -> Field | None:
    hint, extras = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    optional = type(None) in parts
    parts = tuple(part for part in parts if part is not type(None))
    choices = tuple(choice for part in parts if get_origin(part) is Literal for choice in get_args(part))
    kind = type(choices[0]) if choices else (get_origin(parts[0]) or parts[0])
    if is_dataclass(kind) or (kind is tuple and get_args(parts[0])[:1] != (str,)):
        return None
    constraints = [c for extra in extras for c in (extra.metadata if isinstance(extra, FieldInfo) else [extra])]
    setting = next((extra for extra in extras if isinstance(extra, Setting)), Setting())
    low = next((_bound(c.gt if isinstance(c, Gt) else c.ge) for c in constraints if isinstance(c, Gt | Ge)), None)
    high = next((_bound(c.lt if isinstance(c, Lt) else c.le) for c in constraints if isinstance(c, Lt | Le)), None)
    longest = next((c.max_length for c in constraints if isinstance(c, MaxLen)), None)
    above = any(isinstance(c, Gt) for c in constraints)
    plain = Annotated[(Union[parts], *extras)] if extras else Union[parts]  # noqa: UP007 - built from parts
    adapter = TypeAdapter[Any](plain, config=_STRICT)
    of_numbers = get_args(parts[0])[1:] == (float,)
    return Field(name, kind, optional, default, choices, low, high, above, longest, of_numbers, setting, adapter)


def _bound(value: Any) -> float:
    """A constraint's own number: the largest seed has more digits than a float."""
    return value if isinstance(value, int) else float(value)


@dataclass(frozen=True)
class Limit:
    """A bound that the app sets below the schema's: its value and the environment variable that holds it."""

    most: float
    variable: str = ""


def check(
    schema: type, values: Mapping[str, Any], what: str, *, where: str = "", limits: Mapping[str, Limit] | None = None
) -> dict[str, Any]:
    """`values` with each key's type and range checked; None stands for the default and is left out.

    `what` names the object in an error ("The config"), `where` is put behind a key's name (" of lane 'x'").
    Raises UserError that says what was got and what is valid, for an unknown key too.
    """
    known = fields_of(schema)
    unknown = next((key for key in values if key not in known), None)
    if unknown is not None:
        raise UserError("err_no_key", what=what, unknown=show(unknown), names=list(known))
    limits = limits or {}
    return {
        key: check_one(known[key], value, where=where, limit=limits.get(key))
        for key, value in values.items()
        if value is not None
    }


def check_one(field: Field, value: Any, *, where: str = "", limit: Limit | None = None) -> Any:
    """The clean value of one setting. Raises UserError."""
    lower = limit is not None and (field.high is None or limit.most <= field.high)
    try:
        value_of_kind = value if field.kind is dict and not field.of_numbers else _as_kind(field.kind, value)
        clean = field.adapter.validate_python(value_of_kind)
        if field.choices and type(clean) is not type(value_of_kind):
            raise ValueError  # Literal compares by ==, and 1 == True
        if lower and limit is not None and clean > limit.most:
            raise ValueError
    except (ValidationError, ValueError):
        variable = limit.variable if lower and limit else ""
        source = say("from_variable", name=variable) if variable else ""
        valid = field.valid(limit.most if lower and limit else None)
        hint = together(say("setting_must_be", valid=valid, source=source), field.setting.remedy)
        raise UserError("err_setting", hint, name=field.name, where=where, got=show(value)) from None
    return clean


def _as_kind(kind: type, value: Any) -> Any:
    """JSON has one kind of number, no tuple and only texts as keys: whole floats pass as integers, lists as tuples."""
    if kind is dict and isinstance(value, dict):
        return {str(key) if type(key) is int else key: _as_kind(float, each) for key, each in value.items()}
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1000:
        return float(value)
    return tuple(value) if kind is tuple and isinstance(value, list) else value


def describe(schema: type) -> dict[str, dict[str, Any]]:
    """{key: {kind, default, choices, low, high, unit, methods, tasks, form, widget, searchable}}, for forms; JSON-able."""
    return {
        name: {
            "kind": "list" if field.kind is tuple else field.kind.__name__,
            "default": list(field.default) if isinstance(field.default, tuple) else field.default,
            "choices": list(field.choices),
            "low": field.low,
            "high": field.high,
            "unit": field.setting.unit,
            "methods": list(field.setting.methods),
            "tasks": list(field.setting.tasks),
            "form": field.setting.form,
            "widget": field.setting.widget,
            "searchable": field.setting.searchable,
        }
        for name, field in fields_of(schema).items()
    }


@cache
def documentation(schema: type) -> dict[str, str]:
    """{field: the text below it in the schema's source, "" where there is none}."""
    body = ast.parse(textwrap.dedent(inspect.getsource(schema))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {field.name: "" for field in fields(schema)}
    for line, below in itertools.pairwise(body.body):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id in found:
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            found[line.target.id] = " ".join(str(text).split())
    return found


def document(schema: type) -> str:
    """The schema's settings as Markdown list items: name, default, what is valid, what it does."""
    texts = documentation(schema)
    lines = []
    for name, field in fields_of(schema).items():
        default = "" if field.default in (None, "", (), {}) else f", default {show(field.default)}"
        lines.append(f"- {name} ({field.valid()}{default}): {texts[name]}")
    return "\n".join(lines)


def number(value: float | None) -> str:
    """A bound as people write it: 1,000,000 and 0.01, not 1e+06."""
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 2**63:
        return f"{int(value):,}"
    return f"{value:g}"


def show(value: Any) -> str:
    """A value from outside as a short text for an error."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no integer of over 4,300 digits, and nothing nested too deep
        text = "a number too long to show" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"


def one_of(values: Sequence[str]) -> str:
    """ "a, b or c"."""
    return " or ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)
