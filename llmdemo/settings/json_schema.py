"""Whether a JSON schema from outside is one, and of a size that can be worked with. Knows nothing of what it is for."""

import json
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.settings.schema import show

_MOST_CHARACTERS = 20_000
_DEEPEST = 32


def check_schema(name: str, schema: Any) -> None:
    """Raises UserError, with the setting's `name`, for what is no JSON schema (draft 2020-12), an empty or a huge one."""
    if not isinstance(schema, dict) or not schema:
        raise UserError("err_schema_object", name=name, value=show(schema))
    if _depth(schema, _DEEPEST) > _DEEPEST or len(json.dumps(schema)) > _MOST_CHARACTERS:
        raise UserError("err_large_schema", name=name, most=_MOST_CHARACTERS, deepest=_DEEPEST)
    from jsonschema import Draft202012Validator, SchemaError  # only who gives a schema waits for it

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise UserError("err_odd_schema", name=name, why=error.message[:200]) from None


def _depth(value: Any, most: int) -> int:
    """How deep `value` is nested, counted up to one more than `most`."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(child, most - 1) for child in children), default=0) if most >= 0 else 1
