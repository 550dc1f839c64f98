"""A blind vote over the wire: an owner and guests with cookies, and every byte that a guest gets before a vote."""

import json
import re
import threading
from collections import Counter

import httpx
import pytest

from llmdemo.access.people import Access
from llmdemo.core.errors import UserError
from llmdemo.ui.app import build, launch_options
from llmdemo.ui.services import Services
from llmdemo.ui.votes_pages import VotePages
from llmdemo.ui.votes_panel import qr_code
from tests.conftest import quick_hash
from tests.waiting import until

LANES = ["greedy", {"strategy": "top_p", "name": "zebrafinch", "top_p": 0.97}, {"strategy": "sample", "name": "quokka"}]
SETTINGS = {"max_new_tokens": 8, "lanes": LANES}


@pytest.fixture(scope="module")
def shared(services):
    """The address of an app where ann is the owner and everybody else a guest."""
    access = Access("accounts", {"ann": quick_hash("secret")})
    page = build(Services(**{**services.__dict__, "access": access}))
    _, url, _ = page.launch(
        server_name="127.0.0.1",
        prevent_thread_lock=True,
        **launch_options(Services(**{**services.__dict__, "access": access})),
    )
    yield url
    page.close(verbose=False)


_clients: list[httpx.Client] = []


@pytest.fixture(scope="module", autouse=True)
def closed_clients():
    yield
    for client in _clients:
        client.close()


class Browser:
    """A client with a cookie jar that keeps every byte that it was sent."""

    def __init__(self, url: str, page: str = "vote"):
        self.got: list[bytes] = []
        self.web = httpx.Client(base_url=url, timeout=60, follow_redirects=True)
        _clients.append(self.web)
        self.get(page)

    def get(self, path: str) -> httpx.Response:
        return self._kept(self.web.get(path))

    def call(self, name: str, *values):
        """What the endpoint answers; AssertionError with its sentence."""
        joined = self._kept(self.web.post(f"gradio_api/call/{name}", json={"data": list(values)}))
        stream = self._kept(self.web.get(f"gradio_api/call/{name}/{joined.json()['event_id']}")).text
        kind, data = re.findall(r"event: (\w+)\ndata: (.*)", stream)[-1]
        assert kind == "complete", data
        return json.loads(data)[0]

    def _kept(self, answer: httpx.Response) -> httpx.Response:
        self.got.append(answer.content + repr(answer.headers.multi_items()).encode())
        return answer


@pytest.fixture(scope="module")
def owner(shared):
    browser = Browser(shared, "")
    browser.web.post("sign-in", data={"name": "ann", "password": "secret"})
    return browser


@pytest.fixture
def opened(owner):
    """opened(**config) → the id of a vote whose answers are made."""

    def open_(**config):
        values = {"prompts": ["Hello there", "What is rain?", "Say it"], "title": "Class 7b", **config}
        session_id = owner.call("open_vote", values, SETTINGS)["session_id"]

        def ready() -> bool:
            board = owner.call("vote_board", session_id)
            assert not board["failed"], board
            return board["ready"] == board["prompts"]

        until(ready, pause=0.1)
        return session_id

    return open_


def test_no_byte_that_a_guest_gets_names_a_contestant_before_the_vote(shared, opened):
    session_id = opened()
    guest = Browser(shared, f"vote?vote={session_id}")
    pair = guest.call("vote_pair", session_id)["pair"]
    assert sorted(pair) == ["left", "pair_id", "prompt", "right"]
    guest.call("vote_pair", session_id)
    with pytest.raises(AssertionError, match="Only an owner"):
        guest.call("vote_board", session_id)
    with pytest.raises(AssertionError, match="Only an owner"):
        guest.call("export_votes", session_id, "json")
    before = b"".join(guest.got)
    for name in (b"zebrafinch", b"quokka"):
        assert name not in before
    named = guest.call("vote", session_id, pair["pair_id"], "left")
    assert {named["left"]["lane"], named["right"]["lane"]} <= {"greedy", "zebrafinch", "quokka"}
    assert named["left"]["lane"] != named["right"]["lane"]


def test_what_stands_on_the_left_is_what_is_named_left(shared, opened, owner):
    session_id = opened()
    guest = Browser(shared)
    while pair := guest.call("vote_pair", session_id)["pair"]:
        named = guest.call("vote", session_id, pair["pair_id"], "tie")
        row = owner.call("export_votes", session_id, "json")["votes"][-1]
        for side in ("left", "right"):
            assert (row[side]["text"], row[side]["lane"]) == (pair[side], named[side]["lane"])


def test_a_guest_is_their_cookie(shared, opened):
    session_id = opened()
    anna, bert = Browser(shared), Browser(shared)
    pair = anna.call("vote_pair", session_id)["pair"]
    assert anna.call("vote_pair", session_id)["pair"] == pair
    with pytest.raises(AssertionError, match="not yours"):
        bert.call("vote", session_id, pair["pair_id"], "left")
    anna.call("vote", session_id, pair["pair_id"], "left")
    with pytest.raises(AssertionError, match="You have voted on this pair"):
        anna.call("vote", session_id, pair["pair_id"], "left")
    assert anna.call("undo_vote", session_id)["session"]["votes"] == 0
    with httpx.Client(base_url=shared, timeout=60) as stranger:
        event = stranger.post("gradio_api/call/vote_pair", json={"data": [session_id]}).json()["event_id"]
        assert "keeps no cookies" in stranger.get(f"gradio_api/call/vote_pair/{event}").text


def test_guests_open_and_close_nothing(shared, opened):
    session_id, guest = opened(), Browser(shared)
    for call in (
        ("open_vote", {"prompts": ["x"]}, {}),
        ("close_vote", session_id),
        ("list_votes",),
        ("votes_to_preferences", session_id, ""),
    ):
        with pytest.raises(AssertionError, match="Only an owner"):
            guest.call(*call)


def test_a_closed_vote_shows_its_board_to_all(shared, opened, owner):
    session_id, guest = opened(), Browser(shared)
    pair = guest.call("vote_pair", session_id)["pair"]
    assert owner.call("close_vote", session_id)["closed"] == "owner"
    with pytest.raises(AssertionError, match="not counted"):
        guest.call("vote", session_id, pair["pair_id"], "left")
    board = guest.call("vote_board", session_id)
    assert board["conclusion"] == "No votes yet."
    assert guest.call("vote_pair", session_id)["why"] == "closed"


def test_a_guests_own_question_is_answered_by_all_contestants(shared, opened):
    session_id, guest = opened(prompts=[], own_prompts=True), Browser(shared)
    shown = guest.call("ask_pair", session_id, "Hello you")
    assert shown["pair"]["prompt"] == "Hello you"
    assert b"zebrafinch" not in b"".join(guest.got)


@pytest.mark.slow
def test_many_phones_at_once_lose_and_double_nothing(shared, opened, owner):
    session_id = opened()
    counted: list[str] = []
    errors: list[BaseException] = []

    def phone() -> None:
        try:
            guest = Browser(shared)
            while pair := guest.call("vote_pair", session_id)["pair"]:
                guest.call("vote", session_id, pair["pair_id"], "left")
                counted.append(pair["pair_id"])
        except BaseException as error:
            errors.append(error)

    phones = [threading.Thread(target=phone) for _ in range(8)]
    for each in phones:
        each.start()
    for each in phones:
        each.join(120)
    assert not errors
    board = owner.call("vote_board", session_id)
    assert board["votes"] == len(counted) == len(set(counted)) == board["choices"]["left"]
    rows = owner.call("export_votes", session_id, "json")["votes"]
    assert set(Counter(row["voter"] for row in rows).values()) == {len(counted) // 8}
    assert board["position"]["low"] > 0.6  # all of them took the left
    assert {told["side"] for told in board["one_sided"]} == {"left"}


def test_the_votes_become_a_preference_data_set(shared, opened, owner, services):
    session_id, guest = opened(title="Rainy day"), Browser(shared)
    pairs = 0
    while pair := guest.call("vote_pair", session_id)["pair"]:
        guest.call("vote", session_id, pair["pair_id"], "left")
        pairs += bool(pair["left"].strip() and pair["right"].strip())
    made = owner.call("votes_to_preferences", session_id, "")
    assert (made["name"], made["pairs"], made["undecided"]) == ("Rainy day", pairs, 0)
    assert owner.call("list_datasets")[0]["dataset_id"] == made["dataset_id"]
    text = owner.call("export_votes", session_id, "csv")["text"]
    assert len(text.splitlines()) > pairs


def test_what_no_vote_can_be_is_refused_with_a_sentence(owner):
    for config, said in (
        ({}, "nothing to ask"),
        ({"prompts": ["x"], "model_ids": ["starter", "starter"]}, "two that differ"),
        ({"prompts": ["x"], "votes": 0}, "votes is 0"),
        ({"prompts": ["x"], "model_ids": ["run-20260101-000000-ffffff"]}, "run-20260101-000000-ffffff"),
    ):
        with pytest.raises(AssertionError, match=said):
            owner.call("open_vote", config, SETTINGS)
    with pytest.raises(AssertionError, match="only one contestant"):
        owner.call("open_vote", {"prompts": ["x"]}, {"lanes": ["greedy"]})
    with pytest.raises(AssertionError, match="one of: json, csv"):
        owner.call("export_votes", owner.call("list_votes")[0]["session_id"], "xlsx")


def test_the_link_is_drawn_as_a_qr_code():
    rows = qr_code("http://192.168.1.20:7860/vote?vote=vote-20260101-000000-abcdef")
    assert len({len(rows), *map(len, rows)}) == 1
    assert rows[0].startswith("11111110") and rows[1].startswith("10000010")  # the finder pattern in the corner
    for link in (None, "javascript:alert(1)", "http://" + "x" * 600):
        with pytest.raises(UserError):
            qr_code(link)


def test_the_class_votes_again_between_the_model_that_learned_and_the_one_before(services, monkeypatch):
    """A finished run on the data set that these votes became is the second contestant of the next vote."""
    pages = VotePages(services)
    opened = pages.open({"prompts": ["Hello there"], "title": "First", "own_prompts": True}, SETTINGS)["session_id"]
    with pytest.raises(UserError, match="No finished model has learned"):
        pages.again(opened, "Second")
    services.votes.get().note_dataset(opened, "data-20260101-000000-abcdef")
    run = {"run_id": "run-20260101-000000-abcdef", "model_id": "run-20260101-000000-abcdef"}
    config = {"dataset_id": "data-20260101-000000-abcdef", "model": {"id": "starter"}}
    monkeypatch.setattr(type(services.runs), "list", lambda _: [run])
    monkeypatch.setattr(type(services.runs), "config", lambda _, run_id: config)
    assert pages.board(opened)["tuned"] == {"model_id": run["model_id"], "base": "starter"}
    asked = []
    monkeypatch.setattr(pages, "open", lambda *given: asked.append(given) or {})
    pages.again(opened, "Second")
    ((config, settings),) = asked
    assert (config["title"], config["model_ids"]) == ("Second", ["starter", run["model_id"]])
    assert (config["prompts"], config["own_prompts"]) == (["Hello there"], True)
    assert settings["lanes"][1]["name"] == "zebrafinch"
