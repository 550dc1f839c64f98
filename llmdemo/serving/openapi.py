"""The endpoint's own description: an OpenAPI document made of the bodies' schemas."""

from functools import cache
from typing import Any

from pydantic import BaseModel

from llmdemo.serving.bodies import ChatBody, ClassificationBody, CompletionBody, FeedbackBody

POSTS: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatBody,
    "/v1/completions": CompletionBody,
    "/v1/classifications": ClassificationBody,
    "/v1/feedback": FeedbackBody,
}


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1 of /v1/…, as OpenAI's clients and API tools read it."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {"/v1/models": {"get": {"summary": "Served models", "responses": _responses()}}}
    for path, kind in POSTS.items():
        schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[kind.__name__] = schema
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
        paths[path] = {"post": {"requestBody": {"required": True, "content": content}, "responses": _responses()}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Served models", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}],
    }


def _responses() -> dict[str, Any]:
    return {"200": {"description": "The answer"}, "default": {"description": "{error: {message, type, param, code}}"}}
