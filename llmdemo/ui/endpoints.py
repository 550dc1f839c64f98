"""What the named endpoints share: documentation from a schema, what every kind of job is asked, and how a page calls them.
Knows no widget.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError, validate_call

from llmdemo.core.errors import UserError
from llmdemo.jobs import JobsOfKind
from llmdemo.settings.schema import document
from llmdemo.ui.rights import for_owners, right_of


def takes(schema: type) -> Callable[[Callable], Callable]:
    """Ends a function's documentation with the keys of the settings that it takes."""

    def documented(function: Callable) -> Callable:
        function.__doc__ = f"{inspect.getdoc(function)}\n\n{document(schema)}"
        return function

    return documented


def of_endpoints(endpoints: Iterable[Callable]) -> list[Callable]:
    """The endpoints that scripts call, as an island's script calls them: under the same names, with their parameters as the
    keys of its one JSON value. Other keys are left to the page's own functions; streams and files come to it in other ways."""
    signatures = {endpoint: inspect.signature(endpoint) for endpoint in endpoints}
    return [
        _of_endpoint(endpoint) for endpoint, its in signatures.items() if its.return_annotation in (dict, list[dict])
    ]


def _of_endpoint(endpoint: Callable) -> Callable:
    checked, known = validate_call(endpoint), inspect.signature(endpoint).parameters

    def call(data: dict) -> Any:
        try:
            return checked(**{key: data[key] for key in known if key in data})
        except ValidationError as error:
            raise UserError("err_page_value", key=str(error.errors()[0]["loc"][0])) from error

    call.__name__, call.right = endpoint.__name__, right_of(endpoint)  # type: ignore[attr-defined]
    return call


def job_endpoints(
    jobs: JobsOfKind, name: str, every: str, *, status: str, stops: str, deletes: str, resumes: str = ""
) -> list[Callable]:
    """[/{name}_status, /list_{name}s, /stop_{name}, /resume_{name}, /delete_{name}], which take a job_id.

    `every` as in "All maps"; the others are documentation: what /…_status tells, what a stop, a delete and a resume do.
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
            f"{resumes or 'Lets a stopped or failed one go on where it was.'} Returns its status.",
        ),
        _named(delete, f"delete_{name}", f"{deletes} Returns its job_id."),
    ]


def _named(function: Callable, name: str, doc: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return for_owners(function)
