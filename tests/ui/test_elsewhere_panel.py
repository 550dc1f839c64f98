"""What the script and the endpoints of runs on other machines get. What they do is tested in tests/elsewhere."""

import socket

import pytest
from gradio_client import Client

from llmdemo.ui import elsewhere_panel
from llmdemo.ui.samples import SAMPLE_ID, add_sample

SMALL = {"rank": 8, "max_steps": 2, "max_length": 64, "batch_size": 2}


@pytest.fixture
def functions(services, monkeypatch):
    """The island's functions by name."""
    made = {}
    monkeypatch.setattr(
        elsewhere_panel.bridge, "island", lambda name, given, **options: made.update({f.__name__: f for f in given})
    )
    elsewhere_panel.build(services)
    return made


def test_the_forms_settings_become_commands_and_a_runs_own_do_too(functions, services):
    asked = {"machines": 2, "processes": 1}
    told = functions["elsewhere_machines"]({"config": {**SMALL, "dataset_id": SAMPLE_ID}, **asked})
    assert told["text"].count("accelerate launch") == 2 and '"num_processes": 2' in told["text"]
    assert f"{services.home.runs / told['run_id']}" in told["text"] and services.runs.list() == []


def test_without_a_network_or_a_token_the_page_gets_a_sentence(functions, services, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    ask = elsewhere_panel.bridge.guarded(functions["elsewhere_hardware"])
    assert "127.0.0.1" in str(ask({"token": "hf_goodgoodgoodgood"})["error"]["message"])
    assert "access token" in str(ask({})["error"]["message"])
    assert functions["elsewhere_list"]({}) == {"jobs": [], "given": False}


def test_the_endpoints_speak(server, services):
    client = Client(server, verbose=False)
    dataset_id = add_sample(services).dataset_id
    told = client.predict({**SMALL, "dataset_id": dataset_id}, 2, 4, api_name="/run_on_machines")
    assert told["text"].count("--num_processes 8") == 2
    assert client.predict(api_name="/list_elsewhere") == []
