"""Hugging Face Spaces, emulated: their environment, their `spaces` package, nothing writable but the home folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from llmdemo.core.spaces import disk_lasts, on_space, on_zero_gpu
from llmdemo.runs.command import has_accelerator, worker_environment
from tests.waiting import free_port, until

ROOT = Path(__file__).resolve().parents[2]
FRONT = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---")[1])


def test_a_space_is_known_by_its_environment():
    assert on_space({"SPACE_ID": "lab/demo"}) and not on_space({})
    assert on_zero_gpu({"SPACES_ZERO_GPU": "true"}) and not on_zero_gpu({})


def test_the_disk_of_a_space_lasts_only_in_its_persistent_storage():
    space = {"SPACE_ID": "lab/demo"}
    assert disk_lasts(Path("/home/user"), {}) and disk_lasts(Path("/data/llmdemo"), space)
    assert not disk_lasts(Path("/home/user/.local"), space)


def test_on_zero_gpu_training_runs_on_the_cpu_in_a_process_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert not has_accelerator()
    env = worker_environment(tmp_path, {})
    assert env["ACCELERATE_USE_CPU"] == "true" and env["CUDA_VISIBLE_DEVICES"] == ""


def test_what_is_different_on_a_space_is_said_on_the_train_panel(monkeypatch, home):
    from types import SimpleNamespace

    from llmdemo.ui import words
    from llmdemo.ui.train_panel import _notes_of_the_place

    services = SimpleNamespace(home=home, runs=SimpleNamespace(remade=False))
    assert _notes_of_the_place(services) == []
    monkeypatch.setenv("SPACE_ID", "lab/demo")
    (disk,) = _notes_of_the_place(services)
    assert "not persistent" in words.say(disk["word"])
    for texts in map(words.texts, words.languages()):
        assert texts["train_bundle"] in texts[disk["word"]], "it names the button as it is called"
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert "processor" in words.say(_notes_of_the_place(services)[0]["word"])


def test_the_time_that_a_gpu_is_asked_for_comes_from_the_request():
    from llmdemo.arena.zero_gpu import seconds_needed
    from llmdemo.decoding import DecodeSettings

    few, many = (seconds_needed("f", "auto", [1] * 10, DecodeSettings(max_new_tokens=n)) for n in (16, 1024))
    assert 5 < few < 30 < many <= 120


def test_without_the_package_decoding_happens_right_here(tiny_model_folder, tiny_tokenizer):
    from llmdemo.arena import zero_gpu
    from llmdemo.decoding import DecodeSettings

    steps = list(zero_gpu.decode(tiny_model_folder, "auto", [1, 5, 9], DecodeSettings(max_new_tokens=3)))
    assert steps[-1].done
    zero_gpu._kept.clear()


class Quota(Exception):
    message = "You have exceeded your GPU quota"


def test_a_gpu_that_is_not_lent_is_a_sentence(monkeypatch, tiny_model_folder):
    from llmdemo.arena import zero_gpu
    from llmdemo.core.errors import UserError

    def none_left(*_):
        raise Quota
        yield

    monkeypatch.setattr(zero_gpu, "decode_on_gpu", none_left)
    with pytest.raises(UserError, match="quota"):
        list(zero_gpu.decode(tiny_model_folder, "auto", [1], None))


def test_the_versions_in_the_front_matter_are_ones_that_spaces_have():
    assert FRONT["python_version"] in ("3.10.13", "3.12", "3.12.12") and FRONT["sdk"] == "gradio"
    torch = SpecifierSet(
        re.search(r"^torch([^\n#]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[1].strip()
    )
    assert all(version in torch for version in ("2.8.0", "2.9.1", "2.10.0", "2.11.0")), "ZeroGPU has one of these"


@pytest.mark.slow
def test_the_arena_decodes_in_the_process_that_the_gpu_is_lent_to(tiny_model_folder, tmp_path):
    pytest.importorskip("spaces")
    shutil.copytree(tiny_model_folder, tmp_path / "home" / "models" / "starter")
    command = [sys.executable, str(Path(__file__).with_name("zero_gpu.py")), str(tmp_path / "home")]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    seen = json.loads(result.stdout.splitlines()[-1])
    assert seen["lent"] and seen["here"] == 0, "the model of the lanes is in the other process only"
    first, second = seen["lanes"]
    assert first.keys() == {"greedy", "top_k", "top_p", "beam"}
    assert all(first[name]["token_ids"] == second[name]["token_ids"] for name in ("greedy", "beam"))
    asked = [path for path, _ in seen["asked"]]
    assert asked.count("/schedule") >= 2 and asked.count("/release") >= 2
    assert all(int(query["durationSeconds"]) > 0 for path, query in seen["asked"] if path == "/schedule")


_ONLY_HOME = """
import os, sys
_allowed = tuple(os.environ["ONLY_HOME"].split(os.pathsep)) + ("/dev/", "/proc/")

def _watch(event, arguments):
    path = None
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        mode, flags = arguments[1] or "", arguments[2] or 0
        if any(mark in mode for mark in "wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            path = arguments[0]
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.symlink", "sqlite3.connect"):
        path = arguments[0]
    elif event in ("os.rename", "os.link"):
        path = arguments[1]
    if path is None:
        return
    path = os.path.abspath(os.fsdecode(path))
    if not path.startswith(_allowed):
        raise PermissionError(13, f"Read-only file system ({event})", path)

sys.addaudithook(_watch)
"""


@pytest.mark.slow
@pytest.mark.parametrize("oauth", [True, False])
def test_a_space_starts_on_an_empty_disk_with_nothing_writable_but_home(oauth, tiny_model_folder, tmp_path):
    user = tmp_path / "user"
    (user / "tmp").mkdir(parents=True)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_ONLY_HOME)
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "SSL_CERT_FILE")}
    env = {
        **kept,
        "HOME": str(user),
        "TMPDIR": str(user / "tmp"),
        "ONLY_HOME": str(user),
        "PYTHONPATH": str(tmp_path / "site"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "SYSTEM": "spaces",
        "SPACE_ID": "lab/demo",
        "SPACE_AUTHOR_NAME": "lab",
        "SPACE_HOST": "lab-demo.hf.space",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "HF_HUB_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
        "OMP_NUM_THREADS": "1",
    }
    if oauth:
        env |= {"OAUTH_CLIENT_ID": "id", "OAUTH_CLIENT_SECRET": "secret", "OAUTH_SCOPES": "openid profile"}
        env |= {"OPENID_PROVIDER_URL": "https://huggingface.co"}
    log = tmp_path / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"host": "lab-demo.hf.space"},
            timeout=20,
            follow_redirects=True,
        ) as web:
            page = _page(web, process, log)
            assert '"elem_id":"arena"' in page and '"elem_id":"train-form"' not in page
            policy = web.get("/").headers["content-security-policy"]
            assert "frame-ancestors" not in policy, "the hub shows the Space in a frame"
            origin = {"origin": "https://lab-demo.hf.space"}
            assert web.post("/gradio_api/call/list_models", json={"data": []}, headers=origin).status_code == 200
            evil = {"origin": "https://evil.example"}
            assert web.post("/gradio_api/call/list_models", json={"data": []}, headers=evil).status_code == 403
            forged = {"session": "eyJvYXV0aF9pbmZvIjoge319.x.y"}
            assert '"elem_id":"train-form"' not in web.get("/", headers={"cookie": f"session={forged['session']}"}).text
            if oauth:
                owner = web.get("/", headers={"cookie": f"session={_session('secret', 'lab')}"}).text
                assert '"elem_id":"train-form"' in owner
                other = web.get("/", headers={"cookie": f"session={_session('secret', 'eve')}"}).text
                wrong = web.get("/", headers={"cookie": f"session={_session('', 'lab')}"}).text
                assert '"elem_id":"train-form"' not in other + wrong
    finally:
        process.terminate()
        code = process.wait(20)
    said = log.read_text()
    said = said.split("Exception ignored in: <function BaseEventLoop.__del__")[
        0
    ]  # Gradio's reloader on Spaces, at exit
    assert code == 0 and "Traceback" not in said and "Read-only file system" not in said, said[-3000:]
    assert ("signs in with Hugging Face" if oauth else "offers the arena, lessons and open votes only") in said


def _page(web, process, log) -> str:
    def page() -> str:
        try:
            return web.get("/").text
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()[-3000:]
            return ""

    return until(page, pause=0.1)


def _session(secret: str, user: str) -> str:
    """The cookie that Gradio's OAuth sets on a Space with this client secret."""
    import base64
    import hashlib

    import itsdangerous

    info = {
        "userinfo": {"preferred_username": user, "name": user},
        "expires_at": time.time() + 600,
        "access_token": "x",
    }
    key = hashlib.sha256(f"{secret}-v4".encode()).hexdigest()
    data = base64.b64encode(json.dumps({"oauth_info": info}).encode())
    return itsdangerous.TimestampSigner(key).sign(data).decode()
