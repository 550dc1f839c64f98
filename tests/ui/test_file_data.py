"""The server asks no other host for anybody: hundreds of disguised file values, and a host that counts.

Two layers hold it off, and each must do so alone. What Gradio by itself would do is shown as well, so that a host that
counts nothing means something.
"""

import gradio as gr
import httpx
import pytest
import safehttpx

from llmdemo.ui import gradio_internals
from llmdemo.ui.app import build, launch_options
from tests.file_data import CountingHost, Maker

REQUESTS = 400


@pytest.fixture
def host(monkeypatch):
    """The counting host; Gradio's own check, which refuses private addresses, takes loopback for the world."""
    monkeypatch.setattr(safehttpx, "is_public_ip", lambda ip: True)
    counting = CountingHost()
    yield counting
    counting.close()


@pytest.fixture
def without_our_parts(monkeypatch):
    """Gradio's downloaders as Gradio made them."""
    for part, original in zip(gradio_internals.PARTS, gradio_internals.ORIGINALS, strict=True):
        monkeypatch.setattr(part.owner, part.name, original)
    monkeypatch.setattr(gradio_internals, "install", lambda: None)


def send(url: str, host: CountingHost, page, seed: int = 0, requests: int = REQUESTS) -> list[int]:
    maker = Maker(seed, host.address, max(page.fns) + 1, list(page.blocks))
    statuses = []
    with httpx.Client(base_url=f"{url}gradio_api/", timeout=30) as client:
        for _ in range(requests):
            method, path, headers, body = maker.request()
            chunked = iter([body[:20], body[20:]]) if seed + len(body) % 2 else body
            statuses.append(client.request(method, path, headers=headers, content=chunked or None).status_code)
    return statuses


@pytest.mark.slow
def test_the_guard_alone_lets_no_request_make_the_server_ask(services, host, without_our_parts):
    page = build(services)
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(services))
    try:
        statuses = send(url, host, page)
    finally:
        page.close(verbose=False)
    assert host.asked == [] and len(statuses) == REQUESTS
    assert max(statuses) < 500 and statuses.count(403) > REQUESTS / 3


def echo_page() -> gr.Blocks:
    with gr.Blocks() as page:
        box = gr.JSON()
        box.change(lambda value: value, box, box, queue=False, api_name="compare")
    return page


def fetched(host: CountingHost) -> int:
    """What Gradio alone, without a guard, fetches of some direct calls."""
    page = echo_page()
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    try:
        for number in range(5):
            value = {"path": f"http://{host.address}/{number}", "meta": {"_type": "gradio.FileData"}}
            httpx.post(f"{url}gradio_api/run/compare", json={"data": [{"a": value}]})
            httpx.get(f"{url}gradio_api/file=http://{host.address}/file{number}")
    finally:
        page.close(verbose=False)
    return len(host.asked)


def test_gradio_alone_would_ask(host, without_our_parts):
    assert fetched(host) >= 5


@pytest.mark.slow
def test_gradio_with_our_parts_does_not_ask_though_nothing_guards_it(host):
    gradio_internals.install()
    assert fetched(host) == 0
