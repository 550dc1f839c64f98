"""Gradio's queue, made fair: turns go round the visitors, and who leaves is gone at once. Knows no panel.

Gradio serves first come, first served, so that one visitor's forty requests would be served before the next visitor's
first. Here `queue` is kept in fair order (public/turns.py), which is also the order in which Gradio tells everybody
their place. A request for which there is no room is refused with HTTP 503 and a sentence that names the limit.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gradio.context import LocalContext
from gradio.queueing import Event, Queue

from llmdemo.access.fair_turns import MOST_OF_ADDRESS, fair_order
from llmdemo.access.sessions import Sessions
from llmdemo.core.sentences import in_language, say
from llmdemo.settings import Settings
from llmdemo.ui import authentication
from llmdemo.ui.chosen_language import language_of

_SHARE_OF_ONE = 10
"""One visitor may have a tenth of the queue's places, one address half of them."""
BATCHES, MOST_BATCHES = "batches", 16
"""The kind of work (Gradio's concurrency_id) that asks for many prompts, and how many are under way at once. They take
turns prompt by prompt (arena/batch_turns.py), so that one that has begun does not keep the next from beginning."""
_MOST_REMEMBERED = 4096
_LOOK_SECONDS, _IDLE_LOOK_SECONDS = 0.001, 0.02
"""Between two looks into the queue. Gradio's thousandth of a second takes 7 % of a core, also while nobody is there."""
_LOOK_PROGRESS_SECONDS = 0.5
"""Between two looks for what gr.Progress told, which no handler here uses. Gradio's hundredth takes 1.5 % of a core."""
_AWAKE_SECONDS = 1.0
UNREAD_SECONDS = 30.0
"""How long a guest's request goes on while nobody reads what comes of it: a script first posts, then reads."""
_LOOK_UNREAD_SECONDS = 1.0
_leavers: dict[str, Callable[[], None]] = {}


@contextmanager
def when_gone(act: Callable[[], None]) -> Iterator[None]:
    """Inside a handler: `act` is called as soon as the page or script that waits for this event has gone."""
    event_id = LocalContext.event_id.get(None)
    if event_id is None:
        yield
        return
    _leavers[event_id] = act
    try:
        yield
    finally:
        _leavers.pop(event_id, None)


class FairQueue(Queue):
    """One for a page; `install` puts it in the place of Gradio's."""

    def __init__(self, settings: Settings, sessions: Sessions | None = None, reserve: bool = True, **options):
        self._awake_until = self._looked = 0.0
        self._sessions, self._reserve = sessions or Sessions(), reserve
        super().__init__(**options)
        self.progress_update_sleep_when_free = _LOOK_PROGRESS_SECONDS
        self._served: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._settings = settings

    @classmethod
    def install(cls, page, settings: Settings, sessions: Sessions | None = None, reserve: bool = True) -> None:
        """Gives `page` a fair queue with the limits of `settings`.

        `sessions` learns whose each event is; with `reserve` a share of the places is kept for owners.
        """
        # api_open: Gradio's older routes would run a handler at once, past the queue and everybody in it.
        # max_size: `_refusal` is stricter, but for newcomers.
        page.queue(default_concurrency_limit=4, max_size=2 * settings.max_waiting, api_open=False)
        page._queue = cls(
            settings,
            sessions,
            reserve,
            live_updates=True,
            concurrency_count=page.max_threads,
            update_intervals=1,
            max_size=2 * settings.max_waiting,
            blocks=page,
            default_concurrency_limit=4,
        )

    @property
    def sleep_when_free(self) -> float:
        """How long Gradio's loop sleeps before it looks again."""
        return _LOOK_SECONDS if len(self) or time.monotonic() < self._awake_until else _IDLE_LOOK_SECONDS

    @sleep_when_free.setter
    def sleep_when_free(self, seconds: float) -> None:
        pass  # Gradio's own number

    async def push(self, body, request, username):
        """Takes a request into the queue, or says (False, why, "queue_full")."""
        refusal = self._refusal(body, request)
        if refusal:
            self._remember(self._refused, _run_id(body), refusal)
            return False, in_language(refusal, language_of(getattr(request, "headers", {}))), "queue_full"
        asleep = time.monotonic() >= self._awake_until
        self._awake_until = time.monotonic() + _AWAKE_SECONDS
        taken = await super().push(body, request, username)
        if taken[0]:
            visitor = authentication.of_request(request)
            assert isinstance(taken[1], str), "of a request that was taken, Gradio tells the event's id"
            self._sessions.claim(taken[1], visitor.identity if visitor else "")
        if asleep:  # what is served at once shall not count as waiting
            await asyncio.sleep(_IDLE_LOOK_SECONDS)
        self._forget_ended()
        return taken

    def broadcast_estimations(self, concurrency_id, after=None) -> None:
        """Tells everybody their place; a newcomer may stand before those who came earlier."""
        self._arrange(concurrency_id)
        super().broadcast_estimations(concurrency_id)

    def get_events(self):
        """The next to be served, of a kind that has a free place, and one for who asks."""
        self._drop_unread()
        aside = {}
        for kind, waiting in self.event_queue_per_concurrency_id.items():
            free = waiting.concurrency_limit is None or waiting.current_concurrency < waiting.concurrency_limit
            if not waiting.queue or not free:
                continue
            self._arrange(kind)
            may = self._eligible(kind, waiting.concurrency_limit)
            aside[kind] = list(waiting.queue)
            waiting.queue[:] = may
        chosen = super().get_events()
        taken = {id(event) for event in (chosen[0] if chosen else ())}
        for kind, before in aside.items():
            queue = self.event_queue_per_concurrency_id[kind].queue
            queue[:] = [event for event in before if id(event) not in taken]
        for event in chosen[0] if chosen else ():
            self._remember(self._served, who(event), time.monotonic())
        return chosen

    def _eligible(self, kind: str, limit: int | None) -> list[Event]:
        """What waits for this kind of work and may have a place now, in order.

        Of more than one place owners keep one; one guest has half, of batches' places one, and one address half of them.
        What nobody reads yet begins only while nothing that is read waits or runs, whatever its kind, and by itself: a
        script that posts and never reads would else have the engine work for it for `UNREAD_SECONDS` each time.
        """
        running = [event for event in self._running() if event.concurrency_id == kind and _is_guests(event)]
        waiting = self._within_shares(kind, limit, running)
        if limit is None:
            return waiting
        read = [event for event in waiting if not self._is_unread(event)]
        return waiting if not read and self._is_idle(limit > 1) else read

    def _is_idle(self, alone: bool) -> bool:
        """Whether nothing that somebody reads waits or runs; with `alone`, nothing unread runs either."""
        waiting = [event for kind in self.event_queue_per_concurrency_id.values() for event in kind.queue]
        return all(map(self._is_unread, [*waiting, *self._running()])) and not (alone and self._running())

    def _is_unread(self, event: Event) -> bool:
        return _is_guests(event) and not math.isinf(self._unread_since(event))

    def _within_shares(self, kind: str, limit: int | None, running: list[Event]) -> list[Event]:
        """What waits and is within the shares of its visitor and address; `running` are guests' events of this kind."""
        waiting = self.event_queue_per_concurrency_id[kind].queue
        if limit is None or limit < 2:
            return list(waiting)
        full = len(running) >= limit - (1 if self._reserve else 0)
        busy, places = Counter(map(who, running)), Counter(map(_address, running))
        of_guest, of_address = (1, limit // 2) if kind == BATCHES else (limit // 2, limit)

        def may(event: Event) -> bool:
            if not _is_guests(event):
                return True
            return not (full or busy[who(event)] >= of_guest or places[_address(event)] >= of_address)

        return list(filter(may, waiting))

    def _drop_unread(self) -> None:
        """Ends guests' events that nobody reads: they would hold their place, and their results the memory."""
        now = time.monotonic()
        if now - self._looked < _LOOK_UNREAD_SECONDS:
            return
        self._looked = now
        waiting = [event for kind in self.event_queue_per_concurrency_id.values() for event in kind.queue]
        for event in [*waiting, *self._running()]:
            if event.alive and _is_guests(event) and now - self._unread_since(event) > UNREAD_SECONDS:
                task = asyncio.get_running_loop().create_task(self._drop(event))
                self._asyncio_tasks.add(task)
                task.add_done_callback(self._asyncio_tasks.discard)

    def _unread_since(self, event: Event) -> float:
        names = {event._id, event.session_hash, _run_id(event.data) or event._id}
        return max(event.enqueue_time, *map(self._sessions.unread_since, names))

    async def _drop(self, event: Event) -> None:
        await self.clean_events(event_id=event._id)
        self.pending_event_ids_session.get(event.session_hash, set()).discard(event._id)
        if not self.pending_event_ids_session.get(event.session_hash):
            self.pending_event_ids_session.pop(event.session_hash, None)
            self.pending_messages_per_session.pop(event.session_hash, None)

    async def clean_events(self, *, session_hash=None, event_id=None) -> None:
        """A page or a script has gone: what waited for it leaves the queue, what runs for it is told."""
        await super().clean_events(session_hash=session_hash, event_id=event_id)
        for event in self._running():
            if not event.alive and (act := _leavers.pop(event._id, None)):
                act()

    def standing(self, run_id: str) -> dict:
        """Of the page's event that carries this run_id: {"place", "waiting"} while it waits, 1 being the next;
        {"running": True} while it runs; {"refused": why} when there was no room for it; {} when it has ended or is
        unknown."""
        if run_id in self._refused:
            return {"refused": self._refused[run_id]}
        if any(_run_id(event.data) == run_id for event in self._running()):
            return {"running": True}
        for waiting in self.event_queue_per_concurrency_id.values():
            for place, event in enumerate(waiting.queue, 1):
                if _run_id(event.data) == run_id:
                    return {"place": place, "waiting": len(waiting.queue)}
        return {}

    def compute_analytics_summary(self, records):
        """Nobody may see it (/monitoring is closed), and it costs a data frame of all requests after each."""
        self.event_analytics.clear()
        return self.cached_event_analytics_summary

    def _arrange(self, kind: str) -> None:
        waiting = self.event_queue_per_concurrency_id[kind]
        running = [event for event in self._running() if event.concurrency_id == kind]
        busy, places = [who(event) for event in running], [_guests_address(event) for event in running]
        waiting.queue[:] = fair_order(waiting.queue, who, busy, self._served, _guests_address, places)

    @staticmethod
    def _remember(known: dict, key: str, value) -> None:
        """The latest last; the oldest are forgotten."""
        known.pop(key, None)
        known[key] = value
        while len(known) > _MOST_REMEMBERED:
            del known[next(iter(known))]

    def _running(self) -> list[Event]:
        return [event for job in self.active_jobs if job for event in job]

    def _refusal(self, body, request) -> str:
        """Why there is no room for this request; "" if there is some.

        A guest whose address has few requests waiting finds room as long as the addresses that fill the queue are few:
        what one address has beyond `MOST_OF_ADDRESS` does not count then.
        """
        most = self._settings.max_waiting
        visitor = authentication.of_request(request)
        mine, address = _name(visitor, body.session_hash), visitor.address if visitor else ""
        waiting = [event for queue in self.event_queue_per_concurrency_id.values() for event in queue.queue]
        of_address = Counter(map(_address, filter(_is_guests, waiting)))
        of_guests, guests = of_address.total(), visitor is not None and not visitor.is_owner
        share = most - (most // _SHARE_OF_ONE if self._reserve else 0)
        if not guests:
            counted, room = len(waiting) - of_guests + min(of_guests, share), most
        elif of_address[address] < MOST_OF_ADDRESS:
            counted = len(waiting) - of_guests + sum(min(number, MOST_OF_ADDRESS) for number in of_address.values())
            room = share
        else:
            counted, room = len(waiting), share
        if counted >= room:
            return say("http_queue_full", n=len(waiting), most=most)
        if not guests:
            return ""
        if sum(who(event) == mine for event in waiting) >= max(1, most // _SHARE_OF_ONE):
            return say("http_queue_yours", n=most // _SHARE_OF_ONE)
        if sum(_address(event) == address for event in waiting) >= max(1, most // 2):
            return say("http_queue_address")
        return ""

    def _forget_ended(self) -> None:
        """Gradio keeps an empty set for each session that ever asked."""
        if len(self.pending_event_ids_session) > _MOST_REMEMBERED:
            for session in [key for key, events in self.pending_event_ids_session.items() if not events]:
                del self.pending_event_ids_session[session]


def standing_in(app, run_id: str) -> dict:
    """FairQueue.standing in the queue of Gradio's app."""
    queue = app.get_blocks()._queue
    return queue.standing(run_id) if isinstance(queue, FairQueue) else {}


def _run_id(body) -> str:
    """The run_id that an island sends along with its event."""
    data = getattr(body, "event_data", None)
    return str(data.get("run_id") or "") if isinstance(data, dict) else ""


def who(event: Event) -> str:
    """The visitor of an event: the account or cookie; scripts without either are one, by their address."""
    return _name(authentication.of_request(event.request), event.session_hash)


def _name(visitor, session_hash: str | None) -> str:
    if visitor is None:
        return f"session {session_hash}"
    return visitor.key or f"address {visitor.address}"


def _is_guests(event: Event) -> bool:
    visitor = authentication.of_request(event.request)
    return visitor is not None and not visitor.is_owner


def _address(event: Event) -> str:
    visitor = authentication.of_request(event.request)
    return visitor.address if visitor else ""


def _guests_address(event: Event) -> str:
    """The address that a guest's turns count for; "" for an owner, who is known by name."""
    visitor = authentication.of_request(event.request)
    return "" if visitor is None or visitor.is_owner else visitor.address
