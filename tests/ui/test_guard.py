"""The middleware: posts from other sites are refused, every answer carries the policy."""

import asyncio

import pytest

from llmdemo.public.people import Visitor
from llmdemo.ui.door import VISITOR
from llmdemo.ui.guard import Guard


async def _app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def answer(method="POST", path="/gradio_api/queue/join", visitor=None, **headers):
    """(status, headers, body) of a request with these headers ("_" for "-")."""
    sent = []

    async def send(message):
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, VISITOR: visitor}
    asyncio.run(Guard(_app)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"].decode()


def test_a_post_from_the_page_itself_passes():
    assert answer(host="localhost:7860", origin="http://localhost:7860")[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://localhost:7860.evil.example", "null", "http://localhost:1"]
)
def test_a_post_from_another_site_is_refused(origin):
    status, _, said = answer(host="localhost:7860", origin=origin)
    assert status == 403 and "another site" in said


def test_a_post_behind_a_proxy_passes_when_the_proxy_names_the_host():
    assert answer(host="127.0.0.1:7860", x_forwarded_host="demo.example", origin="https://demo.example")[0] == 200


def test_scripts_without_an_origin_pass():
    assert answer(host="localhost:7860")[0] == 200


def test_reading_passes_from_anywhere():
    assert answer(method="GET", host="localhost:7860", origin="http://evil.example")[0] == 200


def test_visitors_of_an_app_without_a_password_cannot_upload():
    assert answer(path="/gradio_api/upload", visitor=Visitor("guest", "x"), host="a")[0] == 403
    assert answer(path="/gradio_api/upload", visitor=Visitor("owner", "x"), host="a")[0] == 200


def test_every_answer_forbids_content_from_other_hosts():
    policy = answer(host="a")[1][b"content-security-policy"].decode()
    assert "default-src 'self'" in policy and "connect-src 'self'" in policy
    assert "http:" not in policy and "https:" not in policy and "*" not in policy
