"""What the named endpoints share: documentation from a schema, arguments checked by their type hints, what every kind of job
is asked, and how a page calls them. Knows no widget.
"""

import functools
import inspect
import json
import types
from collections.abc import Callable, Iterable
from typing import Any, Union, get_args, get_origin, get_type_hints

import gradio as gr
from pydantic import ConfigDict, TypeAdapter, ValidationError

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.jobs import JobsOfKind
from llmdemo.settings.schema import document, show
from llmdemo.ui.rights import for_owners, right_of


def takes(schema: type) -> Callable[[Callable], Callable]:
    """Ends a function's documentation with the keys of the settings that it takes."""

    def documented(function: Callable) -> Callable:
        function.__doc__ = f"{inspect.getdoc(function)}\n\n{document(schema)}"
        return function

    return documented


_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_VALID: dict[Any, str] = {
    str: "valid_text", int: "valid_whole", float: "valid_number", bool: "valid_boolean", dict: "valid_any_object",
    list: "kind_list", list[str]: "valid_texts", list[int]: "valid_wholes",
}  # fmt: skip
"""{what an endpoint's argument may be: how an error says it}."""


def checked(function: Callable) -> Callable:
    """`function`, but arguments that do not fit its type hints are refused: the UserError names the argument, what was got and
    what is valid. null, and what is left out, stands for the default where there is one. Nothing is converted but whole
    floats, since JSON has one kind of number, and halves of surrogate pairs. Files are left to `uploads.uploaded`.
    """
    hints, parameters = get_type_hints(function), inspect.signature(function).parameters
    checks = {name: _check_of(name, hints[name]) for name in parameters}

    @functools.wraps(function)
    def call(*arguments, **named):
        given = {**dict(zip(parameters, arguments, strict=False)), **named}
        taken = {}
        for name, parameter in parameters.items():
            if given.get(name) is not None or parameter.default is parameter.empty:
                taken[name] = checks[name](given.get(name))
        return function(**taken)

    return call


def _check_of(name: str, hint: Any) -> Callable[[Any], Any]:
    """Gives the argument's value as the function takes it. Raises UserError for what `hint` does not allow."""
    parts = tuple(part for part in (get_args(hint) if _is_union(hint) else (hint,)) if part is not type(None))
    if gr.FileData in parts:
        return lambda value: value
    valid = functools.reduce(
        lambda first, second: say("valid_either", first=first, second=second), [say(_VALID[part]) for part in parts]
    )
    adapter = TypeAdapter[Any](Union[parts], config=_STRICT)  # noqa: UP007 - built from parts

    def taken(value: Any) -> Any:
        if isinstance(value, float) and value.is_integer() and float not in parts:
            value = int(value)
        try:
            adapter.validate_python(value := _without_halves(value))
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError  # no file of ours holds it
        except (ValidationError, ValueError):
            hint = say("setting_must_be", valid=valid, source="")
            raise UserError("err_setting", hint, name=name, where="", got=show(value)) from None
        return value

    return taken


def _without_halves(value: Any) -> Any:
    """The JSON value; with question marks where it has halves of surrogate pairs, which can be written nowhere."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.loads(text.encode("utf-8", "replace"))
    return value


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def of_endpoints(endpoints: Iterable[Callable]) -> list[Callable]:
    """The endpoints that scripts call, as an island's script calls them: under the same names, with their parameters as the
    keys of its one JSON value. Other keys are left to the page's own functions; streams and files come to it in other ways."""
    signatures = {endpoint: inspect.signature(endpoint) for endpoint in endpoints}
    return [
        _of_endpoint(endpoint) for endpoint, its in signatures.items() if its.return_annotation in (dict, list[dict])
    ]


def _of_endpoint(endpoint: Callable) -> Callable:
    function, known = checked(endpoint), inspect.signature(endpoint).parameters

    def call(data: dict) -> Any:
        return function(**{key: data[key] for key in known if key in data})

    call.__name__, call.right = endpoint.__name__, right_of(endpoint)  # type: ignore[attr-defined]
    return call


def job_endpoints(jobs: JobsOfKind, name: str, every: str, *, status: str, stops: str, deletes: str) -> list[Callable]:
    """[/{name}_status, /list_{name}s, /stop_{name}, /resume_{name}, /delete_{name}], which take a job_id.

    `every` as in "All maps"; the others are documentation: what /…_status tells, what a stop and a delete do.
    """

    def told(job_id: str) -> dict:
        return jobs.status(job_id)

    def listed() -> list[dict]:
        return jobs.list()

    def stop(job_id: str) -> dict:
        return jobs.stop(job_id)

    def resume(job_id: str) -> dict:
        return jobs.resume(job_id)

    def delete(job_id: str) -> dict:
        jobs.delete(job_id)
        return {"job_id": job_id}

    return [
        _named(told, f"{name}_status", status),
        _named(listed, f"list_{name}s", f"{every}, the newest first, each with its job_id first."),
        _named(stop, f"stop_{name}", f"{stops} Returns its status."),
        _named(
            resume,
            f"resume_{name}",
            "Lets a stopped or failed one go on where it was. Returns its status.",
        ),
        _named(delete, f"delete_{name}", f"{deletes} Returns its job_id."),
    ]


def _named(function: Callable, name: str, doc: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return for_owners(function)
