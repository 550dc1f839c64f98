"""Owners beside guests: who signs in gets the whole app, everybody else the arena, page and API alike."""

import json
from dataclasses import replace

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from starlette.testclient import TestClient

from llmdemo.access.people import Access
from llmdemo.ui import authentication, rights
from llmdemo.ui.app import _server, build, launch_options
from llmdemo.ui.services import Services
from tests.conftest import quick_hash
from tests.ui.test_rights import GUESTS_MAY

ACCOUNTS = {"ann": quick_hash("right"), "bob": quick_hash("other")}


@pytest.fixture(scope="module")
def shared(services):
    settings = replace(services.settings, max_requests_per_minute=10_000)  # one guest tries every handler below
    return Services(**{**services.__dict__, "access": Access("accounts", ACCOUNTS), "settings": settings})


@pytest.fixture(scope="module")
def page(shared):
    return build(shared)


@pytest.fixture(scope="module")
def url(shared, page):
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(shared))
    yield url
    page.close(verbose=False)


@pytest.fixture
def owner(url):
    with httpx.Client(base_url=url) as client:
        assert client.post("sign-in", data={"name": "ann", "password": "right"}).status_code == 303
        yield client


@pytest.fixture
def guest(url):
    with httpx.Client(base_url=url) as client:
        yield client


def parts(client) -> set:
    """The elem_ids of the page that this client gets."""
    text = client.get("", follow_redirects=True).text
    config = json.loads(text.split("window.gradio_config = ", 1)[1].split(";</script>", 1)[0])
    return {component["props"].get("elem_id") for component in config["components"]}


def call(client, name: str, *data) -> dict:
    """The last message of an endpoint's call, as the page makes it."""
    event = client.post(f"gradio_api/call/{name}", json={"data": list(data)})
    event.raise_for_status()
    with client.stream("GET", f"gradio_api/call/{name}/{event.json()['event_id']}", timeout=60) as answer:
        lines = [line for line in answer.iter_lines() if line]
    return {"event": lines[-2].removeprefix("event: "), "data": json.loads(lines[-1].removeprefix("data: "))}


def test_a_visitor_gets_the_arena_and_an_owner_everything(owner, guest):
    assert {"arena", "data-report", "train-form"} <= parts(owner)
    assert "arena" in parts(guest) and not parts(guest) & {"data-report", "data-file", "train-form", "train-run"}


def test_a_link_with_a_prompt_leads_a_visitor_to_the_same_prompt(guest):
    answer = guest.get("?arena=abc%26&x=1")
    assert answer.status_code == 302 and answer.headers["location"] == "./arena?arena=abc%26&x=1"


def test_an_owner_may_what_a_visitor_may_not(owner, guest):
    assert call(owner, "list_runs")["event"] == "complete"
    refused = call(guest, "list_runs")
    assert refused["event"] == "error" and "Sign in" in refused["data"]["error"]
    assert call(guest, "list_models")["event"] == "complete"


def test_a_script_signs_in_with_the_cookie_of_its_session(url, owner):
    cookies = dict(owner.cookies)
    client = Client(url, verbose=False, headers={"cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())})
    assert isinstance(client.predict(api_name="/list_runs"), list)
    client.close()
    client = Client(url, verbose=False)
    with pytest.raises(AppError, match="Only an owner"):
        client.predict(api_name="/list_runs")
    client.close()


@pytest.mark.parametrize(
    "login", [("ann", "wrong"), ("eve", "right"), ("", ""), ("ann", "x" * 9000), ("ann\0", "right")]
)
@pytest.mark.slow
def test_a_wrong_login_says_so_and_gives_no_session(login, shared):
    client = signing_in(shared)
    answer = client.post("/sign-in", data={"name": login[0], "password": login[1]})
    assert answer.status_code == 403 and "Wrong name or password" in answer.text
    assert not any("session" in name for name in client.cookies)


def sign_in(client, name, password="wrong", address="", times=1) -> list[int]:
    headers = {"x-forwarded-for": f"6.6.6.6, {address}"} if address else {}
    data = {"name": name, "password": password}
    return [
        client.post("/sign-in", data=data, headers=headers, follow_redirects=False).status_code for _ in range(times)
    ]


def test_after_ten_wrong_passwords_in_a_minute_that_account_has_a_pause_and_no_other(shared):
    client = signing_in(shared)
    assert sign_in(client, "ann", times=11) == [403] * 10 + [429]
    answer = client.post("/sign-in", data={"name": "ann", "password": "right"})
    assert answer.status_code == 429 and answer.headers["retry-after"]
    assert sign_in(client, "bob", "other") == [303]


def test_signing_in_does_not_count_against_anybody(shared):
    client = signing_in(shared)
    assert sign_in(client, "ann", "right", times=12) == [303] * 12
    assert sign_in(client, "ann", times=10) == [403] * 10


def test_a_flood_of_names_ends_at_the_addresses_own_bound(shared, monkeypatch):
    monkeypatch.setattr(authentication, "_MOST_FAILURES_OF_ADDRESS", 3)
    client = signing_in(shared)
    assert [sign_in(client, f"x{number}")[0] for number in range(4)] == [403, 403, 403, 429]


def test_behind_a_proxy_a_stranger_does_not_lock_the_owner_out(shared):
    client = signing_in(shared, behind_proxy=True)
    assert sign_in(client, "ann", address="1.1.1.1", times=11)[-1] == 429
    assert sign_in(client, "ann", "right", address="2.2.2.2") == [303]


@pytest.mark.parametrize(
    ("lines", "behind_proxy", "address"),
    [
        ([], True, "10.0.0.7"),
        (["1.1.1.1"], False, "10.0.0.7"),
        (["1.1.1.1"], True, "1.1.1.1"),
        (["6.6.6.6, 192.168.1.20"], True, "192.168.1.20"),
        (["6.6.6.6", "1.1.1.1"], True, "1.1.1.1"),
        (["6.6.6.6, nonsense"], True, "10.0.0.7"),
        (["2001:db8:1:2:3:4:5:6"], True, "2001:db8:1:2::/64"),
        (["::ffff:1.1.1.1"], True, "1.1.1.1"),
    ],
)
def test_an_address_is_what_the_proxy_added_last_and_without_one_the_peers(lines, behind_proxy, address):
    headers = [(b"x-forwarded-for", line.encode()) for line in lines]
    assert authentication._address({"client": ("10.0.0.7", 1), "headers": headers}, behind_proxy) == address


@pytest.mark.parametrize("behind_proxy", [0, 1])
def test_the_app_believes_a_proxy_only_where_the_setting_says_so(behind_proxy, shared):
    changed = replace(shared, settings=replace(shared.settings, behind_proxy=behind_proxy))
    options = next(
        one.kwargs for one in _server(changed)["middleware"] if one.cls is authentication.AuthenticationMiddleware
    )
    assert options["behind_proxy"] is bool(behind_proxy)


def test_who_signed_out_is_kept_in_the_home_folder(shared):
    def tickets():
        return next(
            one.kwargs for one in _server(shared)["middleware"] if one.cls is authentication.AuthenticationMiddleware
        )["tickets"]

    value = tickets().session("ann")
    tickets().sign_out(value)
    assert tickets().name(value) == ""


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(shared):
    client = signing_in(shared, "https://testserver")
    cookie = client.post("/sign-in", data={"name": "bob", "password": "other"}, follow_redirects=False).headers[
        "set-cookie"
    ]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" in cookie


def test_signing_out_ends_the_session_even_for_who_kept_the_cookie(url, owner):
    kept = dict(owner.cookies)
    owner.post("sign-out")
    with httpx.Client(base_url=url, cookies=kept) as thief:
        assert call(thief, "list_runs")["event"] == "error"


@pytest.mark.parametrize("forged", ["ann", "WyJhbm4iXQ.aaaa.bbbb", '["ann"]'])
def test_forged_cookies_gain_nothing(forged, url, owner):
    names = [name for name in owner.cookies if "session" in name]
    oauth = {"session": "eyJvYXV0aF9pbmZvIjp7InVzZXJpbmZvIjp7InByZWZlcnJlZF91c2VybmFtZSI6ImFubiJ9fX0.aaa.bbb"}
    for cookies in ({names[0]: forged}, oauth, {"access-token-x": forged}):
        with httpx.Client(base_url=url, cookies=cookies) as client:
            assert call(client, "list_runs")["event"] == "error"


@pytest.mark.slow
def test_every_private_handler_refuses_a_guest(page, guest):
    """By number, as the page's own script would call it: what is not marked for guests refuses before it begins."""
    joined = 0
    for number, function in page.fns.items():
        if function.fn is None or rights.right_of(function.fn) == rights.GUESTS:
            continue
        body = {"data": [None] * len(function.inputs), "fn_index": number, "session_hash": f"s{number}"}
        answer = guest.post("gradio_api/queue/join", json=body)
        if answer.status_code != 200:
            continue
        joined += 1
        with guest.stream("GET", "gradio_api/queue/data", params={"session_hash": f"s{number}"}, timeout=60) as stream:
            messages = [json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line]
        done = next(message for message in messages if message["msg"] == "process_completed")
        assert not done["success"] and "owner" in str(done["output"]), function.name
    assert joined > 15


def test_every_question_of_an_island_refuses_a_guest(page, guest):
    asked = 0
    islands = {number: block for number, block in page.blocks.items() if isinstance(block, gr.HTML)}
    for number, block in islands.items():
        for name in {name for name in dir(block) if getattr(getattr(block, name, None), "_is_server_fn", False)}:
            if name in GUESTS_MAY:
                continue
            body = {"data": {}, "component_id": number, "session_hash": "s", "fn_name": name}
            answer = guest.post("gradio_api/component_server", json=body)
            assert "Only an owner" in answer.json()["error"]["message"]["text"], name
            asked += 1
    assert asked > 20


def test_what_is_open_to_guests_is_what_is_meant_to_be(page):
    marked = {
        function.name for function in page.fns.values() if function.fn and rights.right_of(function.fn) == rights.GUESTS
    }
    assert marked <= GUESTS_MAY


def test_an_owners_results_are_not_read_by_others_though_they_know_the_names(owner, guest):
    event = owner.post("gradio_api/call/list_runs", json={"data": []}).json()["event_id"]
    assert guest.get(f"gradio_api/call/list_runs/{event}").status_code == 404
    index = next(
        number
        for number, one in enumerate(owner.get("config").json()["dependencies"])
        if one["api_name"] == "list_runs"
    )
    join = {"data": [], "fn_index": index, "session_hash": "known-to-all"}
    assert owner.post("gradio_api/queue/join", json=join).status_code == 200
    assert guest.post("gradio_api/queue/join", json=join).status_code == 403
    for client, sign in ((guest, "session_not_found"), (owner, "process_completed")):
        assert sign in client.get("gradio_api/queue/data", params={"session_hash": "known-to-all"}).text
    assert "complete" in owner.get(f"gradio_api/call/list_runs/{event}").text


@pytest.mark.parametrize("host", ["evil.example", "localhost:7873@evil.example", "127.0.0.1.evil.example:7860"])
def test_a_name_that_leads_to_this_computer_from_elsewhere_gets_nothing(server, host):
    with httpx.Client(base_url=server, headers={"host": host}) as rebound:
        for answer in (rebound.post("gradio_api/call/list_runs", json={"data": []}), rebound.get("config")):
            assert answer.status_code == 400 and ("LLMDEMO_HOSTS" in answer.text or "Host header" in answer.text)
    with httpx.Client(base_url=server) as here:
        assert call(here, "list_runs")["event"] == "complete"


def signing_in(shared, base="http://testserver", behind_proxy=False) -> TestClient:
    """The sign-in pages alone, with counts of their own."""
    from starlette.applications import Starlette

    from llmdemo.access.session_cookies import SessionCookies

    tickets = SessionCookies(b"k" * 32, shared.access.stamp)
    cookies = ("a-session", "a-guest")
    app = Starlette(routes=authentication.routes(shared.access, tickets, cookies[0]))
    return TestClient(
        authentication.AuthenticationMiddleware(app, shared.access, tickets, cookies, behind_proxy), base_url=base
    )
