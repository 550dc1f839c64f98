"""The queue of a live server: turns go round the visitors, places are told, who leaves is gone at once."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from starlette.middleware import Middleware

from llmdemo.access.people import Access, Visitor
from llmdemo.access.session_cookies import SessionCookies
from llmdemo.settings import Settings
from llmdemo.ui import authentication, fair_queue
from llmdemo.ui.fair_queue import BATCHES, MOST_BATCHES, FairQueue, _guests_address, when_gone
from tests.waiting import until

WAITING = 20


class Work:
    """A slow endpoint whose every call waits to be let go; `order` is how they were served."""

    def __init__(self):
        self.order, self.gone, self.go = [], [], threading.Semaphore(0)

    def slow(self, name: str) -> Iterator[str]:
        self.order.append(name)
        with when_gone(lambda: self.gone.append(name)):
            while not self.go.acquire(timeout=0.05):
                yield f"{name} goes on"
                if name in self.gone:
                    return
        yield f"{name} is done"


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def url(work, tmp_path):
    tickets = SessionCookies(b"k" * 32, lambda name: None)
    doors = Middleware(
        authentication.AuthenticationMiddleware, access=Access("guests"), tickets=tickets, cookies=("s", "g")
    )
    with gr.Blocks() as page:
        gr.api(work.slow, api_name="slow", concurrency_limit=1, concurrency_id="slow")
    work.page = page
    FairQueue.install(page, Settings(home=tmp_path, max_waiting=WAITING))
    _, url, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, app_kwargs={"middleware": [doors]}
    )
    yield url
    for _ in range(100):
        work.go.release()
    page.close(verbose=False)


@contextmanager
def visitor(url):
    """A guest with a cookie of their own; `ask(name)` joins the queue, `messages()` are what came back so far."""
    with httpx.Client(base_url=url) as client:
        client.get("")
        yield client


def ask(client, name: str, session: str = "") -> httpx.Response:
    body = {"data": [name], "fn_index": 0, "session_hash": session or name}
    return client.post("gradio_api/queue/join", json=body)


def waiting_in(page) -> int:
    """Requests that wait in the page's queue."""
    return sum(len(kind.queue) for kind in page._queue.event_queue_per_concurrency_id.values())


def test_a_heavy_visitors_requests_do_not_come_before_everybody_elses(url, work):
    with visitor(url) as heavy, visitor(url) as light, visitor(url) as third:
        for number in range(3):
            assert ask(heavy, f"h{number}").status_code == 200
        until(lambda: work.order)
        assert ask(light, "l0").status_code == ask(third, "t0").status_code == ask(light, "l1").status_code == 200
        for number in range(5):
            work.go.release()
            until(lambda number=number: len(work.order) == number + 2)
    assert work.order == ["h0", "l0", "t0", "l1", "h1", "h2"] or work.order == ["h0", "l0", "t0", "h1", "l1", "h2"]


def test_the_place_in_the_queue_is_told_and_it_is_the_fair_one(url, work):
    with visitor(url) as heavy, visitor(url) as light:
        for number in range(3):
            ask(heavy, f"h{number}")
        until(lambda: work.order)
        ask(light, "l0")
        places = {}
        for client, session in ((light, "l0"), (heavy, "h2")):
            with client.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as stream:
                for line in stream.iter_lines():
                    message = json.loads(line.removeprefix("data: ")) if line else {}
                    if message.get("msg") == "estimation":
                        places[session] = (message["rank"], message["queue_size"])
                    if message.get("queue_size") == 3:
                        break
        assert places == {"l0": (0, 3), "h2": (2, 3)}


def test_without_room_the_answer_is_503_and_names_the_limit(url, work):
    with visitor(url) as heavy:
        answers = [ask(heavy, f"h{number}") for number in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 503]
        assert "LLMDEMO_MAX_WAITING" in answers[-1].json()["detail"]
        with visitor(url) as light:
            assert ask(light, "l0").status_code == 200


def test_a_full_queue_says_so_to_everybody(url, work):
    statuses = []
    for number in range(14):  # ten waiting at most from one address
        with visitor(url) as each:
            statuses.append(ask(each, f"v{number}").status_code)
    assert statuses[:11] == [200] * 11 and statuses[-1] == 503


def test_who_closes_the_page_frees_the_place_while_the_work_would_go_on(url, work):
    with visitor(url) as leaving, visitor(url) as next_one:
        ask(leaving, "leaving")
        until(lambda: work.order == ["leaving"])
        ask(next_one, "next")
        with leaving.stream("GET", "gradio_api/queue/data", params={"session_hash": "leaving"}) as stream:
            next(stream.iter_lines())
        until(lambda: work.order == ["leaving", "next"])
        assert work.gone == ["leaving"]


def test_who_leaves_while_waiting_is_not_served_at_all(url, work):
    with visitor(url) as first, visitor(url) as leaving, visitor(url) as last:
        ask(first, "first")
        until(lambda: work.order == ["first"])
        ask(leaving, "leaving")
        ask(last, "last")
        with leaving.stream("GET", "gradio_api/queue/data", params={"session_hash": "leaving"}) as stream:
            next(stream.iter_lines())
        until(lambda: waiting_in(work.page) == 1)
        work.go.release()
        until(lambda: work.order == ["first", "last"])


def test_scripts_without_cookies_are_told_apart_by_their_sessions(url, work):
    one, other = Client(url, verbose=False), Client(url, verbose=False)
    jobs = [one.submit("one0", api_name="/slow")]
    until(lambda: work.order)  # two of one visitor's may wait, so the first must be on its way
    jobs += [one.submit(f"one{number}", api_name="/slow") for number in (1, 2)]
    until(lambda: waiting_in(work.page) == 2)
    jobs.append(other.submit("other", api_name="/slow"))
    until(lambda: jobs[-1].status().rank is not None)
    for _ in range(4):
        work.go.release()
    assert [job.result(timeout=20) for job in jobs][-1] == "other is done"
    assert work.order.index("other") == 1
    one.close()
    other.close()


def test_what_the_queue_remembers_of_the_past_does_not_grow(url, work):
    queue = work.page._queue
    for number in range(12):
        work.go.release()
        with visitor(url) as each:
            ask(each, f"v{number}")
    until(lambda: len(work.order) == 12 and not queue._running() and not queue.event_ids_to_events)
    assert len(queue.event_analytics) <= 1


@pytest.mark.parametrize(("role", "address"), [("guest", "1.1.1.1"), ("owner", "")])
def test_the_address_counts_for_guests_only(role, address):
    request = SimpleNamespace(scope={authentication.VISITOR: Visitor(role, "x", "1.1.1.1")})
    assert _guests_address(SimpleNamespace(request=request)) == address


def test_a_guests_request_that_nobody_reads_gives_its_place_back(url, work, monkeypatch):
    monkeypatch.setattr(fair_queue, "UNREAD_SECONDS", 0.3)
    with visitor(url) as silent, visitor(url) as other:
        assert ask(silent, "silent").status_code == ask(silent, "silent2").status_code == 200
        until(lambda: work.order == ["silent"])
        sessions = work.page._queue._sessions
        with sessions.reading("other"):  # the guard says so of a stream that is open
            ask(other, "other")
            until(lambda: work.order == ["silent", "other"])  # silent2 was never begun
            assert work.gone == ["silent"]
            queue = work.page._queue
            until(lambda: "silent" not in queue.pending_messages_per_session and not waiting_in(work.page))


def event_of(role: str, name: str, address: str = "1.1.1.1", kind: str = "arena"):
    """An event as somebody reads it, who has not stopped since."""
    request = SimpleNamespace(scope={authentication.VISITOR: Visitor(role, name, address)})
    data = SimpleNamespace(event_data={"prompt": "x"}, session_hash=name)
    shown = {"session_hash": name, "concurrency_id": kind, "_id": name, "alive": True, "enqueue_time": float("inf")}
    return SimpleNamespace(request=request, data=data, **shown)


def may_begin(running: list, waiting: list, limit: int = 4, reserve: bool = True) -> list:
    with gr.Blocks() as page:
        pass
    FairQueue.install(page, Settings(home=None), reserve=reserve)
    queue = page._queue
    queue.active_jobs = [running]
    kind = waiting[0].concurrency_id
    queue.event_queue_per_concurrency_id[kind] = SimpleNamespace(queue=waiting)
    return [waiting.index(event) for event in queue._eligible(kind, limit)]


@pytest.mark.slow
def test_guests_leave_a_place_for_owners():
    guests = [event_of("guest", f"g{number}") for number in range(3)]
    waiting = [event_of("guest", "g4"), event_of("owner", "ann")]
    assert may_begin(guests[:2], waiting) == [0, 1] and may_begin(guests, waiting) == [1]
    assert may_begin(guests, waiting, reserve=False) == [0, 1]
    assert may_begin([guests[0]], waiting, limit=1) == [0, 1]  # one place is everybody's


def test_one_guest_has_half_of_the_places_with_or_without_a_cookie():
    mine = [event_of("guest", "g"), event_of("guest", "g")]
    assert may_begin(mine, [event_of("guest", "g"), event_of("guest", "h")]) == [1]
    script = [event_of("guest", ""), event_of("guest", "")]  # each with a session of its own
    assert may_begin(script, [event_of("guest", ""), event_of("guest", "", address="2.2.2.2")]) == [1]


def batch_of(role: str, number: int, address: str = ""):
    return event_of(role, f"{role}{number}", address or f"1.1.1.{number}", kind=BATCHES)


def test_a_fifth_guests_batch_begins_beside_four_others():
    assert may_begin([batch_of("guest", number) for number in range(4)], [batch_of("guest", 4)], MOST_BATCHES) == [0]


def test_of_batches_a_guest_has_one_place_and_an_address_half_of_them():
    mine = batch_of("guest", 1)
    waiting = [batch_of("guest", 1), batch_of("guest", 2), batch_of("owner", 1)]
    assert may_begin([mine], waiting, MOST_BATCHES) == [1, 2]
    of_one = [batch_of("guest", number, "9.9.9.9") for number in range(MOST_BATCHES // 2)]
    assert may_begin(of_one, [batch_of("guest", 99, "9.9.9.9"), batch_of("guest", 98)], MOST_BATCHES) == [1]


def test_guests_cannot_fill_the_queue_for_an_owner(url, work):
    queue = work.page._queue
    waiting = [event_of("guest", f"g{number}", address=f"1.1.1.{number}") for number in range(WAITING)]
    for most, refused in ((WAITING - 2, True), (WAITING - 3, False)):
        queue.event_queue_per_concurrency_id["slow"] = SimpleNamespace(queue=waiting[:most])
        body = SimpleNamespace(session_hash="x")
        ask_as = {
            role: queue._refusal(body, event_of(role, "new", address="9.9.9.9").request) for role in ("guest", "owner")
        }
        assert bool(ask_as["guest"]) == refused and not ask_as["owner"]
    del queue.event_queue_per_concurrency_id["slow"]


def test_what_nobody_reads_begins_only_while_nothing_is_read_and_by_itself():
    with gr.Blocks() as page:
        pass
    FairQueue.install(page, Settings(home=None))
    queue, event = page._queue, event_of
    waiting = [event("guest", "silent"), event("guest", "reader", "2.2.2.2"), event("owner", "ann", "3.3.3.3")]
    queue.event_queue_per_concurrency_id["arena"] = SimpleNamespace(queue=waiting)
    names = lambda: [each.session_hash for each in queue._eligible("arena", 4)]  # noqa: E731
    for each in (*waiting, event("guest", "silent2")):
        each.enqueue_time = 0.0
    assert names() == ["ann"]  # owners need not read
    waiting.pop()
    with queue._sessions.reading("reader"):
        assert names() == ["reader"]
        waiting.pop()
        assert names() == ["silent"]
        other = event("guest", "silent2", "4.4.4.4")
        other.enqueue_time = 0.0
        queue.active_jobs = [[other]]
        assert names() == []
        queue.active_jobs = []
        batch = event("guest", "reader", "2.2.2.2", kind=BATCHES)
        queue.event_queue_per_concurrency_id[BATCHES] = SimpleNamespace(queue=[batch])
        assert names() == []  # somebody waits for another kind of work


def test_three_addresses_that_fill_the_queue_leave_room_for_a_newcomer():
    with gr.Blocks() as page:
        pass
    FairQueue.install(page, Settings(home=None, max_waiting=100))
    queue, body = page._queue, SimpleNamespace(session_hash="x")
    for addresses, newcomer, known in ((3, False, True), (45, True, True)):
        waiting = [event_of("guest", f"g{n}", address=f"1.1.1.{n % addresses}") for n in range(90)]
        queue.event_queue_per_concurrency_id["slow"] = SimpleNamespace(queue=waiting)
        asked = [event_of("guest", "new", address=address).request for address in ("9.9.9.9", "1.1.1.0")]
        assert [bool(queue._refusal(body, request)) for request in asked] == [newcomer, known]
        assert not queue._refusal(body, event_of("owner", "ann").request)
