"""What a page may run: its own inline scripts by their hashes, and no other."""

import asyncio
import base64
import hashlib

import brotli
from starlette.responses import HTMLResponse, JSONResponse

from llmdemo.ui.content_policy import policy, uncompressed, with_first_script, with_policy

SCRIPT = "window.gradio_config = {};\n  go()"
PAGE = f'<html><script type="module" src="./a.js"></script><script data-mode>{SCRIPT}</script><p>ä</p></html>'


def digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def scripts_of(header: str) -> str:
    return next(part for part in header.split("; ") if part.startswith("script-src"))


def answered(response, **headers):
    """(headers, body) of `response` to a reader that sends `headers`."""
    scope = {"type": "http", "method": "GET", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    sent = []

    async def send(message):
        sent.append(message)

    def headers_of(page):
        return [(b"content-security-policy", policy(page).encode()), (b"content-type", b"never/twice")]

    asyncio.run(response(uncompressed(scope), None, with_policy(scope, send, headers_of)))
    return dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


def test_a_pages_own_inline_scripts_are_named_and_no_other_may_run():
    allowed = scripts_of(policy(PAGE.encode()))
    assert allowed == f"script-src 'self' {digest(SCRIPT)}"
    assert "unsafe-inline" not in scripts_of(policy())
    assert scripts_of(policy(evaluates=True)) == "script-src 'self' 'unsafe-eval'"


def test_our_script_stands_before_all_others_on_gradios_pages_alone():
    page = b"<head><base><script>one()</script></head><gradio-app></gradio-app><script>two()</script>"
    first = b'<script src="page-1/lib/a.js"></script>'
    assert with_first_script(page, "page-1/lib/a.js") == page.replace(b"<script>one", first + b"<script>one")
    assert (
        with_first_script(page, "") == page and with_first_script(b"<script></script>", "a.js") == b"<script></script>"
    )
    told = with_first_script(page, "a.js", 17)
    assert b'<script src="a.js" data-since="17"></script><script>one' in told and policy(told) == policy(page)


def test_a_script_is_hashed_with_the_line_ends_that_a_browser_gives_it():
    assert policy(PAGE.replace("\n", "\r\n").encode()) == policy(PAGE.encode())


def test_a_page_comes_whole_with_its_policy_and_compressed_for_who_takes_that():
    headers, body = answered(HTMLResponse(PAGE), **{"accept-encoding": "gzip, br"})
    assert headers[b"content-encoding"] == b"br" and brotli.decompress(body).decode() == PAGE
    assert headers[b"content-length"] == str(len(body)).encode()
    assert digest(SCRIPT).encode() in headers[b"content-security-policy"]
    headers, body = answered(HTMLResponse(PAGE))
    assert b"content-encoding" not in headers and body.decode() == PAGE
    assert headers[b"content-type"].startswith(b"text/html")


def test_what_is_no_page_goes_on_as_it_comes_with_the_policy_of_no_script():
    headers, body = answered(JSONResponse({"a": f"<script>{SCRIPT}</script>"}))
    assert digest(SCRIPT).encode() not in headers[b"content-security-policy"] and b"script" in body


def test_a_download_of_markup_goes_on_as_it_comes_and_none_of_its_scripts_is_named():
    saved = HTMLResponse(PAGE, headers={"content-disposition": 'attachment; filename="a.html"'})
    headers, body = answered(saved, **{"accept-encoding": "br"})
    assert body.decode() == PAGE and b"content-encoding" not in headers
    assert headers[b"content-security-policy"] == policy().encode()
