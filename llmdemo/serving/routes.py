"""The HTTP routes /v1/…: who asks by which key, what they ask, the answer whole or as server-sent events.

Stands behind the app's own middleware, which bounds the body's bytes and the time to send it. Every refusal has OpenAI's
shape. Knows no page.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmdemo.access.api_keys import ApiKey
from llmdemo.access.json_body import Bounds, Refused, parsed
from llmdemo.access.rate_limits import Rates
from llmdemo.serving.bodies import ChatBody, ClassificationBody, CompletionBody, FeedbackBody, checked, document
from llmdemo.serving.errors import ApiError
from llmdemo.serving.generation import Generation
from llmdemo.serving.responses import usage_of
from llmdemo.serving.service import Asked, Serving

log = logging.getLogger(__name__)
_MOST_WRONG_KEYS = 60
"""Wrong keys of one address in a minute."""
_MOST_VALUES = 100_000
_SILENT_SECONDS = 15.0
"""A stream that has nothing to tell for so long sends a comment, so that proxies keep it open."""
Handler = Callable[[Request, ApiKey], Awaitable[Response]]


def routes(
    serving: Serving,
    address: Callable[[Request], str] | None = None,
    is_owner: Callable[[Request], bool] = lambda request: False,
) -> list[Route]:
    """The routes over `serving`. `address(request)` says where a request comes from, for the limit of wrong keys;
    `is_owner(request)` whether it may see the figures at /metrics without a key."""
    api = _Api(serving, address or (lambda request: request.client.host if request.client else ""), is_owner)
    return [
        Route("/v1/models", api.guarded(api.models), methods=["GET"]),
        Route("/v1/models/{name}", api.guarded(api.model), methods=["GET"]),
        Route("/v1/chat/completions", api.guarded(api.chat), methods=["POST"]),
        Route("/v1/completions", api.guarded(api.completions), methods=["POST"]),
        Route("/v1/classifications", api.guarded(api.classifications), methods=["POST"]),
        Route("/v1/feedback", api.guarded(api.feedback), methods=["POST"]),
        Route("/v1/openapi.json", api.guarded(api.openapi), methods=["GET"]),
        Route("/metrics", api.metrics, methods=["GET"]),
        Route("/v1/{rest:path}", api.nothing, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]


class _Api:
    def __init__(self, serving: Serving, address: Callable[[Request], str], is_owner: Callable[[Request], bool]):
        self._serving, self._address, self._is_owner = serving, address, is_owner
        self._wrong = Rates(_MOST_WRONG_KEYS)

    def guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """`handler`, for who has a key; every error in OpenAI's shape."""

        async def endpoint(request: Request) -> Response:
            try:
                key = await run_in_threadpool(self._key, request)
                return await handler(request, key)
            except ApiError as error:
                return refusal(error)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it
            except Refused as error:
                return refusal(ApiError(error.status, str(error), "invalid_body"))
            except Exception as error:  # a bug; the caller gets a sentence and the log the trace
                log.exception("a request of a served model failed")
                message = f"The app made a mistake ({type(error).__name__}). Its log says more."
                return refusal(ApiError(500, message, "server_error"))

        return endpoint

    async def nothing(self, request: Request) -> Response:
        """Any other path below /v1/."""
        known = "GET /v1/models, POST /v1/chat/completions, /v1/completions, /v1/classifications, /v1/feedback"
        return refusal(
            ApiError(404, f"There is no {request.method} {request.url.path[:80]} here, but {known}.", "unknown_url")
        )

    # ---- GET ----

    async def models(self, request: Request, key: ApiKey) -> Response:
        served = await run_in_threadpool(self._serving.models_of, key)
        return JSONResponse({"object": "list", "data": [_model(each) for each in served]})

    async def model(self, request: Request, key: ApiKey) -> Response:
        served, _ = await run_in_threadpool(self._serving.served, key, request.path_params["name"])
        return JSONResponse(_model(served))

    async def openapi(self, request: Request, key: ApiKey) -> Response:
        return JSONResponse(document())

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format, for owners and for keys that were made for it."""
        if not self._is_owner(request):
            try:
                key = await run_in_threadpool(self._key, request)
            except ApiError as error:
                return refusal(error)
            if not key.monitor:
                return refusal(
                    ApiError(403, "This key was not made to monitor. Make one with monitor: true.", "no_right")
                )
        return Response(await run_in_threadpool(self._serving.monitor.prometheus), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    # ---- POST ----

    async def chat(self, request: Request, key: ApiKey) -> Response:
        return await self._answer(request, key, checked(ChatBody, await _json(request)))

    async def completions(self, request: Request, key: ApiKey) -> Response:
        return await self._answer(request, key, checked(CompletionBody, await _json(request)))

    async def classifications(self, request: Request, key: ApiKey) -> Response:
        body = checked(ClassificationBody, await _json(request))
        texts = [body.input] if isinstance(body.input, str) else body.input
        id_, labels, shares, tokens = await run_in_threadpool(self._serving.classify, key, body, texts)
        rows = [
            {
                "index": index,
                "label": labels[max(range(len(row)), key=row.__getitem__)],
                "probs": [round(share, 6) for share in row],
                "num_classes": len(labels),
                "probabilities": {label: round(share, 6) for label, share in zip(labels, row, strict=True)},
            }
            for index, row in enumerate(shares)
        ]
        told = {"id": id_, "object": "list", "model": body.model, "data": rows, "usage": usage_of(tokens, 0)}
        return JSONResponse(told)

    async def feedback(self, request: Request, key: ApiKey) -> Response:
        """A thumb, a correction, a label that came later: of an answer, by its id."""
        body = checked(FeedbackBody, await _json(request))
        text = await run_in_threadpool(self._serving.opinion, key, body)
        return JSONResponse({"id": body.id, "object": "feedback", "index": body.index, "model": text.name})

    async def _answer(self, request: Request, key: ApiKey, body: ChatBody | CompletionBody) -> Response:
        try:
            asked = await run_in_threadpool(self._serving.prepare, key, body)
            generation = self._serving.start(asked)
        except ApiError as error:
            self._serving.refused(body.model, error)
            raise
        async with _watched(request, generation):
            events = generation.events()
            # what is wrong shows until the first token is there, and so while the status can still say it
            first = [event for _ in range(2) if (event := await anext(events, None)) is not None]
            if not first or generation.was_left:
                raise ClientDisconnect
            asked.shape.begin(first[0]["models"][0]["fingerprint"])
            begun = _after(first[1:], events)
            if not body.stream:
                return await _whole(begun, generation, asked)
            usage = bool(body.stream_options and body.stream_options.include_usage)
            return _EventStream(_chunks(begun, generation, asked, usage), generation)

    def _key(self, request: Request) -> ApiKey:
        """The key of a request. Raises ApiError 401 for none, a wrong or a revoked one, 429 for one that asks too often."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise ApiError(
                401,
                "No API key was given. Send it as the header Authorization: Bearer sk-…; an owner of this app makes keys.",
                "invalid_api_key",
            )
        key = self._serving.keys.check(secret.strip())
        if key is None:
            if seconds := self._wrong.wait(self._address(request)):
                raise _too_often(seconds, f"{_MOST_WRONG_KEYS} wrong keys came from your address within a minute.")
            raise ApiError(401, "This API key is wrong. An owner of this app makes keys.", "invalid_api_key")
        if key.revoked:
            raise ApiError(401, "This API key was revoked. Ask an owner of this app for another.", "revoked_api_key")
        if seconds := self._serving.keys.wait(key):
            raise _too_often(seconds, f"This key may ask {key.requests_per_minute:,} times a minute.")
        return key


def refusal(error: ApiError) -> Response:
    """`error` as an HTTP answer."""
    headers = {"retry-after": str(int(error.wait) + 1)} if error.wait else {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.to_dict(), error.status, headers)


def _too_often(seconds: float, sentence: str) -> ApiError:
    return ApiError(429, f"{sentence} Wait {seconds:.0f} seconds.", "rate_limit_exceeded", wait=seconds)


async def _json(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"The content type is {kind[:80]!r}. Send JSON, as application/json.", "invalid_body")
    body = await request.body()
    try:
        value = await run_in_threadpool(parsed, body, Bounds(_MOST_VALUES, "a served model's limit"))
        # halves of surrogate pairs become question marks: no answer could hold them
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")) if b"\\u" in body else value
    except Refused as error:
        raise ApiError(error.status, str(error), "invalid_json") from None


def _model(served: Any) -> dict:
    return {"id": served.name, "object": "model", "created": int(served.created), "owned_by": "this-app"}


@contextlib.asynccontextmanager
async def _watched(request: Request, generation: Generation) -> AsyncIterator[None]:
    """Around waiting for a generation: it ends when the caller goes, and when waiting ends with an error.

    A stream that has begun watches for itself.
    """
    watch = asyncio.create_task(_until_gone(request, generation))
    try:
        yield
    except BaseException:
        generation.stop()
        raise
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _until_gone(request: Request, generation: Generation) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    generation.stop()


async def _after(first: list[dict], events: AsyncIterator[dict]) -> AsyncIterator[dict]:
    """What was read already, then the others."""
    for event in first:
        yield event
    async for event in events:
        yield event


async def _whole(events: AsyncIterator[dict], generation: Generation, asked: Asked) -> Response:
    pieces = []
    async for event in events:
        pieces += _pieces(event, asked)
    if generation.was_left:
        raise ClientDisconnect
    timing = generation.timing
    usage = usage_of(timing.prompt_tokens, timing.tokens)
    return JSONResponse(asked.shape.whole(pieces, asked.number * len(asked.requests), usage))


async def _chunks(
    events: AsyncIterator[dict], generation: Generation, asked: Asked, usage: bool
) -> AsyncIterator[dict]:
    """The chunks of a streamed answer. An error after the first becomes a chunk too: the status has been sent."""
    if asked.shape.chat:
        for index in range(asked.number):
            yield asked.shape.first(index)
    try:
        async for event in events:
            for piece in _pieces(event, asked):
                yield asked.shape.chunk(piece)
    except ApiError as error:
        yield error.to_dict()
        return
    if usage:
        yield asked.shape.usage_chunk(usage_of(generation.timing.prompt_tokens, generation.timing.tokens))


def _pieces(event: dict, asked: Asked) -> list:
    """The pieces of an event, their index counted over all prompts."""
    first = event["prompt"] * asked.number
    return [replace(piece, index=first + piece.index) for piece in event.get("pieces", ())]


class _EventStream(Response):
    """Server-sent events. However it ends (whole, the caller gone or not reading), the generation ends with it."""

    def __init__(self, chunks: AsyncIterator[dict], generation: Generation):
        super().__init__(
            media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"}
        )
        del self.headers["content-length"]
        self._chunks, self._generation = chunks, generation

    async def __call__(self, scope, receive, send) -> None:
        watch = asyncio.create_task(_until_gone(Request(scope, receive), self._generation))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for part in _kept_alive(self._chunks):
                if self._generation.was_left:
                    return
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
        finally:
            self._generation.stop()
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch


async def _kept_alive(chunks: AsyncIterator[dict]) -> AsyncIterator[bytes]:
    """The chunks as events, and a comment each _SILENT_SECONDS without one."""
    following = chunks.__aiter__()
    pending = asyncio.ensure_future(anext(following, None))
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=_SILENT_SECONDS)
            if not done:
                yield b": waiting\n\n"
                continue
            chunk = pending.result()
            if chunk is None:
                return
            yield b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
            pending = asyncio.ensure_future(anext(following, None))
    finally:
        pending.cancel()
