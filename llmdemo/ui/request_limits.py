"""What every HTTP request passes first: no posts from other sites, no floods, no content from other hosts. Knows no panel.

A body that Gradio gets has been parsed and judged here first (public/json_body.py): Gradio fetches what requests name.
Gradio itself guards localhost only: on other addresses it would answer a post that another site's page sends with the
visitor's cookies. What Gradio's routes raise on a request that makes no sense is answered here with a sentence.
"""

import functools
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote

import gradio
from gradio.exceptions import Error as GradioError
from gradio.route_utils import FnIndexInferError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from llmdemo.access.hosts import origin_host
from llmdemo.access.json_body import Bounds, Refused, checked
from llmdemo.access.people import Visitor
from llmdemo.access.rate_limits import Rates
from llmdemo.access.sessions import Sessions, Uploads
from llmdemo.core.errors import DiskFull, is_disk_full
from llmdemo.core.sentences import in_language, say, together
from llmdemo.core.spaces import on_space
from llmdemo.serving.errors import ApiError
from llmdemo.serving.routes import refusal
from llmdemo.settings import Settings
from llmdemo.ui import bounded_log, content_policy, request_body
from llmdemo.ui.authentication import VISITOR
from llmdemo.ui.chosen_language import language_of
from llmdemo.ui.event_streams import EVERYBODYS, PREFIX

_SAFE = ("GET", "HEAD", "OPTIONS")
_FOREIGN = ("cross-site", "same-site")
_SHARE_OF_ADDRESS = 20
_FORM_BYTES = 2**20
"""What a file's upload may have around the file."""
_MOST_FORM = 8192
_SHARE_OF_COSTLY = 6
"""A sixth of what a guest may ask in a minute may be costly; an address has ten times that, for a class that comes at once."""
_COSTLY = re.compile(r"^/(?:config|gradio_api/(?:info|openapi\.json))/?$")
"""Answers that take ten times the work of others, and that a page or script asks for once."""
_SMALL_BYTES = 64 * 2**10
"""Bodies up to this are parsed at once, in a few milliseconds; larger ones beside the event loop."""
_FETCHES = re.compile(r"file=\s*(?:[a-z][a-z0-9+.\-]+:|//)|/file/|/proxy=", re.IGNORECASE)
"""Routes that would fetch from another host: file=, its old form file/, proxy=."""
_CLOSED = re.compile(
    r"/dev/reload|vibe-|/gradio_api/(?:stream|run-history|runs|profiling|deep_link|process_recording|custom_component)\b",
    re.IGNORECASE,
)
"""Parts of Gradio that write files, tell of other visitors or run programs, and that this page has no use for."""
_FILES = re.compile(r"^(?:/page-[0-9a-f]+/|/assets/|/static/|/svelte/|/theme\.css|/favicon|/robots|/manifest)")
_STREAM = re.compile(r"/gradio_api/(?:heartbeat/([^/]+)|call/(?:v2/)?[^/]+/([^/]+))$")
_OWN_STREAM = re.compile(f"{PREFIX}([^/]+)$")
_NOT_YOURS = together(say("err_not_your_session"), say("err_not_your_session_hint"))
_MISUNDERSTOOD = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError, RecursionError),
    FnIndexInferError,
    GradioError,
)
"""What Gradio's routes raise on requests that no page and no client of theirs would send."""


class RequestLimits:
    """ASGI middleware: refuses what no page of this app sends; security headers on every answer.

    Stands behind the authentication middleware, which has put the visitor into the scope. 403 for a post of another site and for what guests may not send, 413 for
    a body that is too large, 429 for a guest who asks too often, 507 for an upload that the disk has no room for.
    """

    def __init__(
        self,
        app,
        settings: Settings | None = None,
        sessions: Sessions | None = None,
        first_script: str = "",
        since: Callable[[Visitor | None], int] = lambda visitor: 0,
    ):
        """`first_script`: the address of what the page runs before all else, `since`: behind which event a visitor's page
        begins to hear (content_policy.with_first_script)."""
        self._first_script, self._since = first_script, since
        self._app, self._settings = app, settings or Settings(home=Path())
        self._uploads, self._sessions = Uploads(), sessions or Sessions()
        most = self._settings.max_requests_per_minute
        self._rates, self._address_rates = Rates(most), Rates(most * _SHARE_OF_ADDRESS)
        self._get_rates, self._address_get_rates = Rates(most), Rates(most * _SHARE_OF_ADDRESS)
        costly = max(2, most // _SHARE_OF_COSTLY)
        self._costly_rates, self._address_costly_rates = Rates(costly), Rates(costly * 10)
        self._file_rates = Rates(most * _SHARE_OF_ADDRESS * 5)
        # A Space is shown inside a frame of the hub's page; elsewhere nobody has a reason to frame the app.
        space = on_space()
        self._ancestors = "" if space else "frame-ancestors 'self'"
        # Gradio's button to sign in on a Space has a script of its own that is evaluated.
        self._evaluates = space or not gradio.__version__.startswith(content_policy.TRIED)
        self._hosts = {host.strip().lower() for host in os.environ.get("SPACE_HOST", "").split(",")} - {""}

    def _headers_of(self, page: bytes) -> list[tuple[bytes, bytes]]:
        """The security headers of an answer that is the HTML `page`, or none."""
        return [
            (b"content-security-policy", content_policy.policy(page, self._ancestors, self._evaluates).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
        ]

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = False
        since = functools.partial(self._since, scope.get(VISITOR))
        send_policy = content_policy.with_policy(scope, send, self._headers_of, self._first_script, since)

        async def send_with_headers(message):
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send_policy(message)

        if scope["method"] == "GET" and b"text/html" in dict(scope["headers"]).get(b"accept", b""):
            scope = content_policy.uncompressed(scope)
        path, refusal = scope["path"], self._refusal(scope)
        if refusal:
            return await _answer(scope, send_with_headers, *refusal)
        try:
            await self._pass_on(scope, receive, send_with_headers)
        except (request_body.Disconnected, ClientDisconnect):  # the second in the middle of an upload
            return
        except HTTPException as error:
            if not begun:
                raise
            bounded_log.say("stream", f"ended {path[:200]!r}: {str(error)[:200]!r}")
            await send({"type": "http.response.body", "body": b""})
        except Refused as error:
            if begun:
                raise
            await _answer(scope, send_with_headers, error.status, error.sentence)
        except OSError as error:
            if begun or not is_disk_full(error):
                raise
            bounded_log.say("disk", f"507 {path[:200]!r}: {error.strerror}")
            await _answer(scope, send_with_headers, 507, together(DiskFull().message, DiskFull().hint))
        except _MISUNDERSTOOD as error:
            if begun or scope["method"] in _SAFE:
                raise
            bounded_log.say("nonsense", f"400 {path[:200]!r}: {type(error).__name__}: {str(error)[:200]!r}")
            await _answer(scope, send_with_headers, 400, say("http_nonsense", kind=type(error).__name__))

    async def _pass_on(self, scope, receive, send) -> None:
        """Calls the app, with a body that has been read and judged: uploads while they come, all else before."""
        visitor = scope.get(VISITOR)
        who = visitor.identity if visitor else ""
        if scope["method"] in _SAFE:
            return await self._read(scope, receive, send, who)
        most, variable = self._most_bytes(scope)
        if _is_served(scope):  # Gradio never sees it: the route reads it as it is, and asks for a key
            body = await request_body.read(receive, most, variable)
            return await self._app(scope, request_body.replayed(body, receive), send)
        if _is_upload(scope):
            note = functools.partial(self._uploads.add, who)
            receive = request_body.streamed(receive, most, variable)
            return await self._app(scope, receive, request_body.noting_paths(send, note))
        body = await request_body.read(receive, most, variable)
        if body and not _is_form(scope):
            kind = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
            if kind.partition(";")[0].strip().lower() != "application/json":
                raise Refused(415, say("http_content_type", kind=repr(kind[:80])))
            body = await self._judged(body, who, is_guest=visitor is not None and not visitor.is_owner)
            scope = request_body.with_json(scope, body)
        await self._app(scope, request_body.replayed(body, receive), send)

    async def _read(self, scope, receive, send, who: str) -> None:
        """Calls the app for a GET; a stream of results is read by who asked for them only, and known to be read."""
        kind, name = stream_of(scope)
        if not kind or scope["method"] not in ("GET", "HEAD"):  # a HEAD reads along, as far as the stream knows
            return await self._app(scope, receive, send)
        if kind in ("heartbeat", "stream") and not self._sessions.claim(name, who):
            raise Refused(403, _NOT_YOURS)
        if kind == "heartbeat":
            return await self._app(scope, receive, send)
        if kind != "stream" and self._sessions.whose(name) != who:
            if kind == "event":
                raise Refused(404, say("http_no_event"))
            return await _session_not_found(send)
        with self._sessions.reading(name):
            await self._app(scope, receive, send)

    async def _judged(self, body: bytes, who: str, is_guest: bool) -> bytes:
        """The body as Gradio gets it. Raises Refused."""
        limits = self._settings.for_guests() if is_guest else self._settings
        bounds = Bounds(limits.max_request_values, limits.variable("max_request_values"))
        judge = functools.partial(checked, body, bounds, functools.partial(self._uploads.has, who))
        value, body = judge() if len(body) <= _SMALL_BYTES else await run_in_threadpool(judge)
        names = [value.get("session_hash"), value.get("event_id")] if isinstance(value, dict) else []
        for name in names:
            if name is not None and not (isinstance(name, str) and self._sessions.claim(name, who)):
                raise Refused(403, _NOT_YOURS)
        return body

    def _refusal(self, scope) -> tuple[int, str] | None:
        """(HTTP status, why) of a request that goes no further."""
        path = unquote(scope["path"])
        if _FETCHES.search(path):
            return 403, say("http_fetches_nothing")
        if _CLOSED.search(path):
            return 403, say("http_closed")
        if scope["method"] in _SAFE:
            if _is_served(scope):
                return None
            return self._reading_refusal(scope.get(VISITOR), path)
        headers = dict(scope["headers"])
        if not self._from_here(headers):
            return 403, say("http_other_site")
        return self._guests_refusal(scope, path) or self._size_refusal(scope, headers)

    def _from_here(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a post comes from the app's own page, or from a script, which names no origin.

        X-Forwarded-Host is there only behind a proxy that sets it (server.py).
        """
        if headers.get(b"sec-fetch-site", b"").decode("latin-1") in _FOREIGN:
            return False
        origin = headers.get(b"origin") or headers.get(b"referer")
        if not origin:
            return True
        names = (b"host", b"x-forwarded-host") if self._settings.behind_proxy else (b"host",)
        own = {headers.get(name, b"").decode("latin-1").lower() for name in names} | self._hosts
        return origin_host(origin.decode("latin-1")) in own - {""}

    def _guests_refusal(self, scope, path: str) -> tuple[int, str] | None:
        visitor = scope.get(VISITOR)
        if visitor is None or visitor.is_owner:
            return None
        if path.rstrip("/").endswith("/upload"):
            return 403, say("http_guests_upload")
        if _is_served(scope):
            return None  # each key has a limit of its own, and so have wrong keys
        if _is_form({**scope, "path": path}):
            return None  # counts its own failures: a flood from the owner's address must not keep the owner out
        refusal = self._too_often(visitor, self._rates, self._address_rates)
        return refusal or (self._too_costly(visitor) if _may_be_large(scope) else None)

    def _reading_refusal(self, visitor, path: str) -> tuple[int, str] | None:
        """Of a guest's GET. The page's own files, a hundred for one page, count for the address alone."""
        if visitor is None or visitor.is_owner:
            return None
        if _FILES.search(path):
            seconds = self._file_rates.wait(visitor.address)
            return (429, say("http_many_files", seconds=math.ceil(seconds))) if seconds else None
        refusal = self._too_often(visitor, self._get_rates, self._address_get_rates)
        return refusal or (self._too_costly(visitor) if _COSTLY.search(path) else None)

    def _too_costly(self, visitor) -> tuple[int, str] | None:
        """Of large bodies, and of answers that take long to make. A script's first question brings no cookie yet, so
        that a class's first ones would be one guest's: they count for the address alone."""
        if visitor.key and (seconds := self._costly_rates.wait(visitor.key)):
            return 429, say("http_many_large", seconds=math.ceil(seconds))
        if seconds := self._address_costly_rates.wait(visitor.address):
            return 429, say("http_many_large_address", seconds=math.ceil(seconds))
        return None

    def _too_often(self, visitor, rates: Rates, address_rates: Rates) -> tuple[int, str] | None:
        """Guests without a cookie are one guest, by their address."""
        most = self._settings.max_requests_per_minute
        if seconds := rates.wait(visitor.identity):
            return 429, say("http_many", most=most, seconds=math.ceil(seconds))
        if seconds := address_rates.wait(visitor.address):
            times = _SHARE_OF_ADDRESS
            return 429, say("http_many_address", most=most, times=times, seconds=math.ceil(seconds))
        return None

    def _size_refusal(self, scope, headers) -> tuple[int, str] | None:
        length = headers.get(b"content-length", b"")
        most, name = self._most_bytes(scope)
        if length.isdigit() and int(length) > most:
            refused = request_body.too_large(most, name)
            return refused.status, refused.sentence
        return None

    def _most_bytes(self, scope) -> tuple[int, str]:
        """(bytes, the limit's name) of the largest body that this request may have."""
        if _is_upload(scope):
            return self._settings.max_upload_bytes + _FORM_BYTES, "LLMDEMO_MAX_UPLOAD_BYTES"
        if _is_served(scope):
            return self._settings.guest_request_bytes, "LLMDEMO_GUEST_REQUEST_BYTES"
        if _is_form(scope):
            return _MOST_FORM, say("http_form_bytes")
        visitor = scope.get(VISITOR)
        is_guest = visitor is not None and not visitor.is_owner
        limits = self._settings.for_guests() if is_guest else self._settings
        return limits.max_request_bytes, limits.variable("max_request_bytes")


def stream_of(scope) -> tuple[str, str]:
    """("session", its hash), ("event", its id), ("heartbeat", a session's hash) or ("stream", the name of one of ours) of
    a GET that streams; ("", "")."""
    path = scope["path"].rstrip("/")
    if path.endswith("/queue/data"):
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=20)
        return "session", asked.get("session_hash", [""])[-1]
    if (found := _OWN_STREAM.search(path)) and found[1] != EVERYBODYS:
        return "stream", found[1]
    if found := _STREAM.search(path):
        return ("heartbeat" if found[1] else "event"), found[1] or found[2]
    return "", ""


async def _session_not_found(send) -> None:
    """What Gradio says of a session that it does not know, without the traceback that it prints then."""
    told = {"msg": "unexpected_error", "message": _NOT_YOURS, "session_not_found": True, "success": False}
    body = f"data: {json.dumps(told)}\n\n".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": body})


def _is_upload(scope) -> bool:
    return scope["path"].rstrip("/").endswith("/upload")


def _may_be_large(scope) -> bool:
    """Whether the body is, or may be, past what the page's own requests have."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    return b"transfer-encoding" in headers or not length.isdigit() or int(length) > _SMALL_BYTES


def _is_form(scope) -> bool:
    """Whether this is a form of our own: signing in and out. Everything else is Gradio's and speaks JSON."""
    return scope["path"] in tuple(scope.get("root_path", "") + path for path in ("/sign-in", "/sign-out"))


def _is_served(scope) -> bool:
    """Whether this goes to a served model (serving/routes.py), which knows keys and no visitors."""
    return scope["path"].startswith(scope.get("root_path", "") + "/v1/")


async def _answer(scope, send, status: int, sentence: str) -> None:
    """Gradio's routes say what is wrong as {"detail": sentence}, and its page shows that; a browser reads text. Clients of
    served models read OpenAI's errors."""
    if _is_served(scope):
        answer = refusal(ApiError(status, sentence, "invalid_request"))
        body, headers = bytes(answer.body), answer.raw_headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        return await send({"type": "http.response.body", "body": body})
    sentence = in_language(sentence, language_of(Headers(scope=scope)))
    is_json = "/gradio_api/" in scope["path"]
    body = json.dumps({"detail": sentence}, ensure_ascii=False).encode() if is_json else sentence.encode()
    kind = b"application/json" if is_json else b"text/plain; charset=utf-8"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
