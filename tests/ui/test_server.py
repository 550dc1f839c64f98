"""The server before Gradio: names, headers that anybody may write, other origins, connections, slow senders and readers."""

import asyncio
import contextlib
import functools
import logging
import socket
import threading
import time

import gradio as gr
import httpx
import pytest

from llmdemo.access.hosts import KnownHosts
from llmdemo.settings import Settings
from llmdemo.ui import gradio_internals, server
from llmdemo.ui.bounded_log import LINES_A_MINUTE, BoundedLog
from llmdemo.ui.server import Gate, in_time, limited_protocol


def through(hosts=None, method="POST", path="/x", share=None, query=b"", **headers):
    """(status, answer's headers, the headers that the app gets) of a request."""
    sent, seen = [], {}

    async def app(scope, receive, send):
        seen.update(scope["headers"])
        allow = [
            (b"access-control-allow-origin", b"*"),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"x"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": allow})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": raw}
    scope["server"] = ("127.0.0.1", 7860)
    asyncio.run(Gate(app, hosts or KnownHosts(), lambda: share)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), seen


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
def test_a_name_that_nobody_gave_is_refused_on_every_method(method):
    assert through(method=method, host="evil.example", origin="http://evil.example")[0] == 400
    assert through(method=method, host="evil.example", cookie="llmdemo-session=x")[0] == 400
    assert through(method=method)[0] == 400  # no Host at all
    assert through(method=method, host="127.0.0.1:7860")[0] == 200


def test_a_share_links_name_is_known_once_there_is_one():
    assert through(host="abc.gradio.live")[0] == 400
    assert through(host="abc.gradio.live", share="https://abc.gradio.live")[0] == 200


FORWARDED = {
    **{"x_forwarded_for": "1.2.3.4", "x_forwarded_host": "evil.example", "x_forwarded_proto": "https"},
    **{"forwarded": "for=1.2.3.4", "x_real_ip": "1.2.3.4", "x_gradio_server": "http://evil.example"},
}


def test_what_a_proxy_would_say_is_not_believed_without_one():
    _, _, seen = through(host="127.0.0.1", **FORWARDED)
    assert set(seen) == {b"host"}
    _, _, seen = through(KnownHosts(any_name=True, proxied=True), host="app", **FORWARDED)
    assert len(seen) == 7


def test_a_share_links_tunnel_may_say_https():
    _, _, seen = through(host="a.gradio.live", share="https://a.gradio.live", **FORWARDED)
    assert seen[b"x-forwarded-proto"] == b"https" and b"x-forwarded-host" not in seen


@pytest.mark.parametrize("path", ["/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/call/v2/compare"])
def test_what_is_kept_for_later_visitors_holds_no_unknown_name(path):
    proxied = KnownHosts(any_name=True, proxied=True)
    for headers in ({"host": "evil.example"}, {"host": "app", "x_forwarded_host": "evil.example"}):
        _, _, seen = through(proxied, path=path, **headers)
        assert seen[b"host"] == b"127.0.0.1:7860" and b"evil.example" not in seen.values()
    named = KnownHosts(["demo.example"], proxied=True)
    assert (
        through(named, path=path, host="app", x_forwarded_host="demo.example")[2][b"x-forwarded-host"]
        == b"demo.example"
    )


def test_no_other_origin_gets_leave_to_read():
    for origin in ("http://evil.example", "null", "http://[::1", "http://192.168.1.5:9"):
        status, headers, _ = through(method="GET", host="192.168.1.5:7860", origin=origin)
        assert status == 200 and set(headers) == {b"vary"}
        assert through(method="OPTIONS", host="192.168.1.5:7860", origin=origin)[0] == 403
    assert len(through(method="GET", host="192.168.1.5:7860", origin="http://192.168.1.5:7860")[1]) == 3


def test_who_does_not_read_is_given_up():
    async def stuck(message):
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(in_time(stuck, seconds=0.05)({"type": "http.response.body"}))


@pytest.fixture(scope="module")
def small():
    """A live page that takes 8 connections, 5 of one address, and waits half a second for a head."""
    with gr.Blocks() as page:
        gr.Textbox()
    settings = Settings(home=None, max_connections=8, connections_of_address=5)

    def config(app, **options):
        made = server.config(app, settings=settings, hosts=KnownHosts(), **options)
        made.http = limited_protocol(settings.max_connections, settings.connections_of_address, head_seconds=0.5)
        return made

    gradio_internals.install()
    page.uvicorn_config = config
    _, url, _ = page.launch(server_name="0.0.0.0", prevent_thread_lock=True, quiet=True)
    yield int(url.strip("/").rpartition(":")[2])
    page.close(verbose=False)


@contextlib.contextmanager
def idle(port: int, address: str, count: int):
    """Connections from that address of this computer that ask for a heartbeat and then keep still."""
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(count):
            one = socket.create_connection(("127.0.0.1", port), 5, source_address=(address, 0))
            stack.callback(one.close)
            one.sendall(f"GET /gradio_api/heartbeat/{address}{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            opened.append(one)
        yield opened


def first_line(connection) -> str:
    connection.settimeout(5)
    return connection.recv(4096).decode().partition("\r\n")[0]


def test_one_address_cannot_take_all_connections_and_others_are_served(small):
    with idle(small, "127.0.0.2", 30) as many:
        lines = [first_line(one) for one in many]
        assert [line.split(" ")[1] for line in lines] == ["200"] * 5 + ["503"] * 25
        begun = time.monotonic()
        assert httpx.get(f"http://127.0.0.1:{small}/config").status_code == 200
        assert time.monotonic() - begun < 2
        with idle(small, "127.0.0.3", 5) as more:  # all together are bounded too
            assert [first_line(one).split(" ")[1] for one in more].count("503") >= 2
    end = time.monotonic() + 10
    while True:  # what was closed is free again
        with idle(small, "127.0.0.2", 1) as again:
            if " 200 " in first_line(again[0]):
                return
        assert time.monotonic() < end


@pytest.mark.parametrize("whole", [b"", b"GET /robots.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@pytest.mark.parametrize("begins", [b"GET / HTTP/1.1\r\nHost: loc", b"G"])
def test_a_head_that_does_not_come_ends_the_connection(whole, begins, small):
    with socket.create_connection(("127.0.0.1", small), 5, source_address=("127.0.0.4", 0)) as slow:
        if whole:
            slow.sendall(whole)
            assert slow.recv(65536)
        slow.sendall(begins)
        begun = time.monotonic()
        while slow.recv(65536):
            pass
        assert time.monotonic() - begun < 3


def test_a_connection_that_says_nothing_is_ended(small):
    with socket.create_connection(("127.0.0.1", small), 5, source_address=("127.0.0.4", 0)) as silent:
        assert silent.recv(10) == b""


def test_a_logger_says_so_much_a_minute_and_no_more():
    import logging

    records = [logging.LogRecord("test.bounded", logging.ERROR, "", 0, "x", (), None) for _ in range(100)]
    assert sum(BoundedLog().filter(record) for record in records) == LINES_A_MINUTE


def test_the_real_server_believes_no_forwarded_header_and_hands_none_on(services):
    from llmdemo.ui.app import build, launch_options

    page = build(services)
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(services))
    try:
        evil = {"x-forwarded-host": "evil.example", "x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"}
        for path in ("gradio_api/info", "config", "gradio_api/openapi.json"):
            assert "evil.example" not in httpx.get(url + path, headers=evil).text
            assert "evil.example" not in httpx.get(url + path).text
        preflight = {"origin": "http://evil.example", "access-control-request-method": "POST"}
        assert httpx.options(f"{url}config", headers=preflight).status_code == 403
        foreign = httpx.get(f"{url}config", headers={"origin": "http://evil.example"})
        assert not [name for name in foreign.headers if name.startswith("access-control")]
        assert (
            httpx.post(
                f"{url}gradio_api/call/list_runs", json={"data": []}, headers={"origin": "http://[::1"}
            ).status_code
            == 403
        )
    finally:
        page.close(verbose=False)


def test_an_answer_on_its_way_holds_up_the_end_for_a_second_and_is_no_traceback():
    """Gradio's stream goes on after it has told that the server stops, and its server waits five seconds for it."""
    begun, go_on, records = threading.Event(), threading.Event(), []

    def wait():
        begun.set()
        go_on.wait(20)

    with gr.Blocks() as page:
        gr.Button().click(wait, api_name="wait")
    page.uvicorn_config = functools.partial(server.config, settings=Settings(home=None), hosts=KnownHosts())
    gradio_internals.install()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True)
    logger, handler = logging.getLogger("uvicorn.error"), logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    try:
        event_id = httpx.post(f"{url}gradio_api/call/wait", json={"data": []}).json()["event_id"]
        with httpx.stream("GET", f"{url}gradio_api/call/wait/{event_id}"):
            assert begun.wait(10)
            ends = time.monotonic()
            page.close(verbose=False)
            assert time.monotonic() - ends < 4
    finally:
        go_on.set()
        logger.removeHandler(handler)
    assert not [record for record in records if record.levelno > logging.INFO]
