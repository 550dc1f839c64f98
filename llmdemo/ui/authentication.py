"""Authentication middleware: says for every request who is asking, signs owners in and out. Knows no panel.

`AuthenticationMiddleware` is ASGI middleware that puts a Visitor into the request's scope; `current()` gives it back inside a handler, be
it an event of the page, a call of the API or a question of an island. `routes()` are the pages for signing in.
"""

import asyncio
import hashlib
import ipaddress
from html import escape
from http.cookies import CookieError, SimpleCookie

from gradio.context import LocalContext
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llmdemo.access.people import GUEST, OWNER, Access, Visitor
from llmdemo.access.rate_limits import Rates
from llmdemo.access.session_cookies import GUEST_SECONDS, SESSION_SECONDS, SessionCookies
from llmdemo.core.languages import ENGLISH
from llmdemo.core.spaces import on_space
from llmdemo.ui.chosen_language import language_of
from llmdemo.ui.words import say

VOTE_PAGE = "vote"
"""The path of the page on which participants of a blind vote see its pairs."""
WATCH_PAGE = "watch"
"""The path of the page on which guests watch a run that its owner shows."""
GUEST_PAGE = "arena"
"""The path of the page that guests are led to from the app's own address; see app.py."""
_SCRIPTS_FIRST = "config"
"""What gradio_client asks for first; it keeps the cookie that it gets there."""
_GIVE_COOKIES = (GUEST_PAGE, VOTE_PAGE, WATCH_PAGE, _SCRIPTS_FIRST)
"""Where a guest gets a cookie, besides the app's own address."""
VISITOR = "llmdemo.visitor"
"""Where a request's scope holds its Visitor."""
_MOST_FAILURES, _MOST_FAILURES_OF_ADDRESS = 10, 100
"""Failed sign-ins in a minute: for one account from one address, and from one address, which may be a whole school's."""
_MOST_NAME = 100
_MOST_FORM = 8192
_CHECKS_AT_ONCE = 2
_KEYS = ("title", "about", "name", "password", "go", "back", "403", "429")
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
body { max-width: 22rem; margin: 12vh auto; padding: 0 1.5rem; color: #1b1f24; background: #f7f8fa; }
h1 { font-size: 18px; } label { display: block; margin: 0 0 12px; }
input { display: block; width: 100%; box-sizing: border-box; font: inherit; padding: 8px; border: 1px solid #8c96a1; border-radius: 8px; }
button { font: inherit; font-weight: 600; padding: 8px 18px; border: 0; border-radius: 8px; color: #fff; background: #1b1f24; }
.notice { padding: 8px 12px; border-radius: 8px; color: #8a2c12; background: #fff4f1; } a { color: #0a5c8f; margin-left: 12px; }
:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
@media (prefers-color-scheme: dark) {
  body { color: #e8ebef; background: #13171b; } button { color: #13171b; background: #e8ebef; } a { color: #7cc4f0; }
  .notice { color: #f2b8a8; background: #2b1d1b; }
}"""


def current() -> Visitor | None:
    """Who asks, inside a handler; None where no request is behind a call (a script, a test)."""
    return of_request(LocalContext.request.get(None))


def of_request(request) -> Visitor | None:
    """The visitor of a request of Starlette's or Gradio's."""
    request = getattr(request, "request", None) or request
    return getattr(request, "scope", {}).get(VISITOR)


def address_of(request) -> str:
    """Where a request comes from, as limits count it."""
    visitor = of_request(request)
    return visitor.address if visitor else _peer(request.scope)


def is_owner(request) -> bool:
    """Whether a request is an owner's."""
    visitor = of_request(request)
    return visitor is not None and visitor.is_owner


class AuthenticationMiddleware:
    """ASGI middleware: who asks is known to everything behind it, and guests are led to the guests' page."""

    def __init__(
        self, app, access: Access, tickets: SessionCookies, cookies: tuple[str, str], behind_proxy: bool = False
    ):
        self._app, self._access, self._tickets = app, access, tickets
        self._session_cookie, self._guest_cookie = cookies
        self._behind_proxy = behind_proxy

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        cookies = _cookies(scope)
        visitor = scope[VISITOR] = self._visitor(scope, cookies)
        root = scope.get("root_path", "") + "/"
        if scope["method"] != "GET" or scope["path"] not in (root, *(root + page for page in _GIVE_COOKIES)):
            return await self._app(scope, receive, send)
        if scope["path"] == root and self._access.has_guests and self._access.has_owners and not visitor.is_owner:
            return await _to_guest_page(scope)(scope, receive, send)
        if not self._tickets.guest(cookies.get(self._guest_cookie, "")):
            send = _with_cookie(send, set_cookie(scope, self._guest_cookie, self._tickets.new_guest(), GUEST_SECONDS))
        await self._app(scope, receive, send)

    def _visitor(self, scope, cookies: dict[str, str]) -> Visitor:
        host, address = Headers(scope=scope).get("host", ""), _address(scope, self._behind_proxy)
        name = self._tickets.name(cookies.get(self._session_cookie, ""))
        user = _space_user(scope) if self._access.policy == "space" else None
        role = self._access.role(host, name, user)
        if role == OWNER:
            name = name or str((user or {}).get("preferred_username", ""))
            key = f"owner {name}" if name else self._guest(cookies)
            return Visitor(role, key, address, name, self._access.policy)
        return Visitor(GUEST, self._guest(cookies), address, policy=self._access.policy)

    def _guest(self, cookies: dict[str, str]) -> str:
        number = self._tickets.guest(cookies.get(self._guest_cookie, ""))
        return f"guest {number}" if number else ""


def hub_token() -> str:
    """The hub's token of an owner who signed in with Hugging Face on a Space, inside a handler; "" else."""
    visitor = current()
    if visitor is None or visitor.policy != "space" or not visitor.is_owner:
        return ""
    from gradio.oauth import _get_valid_oauth_info_from_session

    request = LocalContext.request.get(None)
    scope = getattr(getattr(request, "request", None) or request, "scope", {})
    info = _get_valid_oauth_info_from_session(scope.get("session") or {})
    return str((info or {}).get("access_token", ""))


def cookie_names(key: bytes) -> tuple[str, str]:
    """The session's and the guest's cookie, named by the signing key: apps on other ports have the same cookie jar."""
    own = hashlib.sha256(key).hexdigest()[:6]
    return f"llmdemo-session-{own}", f"llmdemo-guest-{own}"


def routes(access: Access, tickets: SessionCookies, session_cookie: str) -> list[Route]:
    """GET and POST /sign-in, POST /sign-out; none where nobody signs in here."""
    if access.policy != "accounts":
        return []
    sign_in = _SignIn(access, tickets, session_cookie)
    return [
        Route("/sign-in", sign_in.show, methods=["GET"]),
        Route("/sign-in", sign_in.sign_in, methods=["POST"]),
        Route("/sign-out", sign_in.sign_out, methods=["POST"]),
    ]


class _SignIn:
    def __init__(self, access: Access, tickets: SessionCookies, cookie: str):
        self._access, self._tickets, self._cookie = access, tickets, cookie
        self._failures, self._failures_of_address = Rates(_MOST_FAILURES), Rates(_MOST_FAILURES_OF_ADDRESS)
        self._checks = asyncio.Semaphore(_CHECKS_AT_ONCE)  # each takes 32 MiB and a core for a moment

    async def show(self, request: Request) -> Response:
        return _page(request)

    async def sign_in(self, request: Request) -> Response:
        """303 to the app with a session's cookie; 403 for a wrong name or password; 429 after too many of those."""
        form = await _form(request)
        name, password = form.get("name", ""), form.get("password", "")
        address = address_of(request)
        seconds = self._wait(name, address)
        if seconds:
            return _page(request, 429, wait=seconds)
        async with self._checks:
            right = await run_in_threadpool(self._access.sign_in, name, password)
        if not right:
            return _page(request, 403)
        self._forgive(name, address)
        answer = RedirectResponse("./", 303)
        answer.headers.append(
            "set-cookie", set_cookie(request.scope, self._cookie, self._tickets.session(name), SESSION_SECONDS)
        )
        return answer

    def _wait(self, name: str, address: str) -> float:
        """Seconds until this account may be tried from this address; 0 now, which counts as failed until it is
        forgiven: many tries at once shall not pass together."""
        seconds = self._failures.wait(_both(name, address))
        if not seconds and (seconds := self._failures_of_address.wait(address)):
            self._failures.forgive(_both(name, address))
        return seconds

    def _forgive(self, name: str, address: str) -> None:
        self._failures.forgive(_both(name, address))
        self._failures_of_address.forgive(address)

    async def sign_out(self, request: Request) -> Response:
        await run_in_threadpool(self._tickets.sign_out, request.cookies.get(self._cookie, ""))
        answer = RedirectResponse("./", 303)
        answer.headers.append("set-cookie", set_cookie(request.scope, self._cookie, "", 0))
        return answer


def _both(name: str, address: str) -> str:
    return f"{address} {name[:_MOST_NAME]}"


def set_cookie(scope, name: str, value: str, seconds: int) -> str:
    """A Set-Cookie header: out of scripts' reach, never sent along with another site's posts."""
    secure = (
        "; Secure" if scope.get("scheme") == "https" or Headers(scope=scope).get("x-forwarded-proto") == "https" else ""
    )
    return (
        f"{name}={value}; Path={scope.get('root_path', '') or '/'}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    )


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form; anything else counts as empty."""
    from urllib.parse import parse_qsl

    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_FORM:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=8) if body else [])


def _page(request: Request, status: int = 200, wait: float = 0) -> HTMLResponse:
    headers = {"cache-control": "no-store", **({"retry-after": str(int(wait) + 1)} if wait else {})}
    return HTMLResponse(sign_in_page(status, language_of(request.headers)), status, headers)


def _to_guest_page(scope) -> Response:
    """Where Gradio serves it: its script knows pages by their paths."""
    query = scope.get("query_string", b"").decode("latin-1")
    path = "./" + GUEST_PAGE + (f"?{query}" if query else "")
    return RedirectResponse(path, 302, {"cache-control": "no-store", "vary": "cookie"})


def _with_cookie(send, value: str):
    async def sender(message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"set-cookie", value.encode())]}
        await send(message)

    return sender


def _cookies(scope) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(Headers(scope=scope).get("cookie", "")).items()}
    except CookieError:
        return {}


def _address(scope, behind_proxy: bool) -> str:
    """Where the request comes from, for limits. Behind a proxy that is only seen in what the proxy adds at the end of
    X-Forwarded-For; what stands before that, the visitor may have written. On a Space there are several of the hub's."""
    space = on_space()
    if not (space or behind_proxy):
        return _peer(scope)
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == b"x-forwarded-for"]
    for part in reversed(",".join(lines).split(",")):
        try:
            address = ipaddress.ip_address(part.strip())
        except ValueError:
            if space:
                continue
            break
        if address.is_global or not space:
            return _network(address)
    return _peer(scope)


def _peer(scope) -> str:
    peer = (scope.get("client") or ("", 0))[0]
    try:
        return _network(ipaddress.ip_address(peer))
    except ValueError:
        return peer


def _network(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """One household or machine has all of a /64 of IPv6 to ask from."""
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def _space_user(scope) -> dict | None:
    """The user info of somebody who signed in with Hugging Face; Gradio's session holds it, signed with the Space's
    own secret. Off Spaces that secret is known to everybody, so this is read there only (Access.policy)."""
    from gradio.oauth import _get_valid_oauth_info_from_session

    info = _get_valid_oauth_info_from_session(scope.get("session") or {})
    user = info.get("userinfo") if isinstance(info, dict) else None
    return user if isinstance(user, dict) else None


def sign_in_page(status: int = 200, language: str = ENGLISH) -> str:
    """The page as HTML; `status` 403 and 429 say why the last try failed."""
    words = {key: escape(say(f"sign_in_{key}", language)) for key in _KEYS}
    notice = f'<p class="notice" role="alert">{words[str(status)]}</p>' if str(status) in words else ""
    return f"""<!doctype html>
<html lang="{language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{words["title"]}</title>
<style>{_STYLE}</style></head><body><main>
<h1>{words["title"]}</h1><p>{words["about"]}</p>{notice}
<form method="post" action="./sign-in">
<label>{words["name"]}<input name="name" autocomplete="username" required autofocus maxlength="64"></label>
<label>{words["password"]}<input name="password" type="password" autocomplete="current-password" required maxlength="1024"></label>
<button>{words["go"]}</button><a href="./">{words["back"]}</a></form></main></body></html>"""
