"""The command line: flags, sentences when it cannot start, and how soon the page is up."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

import app
from llmdemo.access.passwords import verify_password
from llmdemo.core.errors import UserError
from llmdemo.ui import launch
from tests.waiting import free_port, page_of

ROOT = Path(app.__file__).parent


def test_the_flags_have_the_contracts_defaults(monkeypatch):
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    flags = app.arguments([])
    assert (flags.host, flags.port, flags.share, flags.auth) == ("127.0.0.1", 7860, False, [])


def test_the_flags_are_taken():
    flags = app.arguments(["--host", "0.0.0.0", "--port", "80", "--share", "--auth", "ann:pass:word"])
    assert (flags.host, flags.port, flags.share) == ("0.0.0.0", 80, True)
    (hashed,) = launch.parse_accounts(flags.auth).values()
    assert verify_password("pass:word", hashed)


def test_a_host_such_as_spaces_says_where_the_page_has_to_be(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "8080")
    flags = app.arguments([])
    assert (flags.host, flags.port) == ("0.0.0.0", 8080)


def test_the_page_counts_as_public_on_a_link_another_address_or_a_space():
    assert not launch.is_public("127.0.0.1", False, {})
    assert launch.is_public("127.0.0.1", True, {})
    assert launch.is_public("0.0.0.0", False, {})
    assert launch.is_public("127.0.0.1", False, {"SPACE_ID": "ann/demo"})


@pytest.mark.parametrize("text", ["", "ann", "ann:", ":word"])
def test_auth_without_a_name_or_a_password_is_refused(text):
    with pytest.raises(UserError, match="USER:PASSWORD"):
        launch.parse_accounts([text])


def test_a_taken_port_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLMDEMO_HOME", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert str(port) in said and "--port" in said and "Traceback" not in said


def test_a_wrong_setting_in_the_environment_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLMDEMO_HOME", str(tmp_path))
    monkeypatch.setenv("LLMDEMO_MAX_ROWS", "many")
    assert app.main(["--port", str(free_port())]) == 2
    assert "LLMDEMO_MAX_ROWS" in capsys.readouterr().err


def test_a_home_folder_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LLMDEMO_HOME", str(tmp_path / "file" / "home"))
    assert app.main(["--port", str(free_port())]) == 2
    assert "LLMDEMO_HOME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("box.lan", False)]
)
def test_only_loopback_counts_as_this_computer(host, local):
    assert launch.is_local(host) is local


@pytest.mark.slow
def test_the_page_is_up_in_under_ten_seconds_and_the_app_ends_at_once_though_a_page_is_open(tmp_path):
    port = free_port()
    env = {
        **os.environ,
        "LLMDEMO_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
        "PYTHONUNBUFFERED": "1",
    }
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)], cwd=ROOT, env=env, stdout=subprocess.DEVNULL
    )
    try:
        page = page_of(f"http://127.0.0.1:{port}/", process)
        # On a quiet machine this is the time that a person waits; on a busy one it does not count the others' work.
        seconds = min(time.monotonic() - begun, sum(psutil.Process(process.pid).cpu_times()[:2]))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/streams/page", timeout=20) as stream:
            assert stream.readline()
            ends = time.monotonic()
            process.terminate()
            process.wait(20)
            ends = time.monotonic() - ends
    finally:
        process.terminate()
        process.wait(20)
    assert "gradio" in page
    assert seconds < 10
    assert ends < 5, "Gradio gives its server five seconds and then five more"
    assert process.returncode == 0, "SIGTERM ends the app in order"
