"""What goes on in the app, as a stream for the pages that are looked at: GET /streams/page, server-sent events.

A page gets the header's facts at once, and then, while it is read:

header {starter, runs, evaluation, finished runs, guests_only (, policy, owner, name: at the beginning)}   when one of them
       has changed
job    {kind, job_id, state, at}   a job has changed: its state, its name, or its events, `at` bytes of them now;
       state "deleted" where it is gone. kind "all": what has changed is not known any more; all may have

Guests are told of runs that their owner shows, and no others. Each message has an id, and a page that comes back
with its last one (Last-Event-ID) gets what it has missed. A page that is new names the id at which it was made
(?since=, from its own markup), so that it also gets what has changed after its panels' first answers. One thread looks for
all pages, and only while there is one: the workers are processes of their own, and write to their folders.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from llmdemo.access.people import Visitor
from llmdemo.core.sentences import pack
from llmdemo.jobs import ACTIVE, COMPLETED, Mark
from llmdemo.ui.authentication import of_request
from llmdemo.ui.event_streams import (
    EVERYBODYS,
    HEARTBEAT_SECONDS,
    PREFIX,
    EventStream,
    comes,
    end_of_app,
    event_number,
    last_event_id,
    numbered,
)
from llmdemo.ui.services import Services

EVERY_SECONDS = 0.8
"""Between two looks; a page learns of a change that much later, and is told no more often."""
_LINGER_SECONDS = 5.0
"""The looking goes on for so long without a page: one that is loaded anew finds it going."""
_MOST_BYTES = 256 * 2**10
_FIRST_IDS = 10**8
"""Ids begin anywhere below, so that one from before a restart, or from a guest's stream, is known to be none of these."""
_log = logging.getLogger(__name__)


class PageStream:
    """One for the app. `look` may be called from any thread; it tells all pages what has changed since the last."""

    def __init__(self, services: Services):
        self._services = services
        self._streams = {
            owner: EventStream(_MOST_BYTES, before=secrets.randbelow(_FIRST_IDS)) for owner in (True, False)
        }
        self._marks: dict[str, Mark] | None = None
        self._headers: dict[bool, dict] = {}
        self._lock, self._turning = threading.Lock(), threading.Lock()
        self._looks = False
        self._readers = 0
        self._left = 0.0

    def route(self) -> Route:
        return Route(PREFIX + EVERYBODYS, self._answer, methods=["GET"])

    def since(self, visitor: Visitor | None) -> int:
        """The id behind which a page that is made for this visitor now has to be told what changes."""
        try:
            if not self._looks:  # else the last look was a moment ago, and what has come since is behind it
                self.look()
        except Exception:  # the page can be shown all the same
            _log.exception("what goes on could not be looked for")
            return 0
        return self._streams[self._is_owner(visitor)].count

    def look(self) -> None:
        """Writes what has changed to the streams of owners and of guests."""
        with self._lock:
            before, now = self._marks, self._services.runs.jobs.marks()
            self._marks = now
            changed = [] if before is None else _changes(before, now)
            for owner, stream in self._streams.items():
                events = changed if owner else [event for event in changed if self._is_shown(event)]
                header = self._header(owner, changed)
                if header != self._headers.get(owner):
                    self._headers[owner] = header
                    events = [{"type": "header", **header}, *events]
                if events:
                    stream.add(pack(events))

    def _is_shown(self, event: dict) -> bool:
        return event["kind"] == "run" and self._services.runs.is_shown(event["job_id"])

    def _header(self, owner: bool, changed: list[dict]) -> dict:
        """What one line says of the app. The runs are asked about only where a job has changed."""
        services, known = self._services, self._headers.get(owner)
        finished = sum(mark.kind == "run" and mark.state == COMPLETED for mark in (self._marks or {}).values())
        facts: dict[str, Any] = {
            "starter": services.starter.progress(),
            "guests_only": services.guests_only,
            "finished": finished,
        }
        if known and not changed:
            return known | facts
        return facts | {
            "runs": _active(services) if owner else [],
            "evaluation": _evaluating(services) if owner else None,
        }

    # ---- a page reads

    def _is_owner(self, visitor: Visitor | None) -> bool:
        services = self._services
        return not services.guests_only and (not services.access.has_guests if visitor is None else visitor.is_owner)

    async def _answer(self, request: Request) -> StreamingResponse:
        visitor = of_request(request)
        owner = self._is_owner(visitor)
        who = {"policy": self._services.access.policy, "owner": owner, "name": visitor.name if visitor else ""}
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        last = last_event_id(request)
        number = last or event_number(request.query_params.get("since", ""))
        messages = self._messages(owner, who, number, end_of_app(request), is_new=not last)
        return StreamingResponse(messages, media_type="text/event-stream", headers=headers)

    async def _messages(
        self, owner: bool, who: dict, number: int, app_ends: asyncio.Event, is_new: bool = False
    ) -> AsyncIterator[bytes]:
        """The stream's messages behind the one with this number; 0 for a page that knows none. `is_new`: the page has had no
        message, so the first is the header whatever the number."""
        yield b": here\n\n"
        stream = self._streams[owner]
        self._readers += 1  # in the event loop's thread only
        try:
            with stream.reader(app_ends) as news:
                await asyncio.to_thread(self.look)
                self._keep_looking()
                known = bool(number) and stream.after(number) is not None
                if is_new or not known:
                    lost = [{"type": "job", "kind": "all", "job_id": "", "state": "", "at": 0}]
                    lost = lost if number and not known else []
                    number = number if known else stream.count
                    yield numbered(number, pack([{"type": "header", **self._headers[owner], **who}, *lost]))
                while not app_ends.is_set():
                    news.clear()
                    batches = stream.after(number)
                    if batches is None:  # too slow a reader begins anew, as the page comes again
                        return
                    for batch in batches:
                        number += 1
                        yield numbered(number, batch)
                    if not batches and not await comes(news, HEARTBEAT_SECONDS):
                        yield b": still here\n\n"
        finally:
            self._readers -= 1
            self._left = time.monotonic()

    def _keep_looking(self) -> None:
        with self._turning:
            if not self._looks:
                self._looks = True
                threading.Thread(target=self._look_on, daemon=True, name="page stream").start()

    def _look_on(self) -> None:
        while True:
            time.sleep(EVERY_SECONDS)
            with self._turning:
                unread = not self._readers and time.monotonic() - self._left > _LINGER_SECONDS
                if unread or self._services.runs.closed:
                    self._looks = False
                    return
            try:
                self.look()
            except Exception:  # such as a full disk: the next look may succeed
                _log.exception("what goes on could not be told")


def _changes(before: dict[str, Mark], now: dict[str, Mark]) -> list[dict]:
    gone = [(job_id, mark, "deleted") for job_id, mark in before.items() if job_id not in now]
    new = [(job_id, mark, mark.state) for job_id, mark in now.items() if before.get(job_id) != mark]
    return [
        {"type": "job", "kind": mark.kind, "job_id": job_id, "state": state, "at": mark.bytes}
        for job_id, mark, state in [*gone, *new]
    ]


def _active(services: Services) -> list[dict]:
    """The runs that are not over, each with what one line can say."""
    keys = ("run_id", "state", "step", "total_steps", "name")
    return [{key: run[key] for key in keys} for run in services.runs.list() if run["state"] in ACTIVE]


def _evaluating(services: Services) -> dict | None:
    """{"done", "total"} of the records that an evaluation on its way has asked in this "phase" (of the model "title"); None
    without one. Of a phase that has just begun, as a judge that is being loaded, total is 0."""
    for each in services.evaluations.list() if services.evaluations else []:
        if each["state"] == "running":
            known = {"done": 0, "total": 0, "phase": "", "title": ""} | each["progress"]
            return {key: known[key] for key in ("done", "total", "phase", "title")}
    return None
