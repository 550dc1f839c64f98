"""Streams of events: every batch arrives once and in order, also after a break; a slow reader costs nobody else."""

import asyncio
import json
import threading

import pytest

from llmdemo.ui import event_streams
from llmdemo.ui.event_streams import EventStream, EventStreams


def numbered(*numbers):
    return [{"type": "step", "n": number} for number in numbers]


async def read(streams, name="r", number=0, most=1000):
    """The messages of a stream as (id or "", events), comments left out, until its end or `most` of them."""
    found = []
    async for message in streams._messages(None, name, number, asyncio.Event()):
        fields = dict(line.split(": ", 1) for line in message.decode().splitlines() if line and line[0] != ":")
        if fields:
            found.append((fields.get("id", ""), json.loads(fields["data"])))
        if len(found) >= most:
            break
    return found


def test_a_reader_gets_each_batch_once_and_goes_on_behind_the_last_it_has():
    streams = EventStreams()
    with streams.writing("r") as stream:
        for batch in ([0, 1], [2], [3, 4]):
            stream.add(numbered(*batch))
    assert asyncio.run(read(streams)) == [("1", numbered(0, 1)), ("2", numbered(2)), ("3", numbered(3, 4))]
    assert asyncio.run(read(streams, number=2)) == [("3", numbered(3, 4))]
    assert asyncio.run(read(streams, number=3)) == []


def test_who_reads_before_the_work_begins_gets_its_events_as_they_come(monkeypatch):
    """The page asks for its stream while its request is still on its way into the queue. It is woken: a reader that looked
    by itself would do so in ten minutes."""
    for name in ("_PLACE_SECONDS", "HEARTBEAT_SECONDS"):
        monkeypatch.setattr(event_streams, name, 600.0)
    streams = EventStreams(lambda app, name: {"running": True})
    told = threading.Semaphore(0)

    def write():
        with streams.writing("r") as stream:
            for number in range(3):
                stream.add(numbered(number))
                told.acquire(timeout=10)  # what comes next waits until this was read

    async def reads():
        found = []
        async for message in streams._messages(None, "r", 0, asyncio.Event()):
            if message == b": here\n\n":
                threading.Thread(target=write, daemon=True).start()
            else:
                found.append(message)
                told.release()
        return found

    found = asyncio.run(asyncio.wait_for(reads(), 60))
    assert [message.splitlines()[0] for message in found] == [b"id: 1", b"id: 2", b"id: 3"]


def test_the_place_in_the_queue_is_told_when_it_changes(monkeypatch):
    monkeypatch.setattr(event_streams, "_PLACE_SECONDS", 0.001)
    places = iter([{}, {"place": 2, "waiting": 3}, {"place": 2, "waiting": 3}, {"place": 1, "waiting": 2}])
    streams = EventStreams(lambda app, name: next(places, {"refused": "The queue is full."}))
    found = [events[0] for number, events in asyncio.run(read(streams)) if not number]
    assert [(event["type"], event.get("place")) for event in found] == [("queued", 2), ("queued", 1), ("end", None)]
    assert found[-1]["state"] == "failed" and found[-1]["message"] == "The queue is full."


def test_a_request_that_nobody_knows_is_given_up(monkeypatch):
    monkeypatch.setattr(event_streams, "_PLACE_SECONDS", 0.001)
    ((number, (end,)),) = asyncio.run(read(EventStreams()))
    assert number == "" and end["state"] == "failed" and end["message"]["$say"] == "err_stream_unknown"


def test_a_stream_keeps_its_latest_events_and_tells_who_has_fallen_behind(monkeypatch):
    stream = EventStream(most_bytes=200)
    for number in range(100):
        stream.add(numbered(number))
    assert stream.size <= 200 and stream.after(0) is None and stream.after(101) is None
    assert json.loads(stream.after(99)[0]) == numbered(99)
    monkeypatch.setattr(event_streams.EventStream.__init__, "__defaults__", (200,))
    streams = EventStreams()
    with streams.writing("r") as stream:
        for number in range(100):
            stream.add(numbered(number))
    ((_, (end,)),) = asyncio.run(read(streams))
    assert end["type"] == "end" and end["message"]["$say"] == "err_stream_behind"


def test_a_reader_who_stops_reading_holds_up_nobody():
    streams = EventStreams()

    async def both():
        stalled = streams._messages(None, "r", 0, asyncio.Event())
        await anext(stalled)
        with streams.writing("r") as stream:
            for number in range(50):
                stream.add(numbered(number))  # returns at once
        await anext(stalled)  # stands still at its first batch from here on
        found = await read(streams)
        await stalled.aclose()
        return found

    assert len(asyncio.run(both())) == 50


def test_silence_is_broken_by_heartbeats(monkeypatch):
    monkeypatch.setattr(event_streams, "HEARTBEAT_SECONDS", 0.005)
    streams = EventStreams()

    async def hears():
        with streams.writing("r"):
            messages = streams._messages(None, "r", 0, asyncio.Event())
            heard = [await anext(messages) for _ in range(3)]
            await messages.aclose()
        return heard

    assert set(asyncio.run(hears())[1:]) == {b": still here\n\n"}


@pytest.mark.parametrize("begun", [True, False])
def test_an_open_stream_ends_with_the_app(begun):
    streams = EventStreams(lambda app, name: {"running": True})

    async def is_read():
        app_ends = asyncio.Event()
        with streams.writing("r") if begun else streams.use("r"):
            messages = streams._messages(None, "r", 0, app_ends)
            await anext(messages)
            asyncio.get_running_loop().call_later(0.05, app_ends.set)
            return [message async for message in messages]

    assert asyncio.run(asyncio.wait_for(is_read(), 2)) == []


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_page_that_has_gone_may_come_back_before_its_work_is_stopped(comes_back, monkeypatch):
    monkeypatch.setattr(event_streams, "GRACE_SECONDS", 0.05)
    streams, stopped = EventStreams(), []

    async def leaves():
        with streams.writing("r") as stream:
            stream.add(numbered(0))
            await read(streams, most=1)  # and then the connection is lost
            stream.page_has_gone(lambda: stopped.append(True))
            with stream.reader(asyncio.Event()) if comes_back else streams.use("other"):
                await asyncio.sleep(0.15)

    asyncio.run(leaves())
    assert bool(stopped) != comes_back


def test_what_is_kept_of_ended_streams_is_bounded(monkeypatch):
    monkeypatch.setattr(event_streams, "_MOST_KEPT", 2)
    streams = EventStreams()
    for name in "abc":
        with streams.writing(name) as stream:
            stream.add(numbered(0))
    with streams.use("never begun"):
        pass
    assert list(streams._streams) == ["b", "c"]
    monkeypatch.setattr(event_streams, "_MOST_KEPT_BYTES", 40)
    with streams.writing("d") as stream:
        stream.add(numbered(0))
    assert list(streams._streams) == ["d"]
