"""What may be sent to /v1/…: pydantic models after OpenAI's API reference, and what of it makes no sense here.

`checked` gives a body of the right type or raises ApiError with the parameter and what is valid. The JSON schemas of
these models are the endpoint's own description (/v1/openapi.json) and what its fuzz test draws from.
"""

from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmdemo.serving.errors import ApiError

MOST_TOP_LOGPROBS = 10
"""The arena's trace keeps so many alternatives a token."""
MOST_COMPLETION_LOGPROBS = 5
MOST_PROMPTS = 64
MOST_TEXTS = 256
_MOST_SHOWN = 80
_Text = Annotated[str, Field(max_length=1_000_000)]
_Stop = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """Strict: a number in quotes is a text, a key that is not listed is a mistake."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """A served model's name, perhaps with a strategy: "mine", "mine:beam4", "mine:top_p0.8"."""
    user: _Text | None = None
    metadata: dict[str, Any] | None = None
    """user and metadata change nothing, and are kept nowhere."""


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ResponseFormat(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class Sampling(Body):
    """What /v1/chat/completions and /v1/completions share."""

    n: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=10)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=300)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    response_format: ResponseFormat | None = None

    # beyond OpenAI's: as vLLM has them, or the arena
    lane: str | dict[str, Any] | None = None
    """A strategy by name or {"strategy": …, and its settings}, as /compare's settings have it."""
    top_k: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    bad_words: Annotated[list[str], Field(max_length=300)] | None = None
    precision: Literal["auto", "fp32", "bf16", "int8"] | None = None

    service_tier: str | None = None
    store: bool | None = None
    """service_tier is not looked at. store: false keeps a request's texts from being kept where an owner keeps texts;
    true is refused where nothing is kept."""

    def stops(self) -> tuple[str, ...]:
        """The stop sequences, as many as there are."""
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class Part(BaseModel):
    """One part of a message's content. Parts of other types are taken in, to be refused with a sentence."""

    model_config = ConfigDict(extra="allow")
    type: str
    text: _Text | None = None


class Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: _Text | Annotated[list[Part], Field(max_length=100)] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    function_call: Any = None
    audio: Any = None
    annotations: list[Any] | None = None


class ChatBody(Sampling):
    """POST /v1/chat/completions"""

    messages: Annotated[list[Message], Field(min_length=1, max_length=200)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    modalities: list[str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


class CompletionBody(Sampling):
    """POST /v1/completions"""

    prompt: _Text | Annotated[list[_Text], Field(min_length=1, max_length=MOST_PROMPTS)]
    logprobs: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class ClassificationBody(Body):
    """POST /v1/classifications"""

    input: _Text | Annotated[list[_Text], Field(min_length=1, max_length=MOST_TEXTS)]


class FeedbackBody(BaseModel):
    """POST /v1/feedback"""

    model_config = ConfigDict(strict=True, extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=200)]
    """Of the answer: its id."""
    index: Annotated[int, Field(ge=0, le=1_000)] = 0
    """Which of its choices, or of a classifier's texts."""
    thumb: Literal["up", "down"] | None = None
    correction: Annotated[str, Field(min_length=1, max_length=100_000)] | None = None
    """How the answer should have been."""
    label: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    """A classifier's text belongs to this class, as is known by now."""


BodyT = TypeVar("BodyT", bound=BaseModel)


def checked(kind: type[BodyT], value: Any) -> BodyT:
    """`value`, a body's JSON, as `kind`. Raises ApiError 400 that names the parameter, what it is and what is valid."""
    if not isinstance(value, dict):
        raise ApiError(
            400,
            f"The body is {_shown(value)}. It must be a JSON object with the key {next(iter(kind.model_fields))}.",
            "invalid_type",
        )
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _explained(kind, error) from None


def _explained(kind: type[BaseModel], error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False)[0]
    path = [str(part) for part in first["loc"] if not str(part).startswith(("constrained-", "list[", "str", "dict["))]
    param = ".".join(path)[:_MOST_SHOWN] or None
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(kind.model_fields))
        return ApiError(
            400, f"There is no parameter {param!r} here. Valid ones are {known}.", "unknown_parameter", param
        )
    if first["type"] == "missing":
        return ApiError(400, f"The parameter {param} is missing. Add it.", "missing_required_parameter", param)
    said = first["msg"].replace("Input should be", "It must be").rstrip(".")
    others = [
        each["msg"].replace("Input should be ", "") for each in error.errors() if each["loc"][0] == first["loc"][0]
    ]
    alternatives = f" (or {'; '.join(others[1:4])})" if len(others) > 1 else ""
    return ApiError(400, f"{param} is {_shown(first['input'])}. {said}{alternatives}.", "invalid_value", param)


def _shown(value: Any) -> str:
    """`value` as a sentence may hold it: short, and never a whole text."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} with {len(value)} items"
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


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
