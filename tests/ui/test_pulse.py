"""Whatever one guest sends, another's pulse stays under two seconds: a real server, a hostile address, a peaceful one."""

import json
import threading
import time

import httpx
import pytest

from llmdemo.access.people import Access
from llmdemo.ui.app import build, launch_options
from llmdemo.ui.services import Services

MOST_SECONDS, ATTACKERS = 2.0, 6
SECONDS = 1.5
"""How long an attack lasts; a pulse that was asked for in this time is waited for to its end, however long that is."""
SESSION = {"session_hash": "SESSION", "fn_index": 0}
FILE = {"path": "http://127.0.0.1:9/x", "meta": {"_type": "gradio.FileData"}}
ATTACKS = {
    "nested": ("POST", "component_server", b"[" * 1_000_000),
    "nested pairs": ("POST", "queue/join", b'{"data":[' + b'{"a":[' * 90 + b"1" + b"]}" * 90 + b"]}"),
    "many values": ("POST", "queue/join", b'{"data":[' + b"[]," * 330_000 + b"1]}"),
    "as many as pass": ("POST", "queue/join", json.dumps({"data": [[{}] * 19_000], **SESSION}).encode()),
    "a long text": ("POST", "queue/join", json.dumps({"data": ["x" * 1_000_000], **SESSION}).encode()),
    "text of JSON": ("POST", "queue/join", json.dumps({"data": [json.dumps([[]] * 200_000)], **SESSION}).encode()),
    "files": ("POST", "call/compare", json.dumps({"data": [FILE] * 5000}).encode()),
    "pages": ("GET", "../config", b""),
    "unknown sessions": ("GET", "queue/data?session_hash=unknown", b""),
    "unread": ("POST", "call/compare", json.dumps({"data": ["starter", "Hello", {"max_new_tokens": 200}]}).encode()),
}


@pytest.fixture(scope="module")
def url(services):
    guests = Services(**{**services.__dict__, "guests_only": True, "access": Access("guests")})
    page = build(guests)
    _, url, _ = page.launch(server_name="0.0.0.0", prevent_thread_lock=True, **launch_options(guests))
    yield url.replace("localhost", "127.0.0.1")
    page.close(verbose=False)


def client(url: str, address: str) -> httpx.Client:
    return httpx.Client(base_url=f"{url}gradio_api/", transport=httpx.HTTPTransport(local_address=address), timeout=60)


def attack(url: str, address: str, number: int, end: float, method: str, path: str, body: bytes, statuses: set) -> None:
    with client(url, address) as hostile:
        while time.monotonic() < end:
            sent = body.replace(b"SESSION", b"s%d-%d" % (number, time.monotonic_ns()))
            try:
                answer = hostile.request(method, path, content=sent, headers={"content-type": "application/json"})
                statuses.add(answer.status_code)
            except httpx.TransportError:  # refused before it was all sent
                statuses.add(413)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", ATTACKS)
def test_another_guests_pulse_stays_under_two_seconds(name, url):
    place = 10 + list(ATTACKS).index(name)  # addresses of its own: the last attack's may be spent
    hostile_at, peaceful_at = f"127.0.1.{place}", f"127.0.2.{place}"
    end, statuses, waits = time.monotonic() + SECONDS, set(), []
    hostile = [
        threading.Thread(target=attack, args=(url, hostile_at, number, end, *ATTACKS[name], statuses))
        for number in range(ATTACKERS)
    ]
    for thread in hostile:
        thread.start()
    with client(url, peaceful_at) as peaceful:
        while time.monotonic() < end:
            begun = time.monotonic()
            assert peaceful.get("app_id").status_code == 200
            waits.append(time.monotonic() - begun)
            time.sleep(0.1)  # a page's pace, below the limit
    for thread in hostile:
        thread.join(60)
    assert statuses and max(statuses) < 500 or statuses <= {200, 429, 503}
    assert len(waits) > 1 and max(waits) < MOST_SECONDS, f"{max(waits):.1f} seconds"
