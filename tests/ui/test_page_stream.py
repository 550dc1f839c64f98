"""What goes on in the app reaches the pages by one stream: what has changed, once, also after a break, to who may know."""

import asyncio
import json
import threading
from types import SimpleNamespace

import pytest

from llmdemo.jobs import Mark
from llmdemo.ui import page_stream
from llmdemo.ui.page_stream import PageStream

WHO = {"policy": "open", "owner": True, "name": ""}


def mark(state="running", size=0, kind="run"):
    return Mark(kind, state, "a name", 1, None, "", size)


@pytest.fixture
def app(monkeypatch):
    """Services whose jobs are `marks`, of which the run "shown" may be seen by guests; nobody looks but the test."""
    marks = {"run-1": mark(), "shown": mark()}
    rows = [{"run_id": "run-1", "state": "running", "step": 3, "total_steps": 9, "name": "a name", "loss": 1.0}]
    runs = SimpleNamespace(
        jobs=SimpleNamespace(marks=lambda: dict(marks)), list=lambda: rows, is_shown=lambda run_id: run_id == "shown"
    )
    starter = SimpleNamespace(progress=lambda: {"state": "ready"})
    monkeypatch.setattr(PageStream, "_keep_looking", lambda self: None)
    more = {"access": SimpleNamespace(policy="open", has_guests=False), "marks": marks, "rows": rows}
    return SimpleNamespace(runs=runs, starter=starter, evaluations=None, guests_only=False, **more)


def read(stream, number=0, owner=True, changes=(), messages=1, is_new=False):
    """The next messages of a page as (number, events); `changes` are made and looked at once it reads."""

    async def reads():
        found = []
        async for message in stream._messages(owner, {**WHO, "owner": owner}, number, asyncio.Event(), is_new):
            fields = dict(line.split(": ", 1) for line in message.decode().splitlines() if line and line[0] != ":")
            if fields:
                found.append((int(fields["id"]), json.loads(fields["data"])))
                for change in changes:
                    change()
                    stream.look()
                changes_made.append(True)
            if len(found) >= messages:
                break
        return found

    changes_made: list = []
    return asyncio.run(asyncio.wait_for(reads(), 5))


def jobs_of(events):
    return [(event["job_id"], event["state"], event["at"]) for event in events if event["type"] == "job"]


def test_a_new_page_gets_the_header_with_who_it_is_and_no_job_is_new_to_it(app):
    [(number, [header])] = read(PageStream(app))
    assert header["type"] == "header" and header["policy"] == "open" and header["owner"]
    assert header["starter"] == {"state": "ready"} and header["evaluation"] is None and header["finished"] == 0
    assert header["runs"] == [{"run_id": "run-1", "state": "running", "step": 3, "total_steps": 9, "name": "a name"}]
    assert 0 < number <= 10**8


def test_what_has_changed_is_told_once_and_after_a_break_from_where_the_page_was(app):
    stream = PageStream(app)
    [(first, _)] = read(stream)
    app.marks["run-1"] = mark(size=500)
    stream.look()
    stream.look()  # nothing new
    app.marks["run-1"] = mark("completed")
    del app.marks["shown"]
    app.rows.clear()
    stream.look()
    told = read(stream, first, messages=2)
    assert [jobs_of(events) for _, events in told] == [
        [("run-1", "running", 500)],
        [("shown", "deleted", 0), ("run-1", "completed", 0)],
    ]
    assert told[1][1][0]["runs"] == [] and told[1][1][0]["finished"] == 1
    [(_, again)] = read(stream, told[0][0], messages=1)
    assert again == told[1][1]


def test_a_new_page_is_told_what_has_changed_since_it_was_made(app):
    """Its panels ask between the page and the stream: what changes after their first answers is not to be missed."""
    stream = PageStream(app)
    made = stream.since(None)
    app.marks["run-1"] = mark("completed")
    [(first, [header]), (_, events)] = read(stream, made, messages=2, is_new=True)
    assert first == made and header["type"] == "header" and header["owner"]
    assert jobs_of(events) == [("run-1", "completed", 0)]
    [(first, [header])] = read(stream, stream.since(None), is_new=True)
    assert header["policy"] == "open" and first == made + 1, "nothing has changed since"


def test_a_guests_page_begins_in_the_guests_stream_and_one_that_cannot_be_looked_for_at_none(app, monkeypatch):
    stream = PageStream(app)
    app.access.has_guests = True
    made = stream.since(None)
    app.marks |= {"run-1": mark(size=9), "shown": mark(size=9)}
    told = read(stream, made, owner=False, messages=2, is_new=True)
    assert jobs_of(told[1][1]) == [("shown", "running", 9)]
    monkeypatch.setattr(stream, "look", lambda: 1 / 0)
    assert stream.since(None) == 0


def test_a_page_from_before_a_restart_learns_that_all_may_have_changed(app):
    before = PageStream(app)
    [(number, _)] = read(before)
    app.marks["run-1"] = mark("failed")  # while nobody looked
    [(_, [header, job])] = read(PageStream(app), number)
    assert header["type"] == "header" and job["kind"] == "all"


def test_a_page_that_has_signed_in_meanwhile_gets_the_owners_header(app):
    stream = PageStream(app)
    [(number, _)] = read(stream, owner=False)
    [(_, [header, job])] = read(stream, number)
    assert header["owner"] and header["runs"] and job["kind"] == "all"


def test_the_header_names_what_an_evaluation_does_also_before_it_is_known_of_how_many_records(app):
    """A judge that is being loaded has read none: that is not the evaluation's start."""
    at = {"phase": "judging", "title": "", "number": 2, "phases": 2, "done": 0, "total": 0}
    jobs = [{"state": "queued", "progress": {}}, {"state": "running", "progress": at}]
    app.evaluations = SimpleNamespace(list=lambda: jobs)
    [(_, [header])] = read(PageStream(app))
    assert header["evaluation"] == {"done": 0, "total": 0, "phase": "judging", "title": ""}
    jobs[1]["progress"] = {}
    [(_, [header])] = read(PageStream(app))
    assert header["evaluation"] == {"done": 0, "total": 0, "phase": "", "title": ""}


def test_guests_are_told_of_shown_runs_alone(app):
    stream = PageStream(app)
    [(owners, _)] = read(stream)
    [(first, [header])] = read(stream, owner=False)
    assert header["runs"] == [] and header["evaluation"] is None
    app.marks |= {"run-1": mark(size=9), "shown": mark(size=9), "evaluation-1": mark(kind="evaluation")}
    stream.look()
    [(_, events)] = read(stream, first, owner=False)
    assert jobs_of(events) == [("shown", "running", 9)]
    [(_, events)] = read(stream, owners)
    assert len(jobs_of(events)) == 3


def test_one_thread_looks_for_all_pages_and_ends_after_the_last(app, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(page_stream, "EVERY_SECONDS", 0.01)
    monkeypatch.setattr(page_stream, "_LINGER_SECONDS", 0.02)
    app.runs.closed = False
    stream = PageStream(app)

    async def pages():
        readers = [stream._messages(True, WHO, 0, asyncio.Event()) for _ in range(3)]
        for reader in readers:
            assert await anext(reader) == b": here\n\n"
            assert await anext(reader)
        app.marks["run-1"] = mark(size=77)
        for reader in readers:
            assert b'"at":77' in await asyncio.wait_for(anext(reader), 5)
            await reader.aclose()

        return [thread for thread in threading.enumerate() if thread.name == "page stream"]

    [thread] = asyncio.run(pages())
    thread.join(5)
    assert not thread.is_alive()
