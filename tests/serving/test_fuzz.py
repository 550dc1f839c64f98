"""Requests drawn from the endpoint's own OpenAPI document, right and wrong ones: never a 500, always a sentence."""

import json

import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from llmdemo.serving.bodies import document

SCHEMAS = document()["components"]["schemas"]
TEXTS = st.one_of(
    st.text(max_size=12), st.sampled_from(["tiny", "tiny:beam2", "tiny:top_p0.5", "greedy", "\ud800", "\0"])
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)
LIKELY: dict[str, st.SearchStrategy] = {
    "model": st.sampled_from(["tiny", "tiny:greedy", "tiny:beam2", "tiny:sample", "tiny:xtc0.1", "tiny:mirostat", "no", "tiny:"]),
    "max_tokens": st.integers(1, 4),
    "max_completion_tokens": st.integers(1, 4),
    "n": st.integers(1, 4),
    "role": st.sampled_from(["user", "system", "assistant", "developer", "tool"]),
    "lane": st.one_of(
        st.sampled_from(["greedy", "top_p0.3", "eta", "beam2", "wizard"]),
        st.fixed_dictionaries({"strategy": st.sampled_from(["greedy", "beam", "min_p", "typical_p", "x"])}, optional={
            "name": TEXTS, "temperature": st.floats(0, 3), "num_beams": st.integers(0, 5), "top_p": ANYTHING, "draws": ANYTHING,
        }),
    ),
    "logit_bias": st.dictionaries(st.one_of(st.integers(-5, 500).map(str), TEXTS), st.floats(-101, 101), max_size=3),
}  # fmt: skip
QUESTION = st.fixed_dictionaries({"role": st.just("user"), "content": st.text(min_size=1, max_size=20)})
LIKELY |= {
    "messages": st.one_of(
        *[st.builds(lambda before, last: [*before, last], st.lists(QUESTION, max_size=2), QUESTION)] * 3,
        st.lists(st.deferred(lambda: of_object(SCHEMAS["Message"])), max_size=3),
    ),
    "tools": st.one_of(*[st.just([])] * 5, st.lists(ANYTHING, max_size=2)),
    "store": st.one_of(*[st.just(False)] * 5, st.just(True)),
    "top_logprobs": st.integers(0, 11),
    "logprobs": st.one_of(st.just(True), st.integers(0, 6)),
    "temperature": st.floats(0, 10),
    "min_tokens": st.integers(0, 4),
    "response_format": st.one_of(st.just({"type": "text"}), st.deferred(lambda: of_object(SCHEMAS["ResponseFormat"]))),
}
"""What of a parameter reaches further than a random value of its type would; and answers that end soon."""


def of_schema(schema: dict, name: str = "") -> st.SearchStrategy:
    """Values that this JSON schema describes, most of them valid."""
    if "$ref" in schema:
        return of_object(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return st.one_of(*(of_schema(each, name) for each in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "integer":
        low = max(schema.get("minimum", -5), -5)
        return st.integers(low, min(schema.get("maximum", 40), 40))
    if kind == "number":
        low = schema.get("minimum", schema.get("exclusiveMinimum", -5))
        return st.floats(low, min(schema.get("maximum", 5), 5), allow_nan=False)
    if kind == "array":
        return st.lists(of_schema(schema.get("items", {}), name), min_size=schema.get("minItems", 0), max_size=3)
    if kind == "object" and "properties" in schema:
        return of_object(schema)
    if kind == "object":
        return st.dictionaries(TEXTS, ANYTHING, max_size=3)
    plain = {"string": TEXTS, "boolean": st.booleans(), "null": st.none()}
    return plain[kind] if kind else ANYTHING


@st.composite
def of_object(draw, schema: dict, most: int = 6) -> dict:
    """Objects with some keys of this schema; one in four has a key that is wrong or unknown, or lacks one."""
    values = {key: LIKELY.get(key, of_schema(inner, key)) for key, inner in schema["properties"].items()}
    required = list(schema.get("required", ()))
    optional = draw(st.lists(st.sampled_from(sorted(values)), max_size=most, unique=True))
    found = {key: draw(values[key]) for key in [*required, *(key for key in optional if key not in required)]}
    if draw(st.integers(0, 3)) == 0:
        key = draw(st.one_of(st.sampled_from(sorted(values)), TEXTS))
        if draw(st.booleans()):
            found.pop(key, None)
        else:
            found[key] = draw(ANYTHING)
    return found


REQUESTS = st.one_of(
    *(
        st.tuples(st.just(path), of_object(SCHEMAS[operations["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]))
        for path, operations in document()["paths"].items()
        if "post" in operations
    )
)  # fmt: skip


def check(web, path: str, body: dict) -> int:
    """Sends one request; its status. A stream has the JSON of an error, or ends with [DONE]."""
    content = json.dumps(body).encode()
    answer = web.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code < 500, (answer.text, body)
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["message"].endswith(".") and error["type"], error
    elif answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.text.endswith("data: [DONE]\n\n") and '"server_error"' not in answer.text
    else:
        assert answer.json()["object"]
    return answer.status_code


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(request=REQUESTS)
@pytest.mark.slow
def test_no_request_of_the_schema_or_beside_it_is_a_mistake_of_the_app(web, request):
    status = check(web, *request)
    target(float(status == 200))
