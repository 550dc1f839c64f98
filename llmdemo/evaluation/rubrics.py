"""Criteria that people keep for their judges: a name, a question, and what each grade from 1 to 5 means. Imports no torch."""

from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home, locked, read_json, write_json
from llmdemo.evaluation.folder import evaluations_folder
from llmdemo.settings.judge import MOST_CHARACTERS, check_rubric

MOST = 100
"""Rubrics that are kept at once."""
_LONGEST_NAME = 80
_Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]


class Rubric(TypedDict):
    """One of the kept ones."""

    name: Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]
    criteria: _Text
    rubric: Annotated[list[_Text], Field(min_length=5, max_length=5)]


_KEPT: TypeAdapter[list[Rubric]] = TypeAdapter(list[Rubric])


def rubrics(home: Home) -> list[Rubric]:
    """Those that are kept, by name. A file that was damaged holds none: it is written anew by the next `keep`."""
    try:
        return _KEPT.validate_python(read_json(evaluations_folder(home) / "rubrics.json"))
    except (OSError, ValueError, ValidationError):
        return []


def keep(home: Home, name: str, criteria: str, scores: tuple[str, ...]) -> list[Rubric]:
    """Keeps a rubric, in the place of one of the same name; all of them. Raises UserError."""
    name = " ".join(name.split())
    if not name or len(name) > _LONGEST_NAME:
        raise UserError("err_rubric_name", most=_LONGEST_NAME)
    check_rubric(criteria, scores)
    with locked(evaluations_folder(home) / "rubrics.lock"):
        others = [each for each in rubrics(home) if each["name"] != name]
        if len(others) >= MOST:
            raise UserError("err_rubrics_full", most=MOST)
        made = Rubric(name=name, criteria=criteria.strip(), rubric=[each.strip() for each in scores])
        return _written(home, [*others, made])


def drop(home: Home, name: str) -> list[Rubric]:
    """Forgets a rubric; all others. Harmless where there is none of that name."""
    with locked(evaluations_folder(home) / "rubrics.lock"):
        return _written(home, [each for each in rubrics(home) if each["name"] != name])


def _written(home: Home, kept: list[Rubric]) -> list[Rubric]:
    kept = sorted(kept, key=lambda each: each["name"].casefold())
    write_json(evaluations_folder(home) / "rubrics.json", kept)
    return kept
