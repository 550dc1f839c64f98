"""A job's status as one object, and its events as a stream. Knows nothing of how they are found out."""

import json
import time
from collections.abc import Callable
from typing import Any, TypedDict

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say, unpack
from llmdemo.jobs.folder import JobFolder
from llmdemo.jobs.kinds import Kind
from llmdemo.jobs.reader import Reader
from llmdemo.jobs.states import ALIVE, COMPLETED, FAILED, QUEUED, STARTING, STOPPED, STOPPING
from llmdemo.jobs.table import Job


class JobStatus(TypedDict):
    """Ready for JSON. None stands for what is not known."""

    job_id: str
    kind: str
    name: str
    state: str
    """queued, starting, running, stopping, completed, stopped or failed."""
    reason: str
    """One of states.REASONS for a failed one, else ""."""
    message: str
    hint: str
    created: float
    """Seconds since the epoch."""
    attempt: int
    imported: bool
    """Came from another installation."""
    queue_position: int | None
    """1 is next among its kind."""
    stop_phase: str | None
    """asking, terminating or killing."""
    stop_seconds_left: float | None
    quiet_seconds: float | None
    """Since the last word of a live job."""
    can_stop: bool
    can_resume: bool
    can_delete: bool
    figures: dict[str, Any]
    """What its kind's digest shows: phase, progress, eta_seconds, notes, and the kind's own."""


def status_of(kind: Kind, job: Job, folder: JobFolder, reader_of: Callable[[], Reader], queue: list[str]) -> JobStatus:
    """The status of a job; `queue`: the ids of the waiting ones of its kind, in order.

    `reader_of()` is called only for one that may have a process: what others have to show is in the table.
    """
    state, reader = job.state, None
    if state in ALIVE:
        reader = reader_of()
        with reader.digest() as digest:
            figures = digest.status()
        if state == STOPPING:
            figures |= {"progress": _without_rest(figures.get("progress")), "eta_seconds": None}
    else:
        figures = unpack(json.loads(job.digest)) if job.digest else kind.digest().status()
    place = queue.index(job.job_id) + 1 if job.job_id in queue else None
    said = {QUEUED: _queue_message(place), STARTING: kind.starting, STOPPING: kind.stopping}
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "name": job.name,
        "state": state,
        "reason": job.reason,
        "message": job.message or said.get(state, ""),
        "hint": job.hint,
        "created": job.created,
        "attempt": job.attempt,
        "imported": bool(job.imported),
        "queue_position": place,
        "stop_phase": job.stop_phase or None,
        "stop_seconds_left": _seconds_left(job),
        "quiet_seconds": round(reader.seconds_quiet(), 1) if reader else None,
        "can_stop": state in (QUEUED, *ALIVE) and state != STOPPING,
        "can_resume": _can_resume(kind, job, folder),
        "can_delete": state not in ALIVE,
        "figures": figures,
    }


def _without_rest(progress: Any) -> Any:
    """A progress without the time that is left: it is that of the whole, which a job that stops will not do."""
    return {**progress, "eta_seconds": None} if isinstance(progress, dict) and "eta_seconds" in progress else progress


def _can_resume(kind: Kind, job: Job, folder: JobFolder) -> bool:
    if job.state not in (STOPPED, FAILED) and not (kind.repeats and job.state == COMPLETED):
        return False
    try:
        kind.check_resume(folder, bool(job.imported))
    except UserError:
        return False
    return True


def _queue_message(place: int | None) -> str:
    return say("job_next") if place == 1 else say("job_waits_turn", n=(place or 1) - 1)


def _seconds_left(job: Job) -> float | None:
    if job.stop_deadline is None or not job.stop_phase:
        return None
    return round(min(3600.0, max(0.0, job.stop_deadline - time.monotonic())), 1)
