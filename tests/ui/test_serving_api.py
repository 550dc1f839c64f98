"""Served models in the whole app: owners' endpoints, the openai client, curl as the page prints it, guests."""

import json
import os
import shutil
import subprocess
import sys

import httpx
import pytest
from gradio_client import Client

from llmdemo.serving.examples import examples
from llmdemo.settings import Settings
from llmdemo.ui.app import build, launch_options
from llmdemo.ui.services import make_services


@pytest.fixture(scope="module")
def owner(server) -> Client:
    return Client(server, verbose=False)


@pytest.fixture(scope="module")
def key(owner, services) -> str:
    owner.predict("starter", "mine", "top_p0.9", api_name="/serve_model")
    services.serving.join()
    return owner.predict("laptop", [], None, False, api_name="/create_key")["key"]


@pytest.fixture
def client(server, key):
    import openai  # 2 s of every process of the tests, where it stands above

    return openai.OpenAI(base_url=f"{server.rstrip('/')}/v1", api_key=key, max_retries=0)


ASK = [{"role": "user", "content": "Name three fruits."}]


@pytest.mark.slow
def test_the_openai_client_lists_asks_and_streams(client, services):
    assert [model.id for model in client.models.list()] == ["mine"]
    whole = client.chat.completions.create(
        model="mine", messages=ASK, max_tokens=10, seed=5, logprobs=True, top_logprobs=3
    )
    choice = whole.choices[0]
    assert choice.message.content and len(choice.logprobs.content[0].top_logprobs) == 3
    assert whole.usage.completion_tokens == 10
    stream = client.chat.completions.create(
        model="mine", messages=ASK, max_tokens=10, seed=5, stream=True, stream_options={"include_usage": True}
    )
    parts = list(stream)
    said = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert said == choice.message.content and parts[-1].usage == whole.usage
    settings = {"lanes": [{"strategy": "top_p", "top_p": 0.9}], "max_new_tokens": 10, "seed": 5}
    *_, last = services.arena.get().compare("starter", "Name three fruits.", settings)
    assert last["lanes"]["top_p"]["text"] == said


def test_the_openai_client_completes_text_and_names_a_strategy_in_its_extra_body(client):
    done = client.completions.create(model="mine:greedy", prompt="The quick brown", max_tokens=8, logprobs=1)
    assert done.choices[0].text and len(done.choices[0].logprobs.tokens) == len(done.choices[0].logprobs.token_logprobs)
    lane = {"lane": {"strategy": "beam", "num_beams": 3}}
    beams = client.chat.completions.create(model="mine", messages=ASK, max_tokens=6, n=3, extra_body=lane)
    assert len({choice.message.content for choice in beams.choices}) == 3


def test_the_openai_client_raises_its_own_errors(client, server, owner):
    import openai

    with pytest.raises(openai.NotFoundError, match="opens no model"):
        client.chat.completions.create(model="other", messages=ASK)
    with pytest.raises(openai.BadRequestError, match="at most 16"):
        client.chat.completions.create(model="mine", messages=ASK, n=1000)
    with pytest.raises(openai.AuthenticationError, match="wrong"):
        client.with_options(api_key="sk-nonsense").models.list()
    told = owner.predict("old", [], None, False, api_name="/create_key")
    owner.predict(told["key_id"], api_name="/revoke_key")
    with pytest.raises(openai.AuthenticationError, match="revoked"):
        client.with_options(api_key=told["key"]).models.list()


@pytest.mark.parametrize("how", ["curl", "python"])
@pytest.mark.slow
def test_the_commands_that_the_page_shows_run_as_they_are(how, server, key, services):
    served = services.serving.registry.all()["mine"]
    command = examples(served, server.rstrip("/"), False)[how]
    argv = ["bash", "-c", command] if how == "curl" else [sys.executable, "-c", command]
    done = subprocess.run(argv, env={**os.environ, "OPENAI_API_KEY": key}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    if how == "curl":  # the random model may say nothing at all
        choice = json.loads(done.stdout)["choices"][0]
        assert choice["finish_reason"] in ("stop", "length") and isinstance(choice["message"]["content"], str)
    else:
        assert done.stdout.endswith("\n")


def test_a_body_that_is_too_large_or_not_of_this_site_is_refused_in_openais_shape(server, key):
    url, headers = f"{server}v1/chat/completions", {"authorization": f"Bearer {key}"}
    large = httpx.post(url, headers={**headers, "content-type": "application/json"}, content=b" " * (2**20 + 1))
    assert large.status_code == 413 and "1,048,576 bytes" in large.json()["error"]["message"]
    foreign = httpx.post(url, headers={**headers, "origin": "http://evil.example"}, json={})
    assert foreign.status_code == 403 and foreign.json()["error"]["message"]


def test_a_schema_that_looks_like_a_file_is_no_attack(server, key):
    """What Gradio would download never reaches Gradio from here."""
    form = {"type": "json_schema", "json_schema": {"path": "http://x.example/a", "meta": {"_type": "gradio.FileData"}}}
    body = {"model": "mine", "messages": ASK, "response_format": form}
    answer = httpx.post(f"{server}v1/chat/completions", headers={"authorization": f"Bearer {key}"}, json=body)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_value"


def test_nothing_is_served_until_an_owner_says_so_and_guests_get_nothing(tmp_path, tiny_model_folder):
    from llmdemo.access.people import Access

    home = tmp_path / "home"
    shutil.copytree(tiny_model_folder, home / "models" / "starter")
    made = make_services(Settings(home=home, min_free_bytes=0), access=Access("guests"))
    page = build(made)
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(made))
    try:
        answer = httpx.get(f"{url}v1/models")
        assert answer.status_code == 401 and "owner" in answer.json()["error"]["message"]
        guest = Client(url, verbose=False)
        for name, arguments in (
            ("/serve_model", ("starter", "x", "greedy")),
            ("/create_key", ("x", [], None, False)),
            ("/revoke_key", ("x",)),
            ("/unserve_model", ("x",)),
            ("/list_served", ()),
        ):
            with pytest.raises(Exception, match="shared without a password|open votes only"):
                guest.predict(*arguments, api_name=name)
        assert made.serving.overview() == {"served": [], "keys": []}
    finally:
        page.close(verbose=False)
        made.runs.close()
