"""Uploads are kept in the app's home, whoever else uses this machine's temporary folder; a slow start is tried again."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from llmdemo.core.errors import UserError
from llmdemo.ui.launch import UPLOADS_SECONDS, _greet, keep_uploads_at_home, launched
from tests.waiting import free_port


def test_who_opens_the_app_to_the_network_is_told_the_address_for_other_devices(monkeypatch, capsys):
    monkeypatch.setattr("llmdemo.ui.launch.own_address", lambda: "10.1.2.3")
    _greet("accounts", "0.0.0.0", 7860, "http://localhost:7860/", None, share=False)
    assert "On other devices of this network: http://10.1.2.3:7860/\n" in capsys.readouterr().out
    for policy, host in (("open", "127.0.0.1"), ("space", "0.0.0.0")):
        _greet(policy, host, 7860, "http://localhost:7860/", None, share=False)
        assert "10.1.2.3" not in capsys.readouterr().out


@pytest.mark.slow
def test_gradio_is_told_the_homes_folder_before_it_is_imported(home):
    script = (
        "import os, sys, pathlib\n"
        "from llmdemo.core.store import Home\n"
        "from llmdemo.ui.launch import keep_uploads_at_home\n"
        "assert 'gradio' not in sys.modules\n"
        "keep_uploads_at_home(Home(pathlib.Path(sys.argv[1])))\n"
        "from gradio import route_utils, utils\n"
        "print(utils.get_upload_folder(), route_utils.DEFAULT_TEMP_DIR)\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    command = [sys.executable, "-c", script, str(home.root)]
    told = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
    assert told.stdout.split() == [str(home.uploads)] * 2


def test_what_is_older_than_a_day_goes_at_the_start_and_the_rest_stays(home):
    old, new, file = (home.uploads / name for name in ("old", "new", "old.json"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "a.json").write_text("[]")
    file.write_text("[]")
    long_ago = time.time() - UPLOADS_SECONDS - 60
    for path in (old, file):
        os.utime(path, (long_ago, long_ago))
    env: dict = {}
    keep_uploads_at_home(home, env)
    assert env == {"GRADIO_TEMP_DIR": str(home.uploads)}
    assert [path.name for path in home.uploads.iterdir()] == ["new"] and (new / "a.json").is_file()


def test_a_folder_that_who_starts_the_app_has_chosen_is_left_alone(home, tmp_path):
    chosen = tmp_path / "elsewhere"
    chosen.mkdir()
    (chosen / "another app's").write_text("x")
    os.utime(chosen / "another app's", (0, 0))
    env = {"GRADIO_TEMP_DIR": str(chosen)}
    keep_uploads_at_home(home, env)
    assert env["GRADIO_TEMP_DIR"] == str(chosen) and len(list(chosen.iterdir())) == 1


def page_of(port):
    """A page that Gradio serves on `port`, and how it is launched."""
    import gradio as gr

    with gr.Blocks() as page:
        gr.Markdown("x")
    return page, {"server_name": "127.0.0.1", "server_port": port, "quiet": True, "ssr_mode": False}


@pytest.fixture
def port():
    return free_port()


def test_a_server_that_answers_late_once_is_tried_again(port, monkeypatch, capsys):
    from gradio import networking

    asked, ask = [], networking.url_ok
    monkeypatch.setattr(networking, "url_ok", lambda url: asked.append(url) or (len(asked) > 1 and ask(url)))
    page, options = page_of(port)
    try:
        local, public = launched(page, **options)
        assert (local, public) == (f"http://127.0.0.1:{port}/", None) and len(asked) == 2
        assert urllib.request.urlopen(local, timeout=30).status == 200
        assert capsys.readouterr().err.count("trying once more") == 1
    finally:
        page.close(verbose=False)


def test_a_server_that_never_answers_is_one_sentence_and_frees_the_port(port, monkeypatch):
    from gradio import networking

    monkeypatch.setattr(networking, "url_ok", lambda url: False)
    page, options = page_of(port)
    with pytest.raises(UserError, match=f"was not ready in time at 127.0.0.1:{port}") as late:
        launched(page, **options)
    assert "busy" in late.value.hint
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
