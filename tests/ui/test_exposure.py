"""What a stranger's request must not get: files, figures of the server, tracebacks, requests sent on their behalf."""

import errno
import json
import socket
import tracemalloc

import httpx
import pytest
from gradio.route_utils import GradioUploadFile

from llmdemo.ui import bridge
from llmdemo.ui.app import launch_options
from llmdemo.ui.services import ASSETS


@pytest.fixture
def web(server):
    with httpx.Client(base_url=server, timeout=30) as client:
        yield client


def files(home) -> list[str]:
    """Files of the home folder, of the program and of the computer."""
    (home.runs / "run-x").mkdir(exist_ok=True)
    (home.runs / "run-x" / "log.txt").write_text("secret")
    own = [
        home.database,
        home.root / "secret.key",
        home.runs / "run-x" / "log.txt",
        home.models / "starter" / "config.json",
    ]
    program = [ASSETS.parent / "app.py", ASSETS.parent / "llmdemo" / "settings.py", ASSETS / "sample-messages.json"]
    return [*map(str, own + program), "/etc/passwd", "/proc/self/environ", "app.py", "../../etc/passwd"]


def test_no_file_of_the_computer_is_served(web, services):
    for path in files(services.home):
        for asked in (path, "/" + path.lstrip("/").replace("/", "%2f"), f"{path}%00.png"):
            answer = web.get(f"gradio_api/file={asked}")
            assert answer.status_code in (403, 404), (asked, answer.status_code)
            assert answer.text != "secret" and "root:" not in answer.text


@pytest.mark.parametrize("path", ["/etc/passwd", str(ASSETS.parent / "app.py")])
def test_a_file_that_is_named_in_a_call_is_not_read(path, web):
    """A script may claim that a file of this computer is its upload."""
    body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "x"]}
    answer = web.post("gradio_api/call/add_dataset", json=body)
    if answer.status_code == 200:
        with web.stream("GET", f"gradio_api/call/add_dataset/{answer.json()['event_id']}") as stream:
            said = "".join(stream.iter_text())
        assert "event: error" in said and "root:" not in said and "Traceback" not in said
    else:
        assert answer.status_code in (400, 403)


def test_a_links_address_in_a_call_is_not_fetched(web, monkeypatch):
    """The server must not be made to ask another host."""
    asked = []
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: (asked.append(to), connect(self, to))[1])
    for path in ("http://192.0.2.1/x.json", "https://other.example/x.json"):
        body = {"data": [{"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}, "x"]}
        answer = web.post("gradio_api/call/add_dataset", json=body)
        if answer.status_code == 200:
            web.get(f"gradio_api/call/add_dataset/{answer.json()['event_id']}")
        assert web.get(f"gradio_api/file={path}").status_code == 403
    foreign = [to for to in asked if isinstance(to, tuple) and to[0] not in ("127.0.0.1", "::1")]
    assert foreign == []


@pytest.mark.parametrize("path", ["monitoring", "monitoring/summary", "monitoring/x", "gradio_api/dev/reload"])
def test_what_happens_inside_is_not_shown(path, web):
    assert web.get(path, follow_redirects=False).status_code == 403


NONSENSE = [
    ("gradio_api/component_server", {"data": {}, "component_id": 99_999, "session_hash": "s", "fn_name": "models"}),
    ("gradio_api/component_server", {"data": {}, "component_id": "x", "session_hash": [], "fn_name": "__init__"}),
    ("gradio_api/component_server", {}),
    ("gradio_api/queue/join", {"data": [], "fn_index": 10_000, "session_hash": "s"}),
    ("gradio_api/queue/join", {"data": "x", "fn_index": None}),
    ("gradio_api/call/nothing", {"data": []}),
    ("gradio_api/call/v2/nothing", {"data": []}),
    ("gradio_api/call/v2/run_status", {"nonsense": 1}),
    ("gradio_api/run/nothing", {"data": []}),
    ("gradio_api/api/run_status", {"data": []}),
    ("gradio_api/cancel", {"session_hash": "s", "fn_index": 99, "event_id": "x"}),
    ("gradio_api/stream/x", {"data": []}),
    ("gradio_api/upload", {"a": 1}),
]


@pytest.mark.parametrize(("path", "body"), NONSENSE)
def test_a_request_that_makes_no_sense_gets_no_traceback(path, body, web):
    for content in (json.dumps(body), "{", "[" * 100_000):
        answer = web.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code < 500, (path, content[:40], answer.text[:200])
        assert "Traceback" not in answer.text and "site-packages" not in answer.text


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "page.json"])
def test_markup_is_refused_by_what_it_holds(name, web):
    content = (
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
        if "svg" in name
        else b"<!DOCTYPE html><script>1</script>"
    )
    path = web.post("gradio_api/upload", files={"files": (name, content)}).json()[0]
    body = {"data": [{"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}, ""]}
    event = web.post("gradio_api/call/add_dataset", json=body).json()["event_id"]
    said = web.get(f"gradio_api/call/add_dataset/{event}").text
    assert "event: error" in said and "Traceback" not in said
    served = web.get(f"gradio_api/file={path}")
    if not name.endswith(".json"):  # what a browser would run is not shown by it
        assert served.status_code != 200 or "attachment" in served.headers["content-disposition"]


def test_a_file_over_the_limit_is_413_before_it_is_read(server, services):
    length = services.settings.max_upload_bytes + 2**21
    host, port = server.removeprefix("http://").strip("/").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())  # and not a byte of the body
        answer = b""
        while b"LLMDEMO_MAX_UPLOAD_BYTES" not in answer and (part := connection.recv(4096)):
            answer += part  # head and body can come apart
        answer = answer.decode()
    assert " 413 " in answer.splitlines()[0] and "LLMDEMO_MAX_UPLOAD_BYTES" in answer


@pytest.mark.parametrize("path", ["gradio_api/run/list_runs", "gradio_api/api/compare"])
def test_no_route_goes_past_the_queue(path, web):
    assert web.post(path, json={"data": ["starter", "Hello", {}]}).status_code == 404


def test_no_folder_is_opened_and_caches_are_emptied(services, server):
    options = launch_options(services)
    home, closed = services.home, set(options["blocked_paths"])
    assert options["allowed_paths"] == []
    assert closed >= {str(path) for path in (home.models, home.datasets, home.runs, home.database, home.tmp)}
    assert closed >= {str(path) for path in home.root.iterdir() if path != home.uploads}
    assert str(home.uploads) not in closed and str(home.root) not in closed  # else no upload could be used
    assert options["enable_monitoring"] is False and options["run_history"] is False
    from llmdemo.ui.app import build

    assert build(services).delete_cache == (3600, 86400)


@pytest.mark.slow
def test_the_state_that_gradio_keeps_of_visitors_is_bounded(services):
    from gradio.state_holder import SessionState

    from llmdemo.ui.app import build

    page, kept = build(services), launch_options(services)["state_session_capacity"]
    SessionState(page)
    tracemalloc.start()
    try:
        states = [SessionState(page) for _ in range(10)]
        one = tracemalloc.get_traced_memory()[0] / len(states)
    finally:
        tracemalloc.stop()
    assert kept * one < 256 * 2**20, f"{kept} pages of {one / 1024:.0f} KiB"


def test_a_full_disk_at_an_upload_is_a_sentence_and_goes_on_once_there_is_room(server, services, monkeypatch):
    monkeypatch.setattr(GradioUploadFile, "write", _no_room)
    with httpx.Client(base_url=server, timeout=30) as client:
        refused = client.post("gradio_api/upload", files={"files": ("a.json", b"[1]" * 1000)})
        assert refused.status_code == 507 and "This computer's disk is full" in refused.json()["detail"]
        monkeypatch.undo()
        taken = client.post("gradio_api/upload", files={"files": ("a.json", b"[1]" * 1000)})
    assert taken.status_code == 200 and taken.json()[0].endswith("a.json")


async def _no_room(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_in_a_handler_is_a_sentence_too(capsys):
    def handler(_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    assert "This computer's disk is full" in bridge.guarded(handler)({})["error"]["message"]["text"]
    assert not capsys.readouterr().err
