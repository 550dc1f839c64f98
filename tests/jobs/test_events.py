"""The events of a job as a stream that can be gone on with from any of them."""

import asyncio
import json

import pytest

from llmdemo.core.errors import UserError


def types(events) -> list[str]:
    return [each["event"]["type"] for each in events]


def test_whoever_asks_with_the_last_id_gets_what_came_after_it(bench):
    app = bench.open()
    run_id = app.start({"steps": 6})
    bench.wait(app, run_id, "completed")
    events, end = app.jobs.events_after(run_id)
    assert types(events)[0] == "launch" and types(events)[-1] == "end" and events[-1]["id"] == end
    for index, each in enumerate(events):
        after, reached = app.jobs.events_after(run_id, each["id"])
        assert (after, reached) == (events[index + 1 :], end)
    json.dumps(events, allow_nan=False)


def test_a_stream_ends_with_the_job_and_misses_nothing(bench):
    app = bench.open()
    run_id = app.start({"steps": 8, "step_seconds": 0.02})

    async def follow(after=0):
        return [each async for each in app.jobs.follow(run_id, after, every=0.02)]

    followed = asyncio.run(follow())
    assert app.status(run_id)["state"] == "completed"
    assert followed == app.jobs.events_after(run_id)[0] and types(followed).count("step") == 8
    assert asyncio.run(follow(followed[3]["id"])) == followed[4:]


def test_torn_and_strange_lines_are_no_events_and_shift_no_id(bench):
    app = bench.open()
    run_id = app.start({"steps": 1})
    bench.wait(app, run_id, "completed")
    path = bench.home.runs / run_id / "events.jsonl"
    path.write_bytes(b'{"type": "note"}\nno json\n{"type": "phase"}\n{"type": "en')
    events, end = app.jobs.events_after(run_id)
    assert [(each["id"], each["event"]["type"]) for each in events] == [(17, "note"), (43, "phase")] and end == 43
    with open(path, "ab") as file:
        file.write(b'd"}\n')
    assert types(app.jobs.events_after(run_id, end)[0]) == ["end"]


def test_an_id_past_the_end_of_a_file_that_was_replaced_begins_anew(bench):
    app = bench.open()
    run_id = app.start({"steps": 1})
    bench.wait(app, run_id, "completed")
    events, end = app.jobs.events_after(run_id)
    assert app.jobs.events_after(run_id, end + 1) == (events, end)
    with pytest.raises(UserError, match="no run"):
        app.jobs.events_after("run-nothing")


def test_a_mark_changes_with_each_event_and_state_of_a_job_and_with_nothing_else(bench):
    app = bench.open()
    run_id = app.start({"steps": 8, "step_seconds": 0.02})
    marks = {app.jobs.marks()[run_id]}
    while app.status(run_id)["state"] != "completed":
        marks.add(app.jobs.marks()[run_id])
    assert {mark.state for mark in marks} >= {"running"} and len({mark.bytes for mark in marks}) > 2
    over = app.jobs.marks()
    assert over[run_id].kind == "run" and over[run_id].state == "completed" and app.jobs.marks() == over
    app.rename(run_id, "another")
    assert app.jobs.marks() != over
    app.delete(run_id)
    assert run_id not in app.jobs.marks()
