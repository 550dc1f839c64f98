"""Watches over jobs: launches the next one, sees how each goes on, stops it, says how it ended.

One object a home folder does this at a time (see lock.py). It keeps nothing that matters in memory, so
that another one can go on where it left off. Knows nothing of what a worker does, nor of pages.
"""

import contextlib
import logging
import secrets
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from llmdemo.access.disk_quota import reached
from llmdemo.core.errors import UserError, is_disk_full
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, free_bytes, sweep
from llmdemo.jobs import log as logs
from llmdemo.jobs import process
from llmdemo.jobs.diagnosis import diagnose, oom_kills_so_far
from llmdemo.jobs.digest import End
from llmdemo.jobs.environment import worker_environment
from llmdemo.jobs.folder import Config, JobFolder, Launched
from llmdemo.jobs.kinds import Kind
from llmdemo.jobs.reader import Reader, Readers
from llmdemo.jobs.states import (
    ASKING,
    BAD_CONFIG,
    DISK_FULL,
    FAILED,
    KILLING,
    QUEUED,
    RUNNING,
    STARTING,
    STOP_PHASES,
    STOPPED,
    STOPPING,
    TERMINATING,
    WORKER_ERROR,
)
from llmdemo.jobs.table import IllegalTransition, Job, Table
from llmdemo.jobs.turns import LIMITS_SECONDS, Turns
from llmdemo.settings import Settings

Launcher = Callable[[list[str], Path, dict[str, str], Path, str, str], tuple[int, str]]
"""process.launch, or what a test has in its place."""
MOST_LOG_BYTES = 4 * 2**20
_GROUP_SECONDS = 2.0
_GROUP_SHARE = 0.01  # of the time, at most, goes into looking for members
_ADOPT_SECONDS = 2.0
_LEFTOVER_SECONDS = 2.0
_MOST_COMPLAINTS = 50
log = logging.getLogger(__name__)


@dataclass
class _Watch:
    """What is known of one job between two looks."""

    since: float = field(default_factory=time.monotonic)
    before: float = 0.0
    """Seconds that it had gone on before this app watched it. The clock is asked for these alone: it may be set."""
    members: dict[int, str] = field(default_factory=dict)
    next_group: float = 0.0
    next_limits: float = 0.0
    next_advance: float = 0.0
    limit: str = ""
    """The limit that has stopped it."""
    phase: str = ""
    deadline: float = 0.0
    leave_by: float | None = None
    oom_kills: int = field(default_factory=oom_kills_so_far)


class Supervisor:
    """`tick` does all there is to do now. Only the holder of the home folder's lock may call it.

    `kinds` by name are those that it watches; `secrets` by job id are passed on to their workers, once.
    """

    def __init__(self, home: Home, settings: Settings, table: Table, readers: Readers, launch: Launcher):
        self._home, self._settings, self._table, self._readers = home, settings, table, readers
        self._start_process = launch
        self.kinds: dict[str, Kind] = {}
        self.secrets: dict[str, str] = {}
        self._watches: dict[str, _Watch] = {}
        self._turns = Turns(home, settings, table)
        self._complaints: set[str] = set()  # so as not to say them four times a second

    def tick(self) -> bool:
        """One look at every job that may have a process, then the queues; True while there is something to watch."""
        kinds = dict(self.kinds)
        for job in self._table.alive(*kinds):
            self._guarded(self._look, job)
        for kind in kinds.values():
            self._guarded(self._launch_next, kind)
        return self._table.unfinished(*kinds) > 0

    def _guarded(self, act: Callable[..., object], *args: object) -> None:
        """One job's trouble must not keep the others unwatched; what failed is tried again at the next look."""
        try:
            act(*args)
        except IllegalTransition:
            return  # it changed meanwhile: the next look sees how
        except (OSError, sqlite3.OperationalError, UserError) as error:  # a full disk, say
            if self._is_news(error):
                log.warning("watching over the jobs: %s", error)
        except Exception as error:
            if self._is_news(error):
                log.exception("watching over the jobs")

    def _is_news(self, error: Exception) -> bool:
        known, said = self._complaints, f"{type(error).__name__} {error}"
        if said in known:
            return False
        if len(known) >= _MOST_COMPLAINTS:
            known.clear()
        known.add(said)
        return True

    # -- the queues

    def _launch_next(self, kind: Kind) -> None:
        for job in self._table.queue(kind.name):
            try:
                if self._turns.waits(kind, job):
                    continue
                devices = self._turns.devices(job, self.kinds)
                if devices is None or not self._turns.has_space(kind, job):
                    return
                self._launch(kind, job, devices)
            except IllegalTransition:
                continue  # cancelled or moved meanwhile
            except (OSError, sqlite3.Error):
                raise  # nothing is wrong with this job: it is tried again
            except UserError as error:
                self._give_up(job, End(FAILED, BAD_CONFIG, error.message, error.hint))
            except Exception as error:  # a job that cannot be begun must not keep those behind it waiting
                log.exception("%s cannot be begun", job.job_id)
                what = say("end_not_started", noun=kind.noun, reason=type(error).__name__)
                self._give_up(job, End(FAILED, WORKER_ERROR, what, kind.resume_hint))

    def _give_up(self, job: Job, end: End) -> None:
        with contextlib.suppress(IllegalTransition):  # it has begun after all, and is watched like any other
            why = {"reason": end.reason, "message": end.message, "hint": end.hint}
            self._table.move(job.job_id, FAILED, only_from=(QUEUED,), **why)
            self._folder(job).note_end(end)

    def _launch(self, kind: Kind, job: Job, devices: list[str]) -> None:
        folder, token = self._folder(job), secrets.token_hex(16)
        job = self._table.move(job.job_id, STARTING, only_from=(QUEUED,), token=token, attempt=job.attempt + 1)
        self._watches[job.job_id] = _Watch()
        self._guarded(sweep, self._home.tmp)  # a checkpoint that was being written when its run was killed is large
        known: Launched = {"attempt": job.attempt, "token": token, "devices": devices}
        try:
            # In this order, a crash at any point leaves a process that can be found by its token.
            folder.write_process(known)
            if kind.command is None:
                folder.note("launch", attempt=job.attempt)
                folder.note("start")
                return
            logs.begin_attempt(folder.log, job.attempt)
            folder.note("launch", attempt=job.attempt)
            config = folder.config()
            every = worker_environment(self._home.root, None, devices, kind.processes(config))
            env = {**kind.environment(config), **every}
            argv, secret = kind.command(folder.path, config), self.secrets.pop(job.job_id, "")
            pid, identity = self._start_process(argv, folder.path, env, folder.log, token, secret)
        except (OSError, UserError, ValueError, TypeError) as error:
            self._finish(job, _not_launched(kind, error), told=False)
            return
        self._table.set(job.job_id, pid=pid, identity=identity)
        folder.write_process({**known, "pid": pid, "identity": identity})

    # -- one job

    def _look(self, job: Job) -> None:
        kind, watch = self.kinds[job.kind], self._watch(job)
        if kind.advance:
            self._advance(kind, job, watch)
            return
        self._guarded(logs.trim, self._folder(job).log, MOST_LOG_BYTES)
        if not job.pid:
            adopted = self._adopt(job, watch)
            if adopted is None:
                return
            job = adopted
        alive = process.is_alive(job.pid, job.identity)  # before the events: the end event comes first
        with self._reader(job).digest() as digest:
            started, end, worker = digest.started, digest.end, digest.worker_pid
        if job.state == STARTING and started:
            job = self._table.move(job.job_id, RUNNING, only_from=(STARTING,))
        if job.state == STOPPING:
            self._stop(job, watch, end)
        elif not end and (alive or self._goes_on_without_launcher(job, watch, worker)):
            self._keep_group(job, watch)
            self._keep_limits(kind, job, watch)
        elif self._all_gone(job, watch, at_once=not end):
            self._finish(job, end)

    def _advance(self, kind: Kind, job: Job, watch: _Watch) -> None:
        """One that has no process: its work is done here. A kill in between is no harm, as it is written down first."""
        assert kind.advance is not None
        if job.state == STARTING:
            job = self._table.move(job.job_id, RUNNING, only_from=(STARTING,))
        if time.monotonic() < watch.next_advance:
            return
        watch.next_advance = time.monotonic() + kind.every
        if end := kind.advance(self._folder(job), job.state == STOPPING):
            self._finish(job, end, told=False)

    def _watch(self, job: Job) -> _Watch:
        if job.job_id not in self._watches:  # launched by an app that was here before
            begun = [entry["t"] for entry in self._table.transitions(job.job_id) if entry["state"] == STARTING]
            before = max(0.0, time.time() - begun[-1]) if begun else 0.0
            members = self._folder(job).process().get("members", {})
            self._watches[job.job_id] = _Watch(members=members, before=before)
        return self._watches[job.job_id]

    def _adopt(self, job: Job, watch: _Watch) -> Job | None:
        """Finds the process of a job whose launcher (an app) died before it noted the pid; None: look again."""
        members = process.group(None, "", job.token, watch.members)
        if members:
            return self._watch_instead(job, process.eldest(members), members)
        with self._reader(job).digest() as digest:
            ended = digest.end is not None
        return job if ended or time.monotonic() - watch.since > _ADOPT_SECONDS else None

    def _goes_on_without_launcher(self, job: Job, watch: _Watch, worker: int | None) -> bool:
        """True if only the launcher is gone: the worker, known from its start event, works on and is watched itself."""
        members = self._group(job, watch) if worker and worker != job.pid else {}
        if worker is None or worker not in members:
            return False
        log.warning("%s: its launcher (%s) is gone, its worker (%s) goes on", job.job_id, job.pid, worker)
        process.forget(job.pid)
        watch.members = members
        self._watch_instead(job, worker, members)
        return True

    def _watch_instead(self, job: Job, pid: int, members: dict[int, str]) -> Job:
        """The job with another one of its processes as the one that is watched."""
        job = replace(job, pid=pid, identity=members[pid])
        self._table.set(job.job_id, pid=pid, identity=job.identity)
        self._write_group(job, members)
        return job

    def _keep_group(self, job: Job, watch: _Watch) -> None:
        """Notes who belongs to the job, for the day when one of them hides."""
        now = time.monotonic()
        if now < watch.next_group:
            return
        members = self._group(job, watch)
        watch.next_group = now + max(_GROUP_SECONDS, (time.monotonic() - now) / _GROUP_SHARE)
        if members != watch.members:
            watch.members = members
            self._write_group(self._table.get(job.job_id) or job, members)

    def _keep_limits(self, kind: Kind, job: Job, watch: _Watch) -> None:
        """Stops a job that takes longer or more room than is allowed; it can be resumed."""
        now = time.monotonic()
        if job.state != RUNNING or now < watch.next_limits or not kind.disk_need:
            return
        watch.next_limits = now + LIMITS_SECONDS
        watch.limit = reached(self._home, self._settings, watch.before + now - watch.since if kind.timed else 0.0)
        if watch.limit:
            self._table.move(job.job_id, STOPPING, only_from=(RUNNING,), stop_phase=ASKING)

    def _write_group(self, job: Job, members: dict[int, str]) -> None:
        known = self._folder(job).process()
        known |= {"attempt": job.attempt, "token": job.token, "identity": job.identity, "members": members}
        self._folder(job).write_process(known | {"pid": job.pid} if job.pid else known)

    def _group(self, job: Job, watch: _Watch) -> dict[int, str]:
        return process.group(job.pid, job.identity, job.token, watch.members)

    def _all_gone(self, job: Job, watch: _Watch, at_once: bool) -> bool:
        """True when no process of the job is left; those that stay too long after the end are killed."""
        members = self._group(job, watch)
        if not members:
            return True
        now = time.monotonic()
        if watch.leave_by is None:
            launcher = job.pid in members
            grace = self._settings.term_grace_seconds if launcher else _LEFTOVER_SECONDS
            watch.leave_by = now + (0 if at_once else grace)
        if now >= watch.leave_by:
            process.send(members, signal.SIGKILL)
        return False

    # -- stop

    def _stop(self, job: Job, watch: _Watch, end: End | None) -> None:
        """Asks, then terminates, then kills; each phase has its time, and the last goes on until nobody is left."""
        members = self._group(job, watch)
        watch.members |= members
        if not members:
            self._finish(job, end)
            return
        now = time.monotonic()
        if not watch.phase:
            self._enter(job, watch, job.stop_phase if job.stop_phase in STOP_PHASES else ASKING, members)
        elif now >= watch.deadline and watch.phase != KILLING:
            self._enter(job, watch, STOP_PHASES[STOP_PHASES.index(watch.phase) + 1], members)
        elif watch.phase == KILLING:
            process.send(members, signal.SIGKILL)

    def _enter(self, job: Job, watch: _Watch, phase: str, members: dict[int, str]) -> None:
        grace = {
            ASKING: min(self._settings.stop_grace_seconds, self.kinds[job.kind].grace),
            TERMINATING: self._settings.term_grace_seconds,
            KILLING: 0.0,
        }
        watch.phase, watch.deadline = phase, time.monotonic() + grace[phase]
        if phase == ASKING:
            self._folder(job).stop.touch()
        else:
            process.send(members, signal.SIGTERM if phase == TERMINATING else signal.SIGKILL)
        self._table.set(job.job_id, stop_phase=phase, stop_deadline=watch.deadline)

    # -- the end

    def _finish(self, job: Job, end: End | None, told: bool = True) -> None:
        """No process is left: notes how it ended, in the folder (unless its worker has `told` it) and in the table."""
        folder, kind = self._folder(job), self.kinds[job.kind]
        if end is None:
            end = self._last_word(kind, job)
        if end is None:
            end, told = self._end_of_silent(kind, job), False
        if not told:
            self._note_end(folder, end)
        if end.state == STOPPED and (watch := self._watches.get(job.job_id)) and watch.limit:
            end = replace(end, message=say("end_limit", limit=watch.limit), hint=kind.resume_hint)
        folder.stop.unlink(missing_ok=True)
        with self._reader(job).digest() as digest:
            figures = digest.status()
        values = asdict(end)
        self._table.move(job.job_id, values.pop("state"), **values, digest=figures)
        process.forget(job.pid)
        self._watches.pop(job.job_id, None)

    def _note_end(self, folder: JobFolder, end: End) -> None:
        """Adds the end event that the worker could not write; on a full disk the reserve makes room for it."""
        for last_try in (False, True):
            try:
                folder.note_end(end)
                return
            except OSError as error:
                if is_disk_full(error):
                    self._table.spend_reserve()
                if last_try:
                    log.warning("%s: its end is not in its events: %s", folder.id, error)

    def _last_word(self, kind: Kind, job: Job) -> End | None:
        """The end event, if all that it lacks is the end of its line: the worker was killed just then."""
        try:
            self._folder(job).end_line()
            kind.take_over(self._folder(job))  # a worker of an earlier version says it in its own way
        except (OSError, UserError) as error:
            log.warning("%s: %s", job.job_id, error)
        with self._reader(job).digest() as digest:
            return digest.end

    def _end_of_silent(self, kind: Kind, job: Job) -> End:
        if job.state == STOPPING and (job.stop_phase != ASKING or not job.pid):
            message = say("end_by_force") if job.pid else say("end_before_it_began")
            return End(STOPPED, "", message, kind.resume_hint)
        kills = oom_kills_so_far() - self._watch(job).oom_kills
        status = process.exit_status(job.pid) if job.pid else None
        with self._reader(job).digest() as digest:
            advice = kind.memory_advice(digest, self._config(job)) if kind.memory_advice else None
        words = {"noun": kind.noun, "resume": kind.resume_hint}
        last = logs.last_attempt(self._folder(job).log)
        return diagnose(status, last, kills, free_bytes(self._home.root), advice=advice, **words)

    def _config(self, job: Job) -> Config:
        try:
            return self._folder(job).config()
        except UserError:
            return {}

    def _folder(self, job: Job) -> JobFolder:
        return self.kinds[job.kind].job_folder(self._home.root, job.job_id)

    def _reader(self, job: Job) -> Reader:
        return self._readers.of(self._folder(job).path, self.kinds[job.kind].digest)


def _not_launched(kind: Kind, error: Exception) -> End:
    if isinstance(error, UserError):
        return End(FAILED, WORKER_ERROR, error.message, error.hint)
    full = is_disk_full(error)
    hint = say("hint_free_and_resume" if full else "hint_start_programs", noun=kind.noun)
    what = say("end_not_started", noun=kind.noun, reason=getattr(error, "strerror", None) or error)
    return End(FAILED, DISK_FULL if full else WORKER_ERROR, what, hint)
