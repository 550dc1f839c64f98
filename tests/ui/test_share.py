"""A share link that cannot be made is said at once, in one sentence."""

import socket
import threading
import time

import pytest

from llmdemo.ui import launch


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setattr(launch, "getproxies", dict)


def test_a_server_that_refuses_is_named(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GRADIO_SHARE_SERVER_ADDRESS", f"127.0.0.1:{probe.getsockname()[1]}")
        said = launch.why_no_link()
    assert "127.0.0.1" in said and "refused" in said


def test_a_server_that_never_answers_is_not_waited_for_long(monkeypatch):
    over = threading.Event()

    def wait_for_answer(*_, **__):
        over.wait(60)
        raise TimeoutError

    monkeypatch.setattr(launch.socket, "create_connection", wait_for_answer)
    begun = time.monotonic()
    assert "no answer within" in launch.why_no_link(seconds=0.2)
    assert time.monotonic() - begun < 2
    over.set()


def test_a_server_that_answers_is_no_reason(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("GRADIO_SHARE_SERVER_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        assert launch.why_no_link() == ""


def test_the_proxy_is_asked_where_there_is_one(monkeypatch):
    monkeypatch.setattr(launch, "getproxies", lambda: {"https": "http://proxy.example:3128"})
    monkeypatch.setattr(launch, "proxy_bypass", lambda host: False)
    assert launch._share_server() == ("proxy.example", 3128)


def test_without_a_link_the_app_goes_on_for_this_computer_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(launch, "why_no_link", lambda: "No share link can be made: …")
    assert launch._can_share() is False
    assert "goes on without" in capsys.readouterr().err
