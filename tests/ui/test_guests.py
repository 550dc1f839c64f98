"""An app that is shared without a password: visitors get the arena, and nothing that changes or shows the rest."""

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from llmdemo.access.people import Access
from llmdemo.ui.app import build, launch_options
from llmdemo.ui.services import Services


@pytest.fixture(scope="module")
def guests(services) -> Services:
    return Services(**{**services.__dict__, "guests_only": True, "access": Access("guests")})


@pytest.fixture(scope="module")
def guest_server(guests):
    page = build(guests)
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(guests))
    yield url
    page.close(verbose=False)


@pytest.fixture(scope="module")
def client(guest_server):
    client = Client(guest_server, verbose=False)
    yield client
    client.close()


def test_the_page_has_the_arena_only(guest_server):
    components = httpx.get(f"{guest_server}config").json()["components"]
    ids = {component["props"].get("elem_id") for component in components}
    assert "arena" in ids
    assert not ids & {"data-report", "data-file", "train-form", "train-run"}


REFUSED = {
    "/list_datasets": {},
    "/delete_dataset": {"dataset_id": "data-x"},
    "/rename_dataset": {"dataset_id": "data-x", "name": "y"},
    "/start_run": {"config": {"dataset_id": "data-x"}},
    "/run_status": {"run_id": "run-x"},
    "/list_runs": {},
    "/stop_run": {"run_id": "run-x"},
    "/resume_run": {"run_id": "run-x"},
    "/clone_run": {"run_id": "run-x"},
    "/rename_run": {"run_id": "run-x", "name": "mine"},
    "/compare_runs": {"run_ids": ["run-x"]},
    "/delete_run": {"run_id": "run-x"},
    "/add_dataset": {"file": None, "name": "x"},
}


@pytest.mark.parametrize("endpoint", REFUSED)
def test_what_is_the_owners_is_refused_with_the_reason(client, endpoint):
    with pytest.raises(AppError, match="without a password"):
        client.predict(api_name=endpoint, **REFUSED[endpoint])


def test_visitors_may_compare_and_list_models(client):
    assert client.predict(api_name="/list_models")[0]["id"] == "starter"
    assert client.predict("starter", "Hello", {"max_new_tokens": 2}, api_name="/compare")["lanes"]


def test_visitors_cannot_upload(guest_server):
    answer = httpx.post(f"{guest_server}gradio_api/upload", files={"files": ("a.json", b"[]")})
    assert answer.status_code == 403


def test_an_islands_function_that_is_the_owners_is_refused_over_http(guests, guest_server):
    """As a script of a visitor would call it, past the page."""
    arena = next(
        c for c in httpx.get(f"{guest_server}config").json()["components"] if c["props"].get("elem_id") == "arena"
    )
    asked = {"session_hash": "abc", "component_id": arena["id"], "fn_name": "prefer", "data": {}}
    told = httpx.post(f"{guest_server}gradio_api/component_server", json=asked).json()
    assert told["error"]["message"]["$say"] == "err_not_owner_guests"
    assert (
        "models" in httpx.post(f"{guest_server}gradio_api/component_server", json={**asked, "fn_name": "models"}).text
    )
