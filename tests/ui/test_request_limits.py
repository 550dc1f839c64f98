"""The middleware: posts from other sites are refused, every answer carries the policy."""

import asyncio
import json
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect

from llmdemo.access.json_body import Refused
from llmdemo.access.people import Visitor
from llmdemo.access.sessions import Sessions
from llmdemo.settings import Settings
from llmdemo.ui import request_body
from llmdemo.ui.authentication import VISITOR
from llmdemo.ui.page_files import PageFiles
from llmdemo.ui.request_limits import RequestLimits


async def _app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def nothing():
    return {"type": "http.request", "body": b"", "more_body": False}


def answer(method="POST", path="/gradio_api/queue/join", visitor=None, settings=None, **headers):
    """(status, headers, body) of a request with these headers ("_" for "-")."""
    return once(RequestLimits(_app, settings), method, path, visitor, **headers)


def once(limits, method="POST", path="/x", visitor=None, body=b"", query=b"", **headers):
    """The same, of a limits that has seen others."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": raw, VISITOR: visitor}
    asyncio.run(limits(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"].decode()


def test_a_post_from_the_page_itself_passes():
    assert answer(host="localhost:7860", origin="http://localhost:7860")[0] == 200


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "https://localhost:7860.evil.example", "null", "http://localhost:1"),
        *("http://[::1", "http://localhost:7860@evil.example", "file://", "evil"),
    ],
)
def test_a_post_from_another_site_is_refused(origin):
    status, _, said = answer(host="localhost:7860", origin=origin)
    assert status == 403 and "another site" in said


def test_a_post_that_names_another_site_as_its_referer_only_is_refused():
    assert answer(host="localhost:7860", referer="http://evil.example/page")[0] == 403
    assert answer(host="localhost:7860", referer="http://localhost:7860/?x")[0] == 200


def test_a_post_behind_a_proxy_passes_when_the_proxy_is_known_and_names_the_host():
    request = {"host": "127.0.0.1:7860", "x_forwarded_host": "demo.example", "origin": "https://demo.example"}
    assert answer(**request)[0] == 403  # another site's page may set that header
    assert answer(settings=Settings(home=Path(), behind_proxy=1), **request)[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_post_that_the_browser_calls_foreign_is_refused_without_an_origin_too(site):
    assert answer(host="demo.example", sec_fetch_site=site)[0] == 403
    assert answer(host="demo.example", sec_fetch_site="same-origin")[0] == 200


def test_a_space_is_also_known_by_the_names_that_the_hub_gives_it(monkeypatch):
    monkeypatch.setenv("SPACE_HOST", "ann-demo.hf.space, demo.example")
    assert answer(host="10.0.0.7", origin="https://demo.example")[0] == 200
    assert answer(host="10.0.0.7", origin="https://evil.example")[0] == 403


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


def test_text_may_be_evaluated_only_on_a_space_and_with_a_gradio_that_was_not_tried(monkeypatch):
    def evaluates():
        return "'unsafe-eval'" in answer(host="a")[1][b"content-security-policy"].decode()

    assert not evaluates()
    monkeypatch.setattr("gradio.__version__", "6.99.0")
    assert evaluates()
    monkeypatch.undo()
    monkeypatch.setenv("SPACE_ID", "ann/demo")
    assert evaluates()


@pytest.mark.parametrize("path", ["/gradio_api/file=https://other.example/x", "/gradio_api/proxy=https://a.hf.space/"])
def test_nothing_is_fetched_from_other_hosts_for_a_visitor(path):
    assert answer(method="GET", path=path, host="a")[0] == 403
    assert answer(method="GET", path=path.replace("https", "ht%74ps"), host="a")[0] == 403


def test_a_body_over_the_limit_is_refused_before_it_is_read():
    small = Settings(home=Path(), max_upload_bytes=10)
    status, _, said = answer(path="/gradio_api/upload", settings=small, host="a", content_length=str(2**21))
    assert status == 413 and "LLMDEMO_MAX_UPLOAD_BYTES" in said
    status, _, said = answer(host="a", content_length=str(2**26))
    assert status == 413 and "LLMDEMO_MAX_REQUEST_BYTES" in said
    guest = Visitor("guest", "g")
    status, _, said = answer(host="a", content_length=str(2**23), visitor=guest)
    assert status == 413 and "LLMDEMO_GUEST_REQUEST_BYTES" in said
    assert answer(host="a", content_length=str(2**23))[0] == 200


def through(app, settings=None, visitors=(None,), messages=(), path="/gradio_api/call/x"):
    """The statuses of posts to `app` behind one limits, from each of `visitors`."""
    limits, statuses = RequestLimits(app, settings), []

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def all_of_them():
        for visitor in visitors:
            left = list(messages)

            async def receive(left=left):
                return left.pop(0) if left else await nothing()

            scope = {
                "type": "http",
                "method": "POST",
                "path": path,
                "headers": [(b"host", b"a")],
                VISITOR: visitor,
            }
            await limits(scope, receive, send)

    asyncio.run(all_of_them())
    return statuses


def test_a_body_without_a_length_ends_at_the_limit():
    async def reads(scope, receive, send):
        while (await receive())["more_body"]:
            pass

    pieces = [{"type": "http.request", "body": b"x" * 2**22, "more_body": True}] * 20
    assert through(reads, messages=pieces) == [413]


def test_a_guest_who_asks_too_often_is_told_so_and_others_are_not():
    few = Settings(home=Path(), max_requests_per_minute=2)
    ann, bob, owner = (
        Visitor("guest", "guest a", "1.1.1.1"),
        Visitor("guest", "guest b", "1.1.1.1"),
        Visitor("owner", ""),
    )
    assert through(_app, few, [ann] * 3 + [bob] * 2 + [owner] * 5) == [200, 200, 429] + [200] * 7


def test_who_throws_the_cookie_away_is_counted_by_address():
    few = Settings(home=Path(), max_requests_per_minute=1)
    assert through(_app, few, [Visitor("guest", "", "1.1.1.1")] * 2) == [200, 429]  # all such are one guest
    new_each_time = [Visitor("guest", f"guest {number}", "1.1.1.1") for number in range(21)]
    assert through(_app, few, new_each_time)[-2:] == [200, 429]


def test_reading_is_counted_too_and_by_itself():
    few = Settings(home=Path(), max_requests_per_minute=2)
    limits = RequestLimits(_app, few)
    guest, owner = Visitor("guest", "guest a", "1.1.1.1"), Visitor("owner", "x")
    assert [once(limits, "GET", "/config", guest)[0] for _ in range(3)] == [200, 200, 429]
    assert [once(limits, "GET", "/gradio_api/x/sign-in", guest)[0] for _ in range(1)] == [429]
    assert [once(limits, "POST", "/gradio_api/x/sign-in", guest)[0] for _ in range(3)] == [200, 200, 429]
    assert [once(limits, "GET", "/config", owner)[0] for _ in range(9)] == [200] * 9
    file = f"/{PageFiles().folder}/main.js"
    assert [once(limits, "GET", file, guest)[0] for _ in range(201)][-2:] == [200, 429]


def test_a_flood_from_the_owners_address_does_not_keep_the_owner_from_signing_in():
    none = Settings(home=Path(), max_requests_per_minute=0)
    asks = [Visitor("guest", "guest a", "1.1.1.1")]
    assert through(_app, none, asks) == [429] and through(_app, none, asks, path="/sign-in") == [200]


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("/secret"), AttributeError("y")])
def test_a_request_that_makes_no_sense_is_a_sentence(error, capsys):
    async def fails(scope, receive, send):
        raise error

    assert through(fails) == [400]
    assert capsys.readouterr().err


def post(limits, visitor, body: dict, path="/gradio_api/queue/join") -> int:
    return once(limits, "POST", path, visitor, json.dumps(body).encode(), content_type="application/json")[0]


def test_a_session_and_an_event_are_their_visitors_alone():
    limits = RequestLimits(_app)
    ann, eve, owner = (Visitor("guest", "guest a"), Visitor("guest", "guest e"), Visitor("owner", "x", name="ann"))
    assert post(limits, ann, {"session_hash": "of-ann"}) == 200
    assert post(limits, owner, {"session_hash": "of-owner"}) == 200
    for taken in ({"session_hash": "of-ann"}, {"session_hash": "of-owner"}, {"session_hash": ["x"]}, {"event_id": 5}):
        assert post(limits, eve, taken) == post(limits, eve, taken, "/gradio_api/cancel") == 403
    assert post(limits, ann, {"session_hash": "of-ann"}, "/gradio_api/cancel") == 200
    data = {"method": "GET", "path": "/gradio_api/queue/data", "query": b"session_hash=of-ann"}
    assert once(limits, visitor=ann, **data)[2] == "ok"
    assert "session_not_found" in once(limits, visitor=eve, **data)[2]
    assert "session_not_found" in once(limits, visitor=ann, **{**data, "query": b"session_hash=unknown"})[2]
    assert once(limits, "GET", "/gradio_api/heartbeat/of-ann", eve)[0] == 403
    assert once(limits, "GET", "/gradio_api/heartbeat/new-one", eve)[0] == 200


def test_an_events_results_are_read_by_who_asked():
    sessions = Sessions()
    limits = RequestLimits(_app, sessions=sessions)
    ann, eve = Visitor("guest", "guest a"), Visitor("guest", "guest e")
    sessions.claim("event1", ann.identity)
    for path in ("/gradio_api/call/compare/event1", "/gradio_api/call/v2/compare/event1"):
        assert once(limits, "GET", path, ann)[0] == 200 and once(limits, "GET", path, eve)[0] == 404
    assert once(limits, "GET", "/gradio_api/call/compare/unknown", ann)[0] == 404


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=b", "", "application/jsonx"])
def test_gradio_gets_json_only_that_says_so(kind):
    assert once(RequestLimits(_app), body=b"{}", content_type=kind)[0] == 415
    assert once(RequestLimits(_app), body=b"{}", content_type="Application/JSON; charset=utf-8")[0] == 200


@pytest.mark.parametrize(
    "path", ["/gradio_api/deep_link", "/gradio_api/stream/x", "/gradio_api/file/x", "/gradio_api/runs"]
)
def test_parts_of_gradio_without_a_use_here_are_closed(path):
    for method in ("GET", "POST"):
        assert once(RequestLimits(_app), method, path)[0] == 403


def test_a_body_that_drips_ends(monkeypatch):
    async def drips():
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    with pytest.raises(Refused, match="within 0 seconds") as caught:
        asyncio.run(request_body.read(drips, 10**6, "X", seconds=0.1))
    assert caught.value.status == 408

    async def nothing_comes():
        await asyncio.sleep(60)

    with pytest.raises(Refused, match="sent nothing"):
        asyncio.run(request_body.streamed(nothing_comes, 10**6, "X", idle=0.05)())


def test_large_questions_of_a_guest_are_counted_by_themselves():
    limits, guest, other = (
        RequestLimits(_app, Settings(home=Path())),
        Visitor("guest", "g", "1.1.1.1"),
        Visitor("guest", "h", "1.1.1.1"),
    )
    config = [once(limits, "GET", "/config", guest)[0] for _ in range(50)]
    assert config == [200] * 40 + [429] * 10
    assert once(limits, "GET", "/arena", guest)[0] == once(limits, "GET", "/config", other)[0] == 200
    assert once(limits, "GET", "/config", Visitor("owner", "o", "1.1.1.1"))[0] == 200
    large = {"visitor": other, "content_type": "application/json", "body": b"[]", "content_length": str(2**17)}
    assert [once(limits, "POST", "/gradio_api/queue/join", **large)[0] for _ in range(40)][-2:] == [200, 429]
    small = {**large, "content_length": "2"}
    assert once(limits, "POST", "/gradio_api/queue/join", **small)[0] == 200


def test_a_class_of_scripts_that_begins_at_once_is_let_in_and_a_flood_of_new_guests_is_not():
    limits, new = RequestLimits(_app, Settings(home=Path())), Visitor("guest", "", "1.1.1.1")
    assert {once(limits, "GET", path, new)[0] for path in ("/config", "/gradio_api/info") for _ in range(60)} == {200}
    later = [once(limits, "GET", "/config", Visitor("guest", f"g{number}", "1.1.1.1"))[0] for number in range(400)]
    assert later == [200] * 280 + [429] * 120
    assert once(limits, "GET", "/config", Visitor("guest", "", "2.2.2.2"))[0] == 200


def test_an_upload_that_is_broken_off_is_no_error_of_the_app():
    async def broken_off(scope, receive, send):
        raise ClientDisconnect

    assert through(broken_off, path="/gradio_api/upload") == []


def test_a_stream_belongs_to_who_asks_for_it_first():
    sessions = Sessions()
    limits = RequestLimits(_app, sessions=sessions)
    ann, bob = Visitor("guest", "ann", "1.1.1.1"), Visitor("guest", "bob", "1.1.1.1")
    assert once(limits, "GET", "/streams/abc", ann)[0] == 200
    assert once(limits, "GET", "/streams/abc", ann)[0] == 200
    assert once(limits, "GET", "/sub/streams/abc", bob)[0] == 403
    assert once(limits, "HEAD", "/streams/abc", bob)[0] == 403


@pytest.mark.parametrize(
    ("accepted", "said"),
    [("zh-TW,zh;q=0.9,en;q=0.8", "其他網站"), ("en-US,zh-TW;q=0.5", "another site"), ("zh-CN", "another site")],
)
def test_a_refusal_is_in_the_browsers_language(accepted, said):
    assert said in answer(host="localhost:7860", origin="http://evil.example", accept_language=accepted)[2]
