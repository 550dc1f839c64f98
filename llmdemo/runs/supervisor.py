"""Watches over runs: launches the next one, sees how each goes on, stops it, says how it ended.

One object a home folder does this at a time (see lock.py). It keeps nothing that matters in memory, so
that another one can go on where it left off. Knows nothing of what a worker does, nor of pages.
"""

import contextlib
import errno
import logging
import secrets
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmdemo.errors import UserError
from llmdemo.public.quota import reached
from llmdemo.runs import logfile, process
from llmdemo.runs.command import at_once, free_gpus, gpus, processes, worker_environment
from llmdemo.runs.folder import RunFolder
from llmdemo.runs.reader import Readers
from llmdemo.runs.states import (
    ASKING,
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
from llmdemo.runs.table import IllegalTransition, Table
from llmdemo.runs.verdict import RESUME_HINT, Verdict, judge, oom_kills_so_far
from llmdemo.settings import Settings
from llmdemo.store import Home, free_bytes, sweep

MOST_LOG_BYTES = 4 * 2**20
_FAMILY_SECONDS = 2.0
_FAMILY_SHARE = 0.01  # of the time, at most, goes into looking for members
_LIMITS_SECONDS = 5.0
_ADOPT_SECONDS = 2.0
_LEFTOVER_SECONDS = 2.0
_MOST_COMPLAINTS = 50
log = logging.getLogger(__name__)


@dataclass
class _Watch:
    """What is known of one run between two looks."""

    since: float = field(default_factory=time.monotonic)
    before: float = 0.0
    """Seconds that it had gone on before this app watched it. The clock is asked for these alone: it may be set."""
    members: dict[int, str] = field(default_factory=dict)
    next_family: float = 0.0
    next_limits: float = 0.0
    limit: str = ""
    """The limit that has stopped it."""
    phase: str = ""
    deadline: float = 0.0
    leave_by: float | None = None
    oom_kills: int = field(default_factory=oom_kills_so_far)


class Supervisor:
    """`tick` does all there is to do now. Only the holder of the home folder's lock may call it."""

    def __init__(
        self, home: Home, settings: Settings, table: Table, readers: Readers, command: Callable[[Path, dict], list[str]]
    ):
        self._home, self._settings, self._table, self._readers, self._command = home, settings, table, readers, command
        self._watches: dict[str, _Watch] = {}
        self._quota, self._next_quota = "", 0.0
        self._complaints: set[str] = set()  # so as not to say them four times a second

    def tick(self) -> bool:
        """One look at every run that may have a process, then the queue; True while there is something to watch."""
        for row in self._table.alive():
            self._guarded(self._look, row)
        self._guarded(self._launch_next)
        return self._table.unfinished() > 0

    def _guarded(self, act: Callable, *args) -> None:
        """One run's trouble must not keep the others unwatched; what failed is tried again at the next look."""
        try:
            act(*args)
        except IllegalTransition:
            return  # it changed meanwhile: the next look sees how
        except (OSError, sqlite3.OperationalError) as error:  # a full disk, say
            if self._is_news(error):
                log.warning("watching over the runs: %s", error)
        except Exception as error:
            if self._is_news(error):
                log.exception("watching over the runs")

    def _is_news(self, error: Exception) -> bool:
        known, said = self._complaints, f"{type(error).__name__} {error}"
        if said in known:
            return False
        if len(known) >= _MOST_COMPLAINTS:
            known.clear()
        known.add(said)
        return True

    # -- the queue

    def _launch_next(self) -> None:
        while queue := self._table.queue():
            try:
                devices = self._devices_for(queue[0])
                if devices is None or not self._has_space(queue[0]):
                    return
                self._launch(queue[0], devices)
            except IllegalTransition:
                continue  # cancelled or moved meanwhile
            except (OSError, sqlite3.OperationalError):
                raise  # nothing is wrong with this run: it is tried again
            except Exception as error:  # a run that cannot be begun must not keep those behind it waiting
                log.exception("run %s cannot be begun", queue[0]["run_id"])
                self._give_up(queue[0], error)

    def _give_up(self, row: dict, error: Exception) -> None:
        with contextlib.suppress(IllegalTransition):  # it has begun after all, and is watched like any other
            why = {"message": f"The run could not be started ({type(error).__name__}).", "hint": RESUME_HINT}
            self._table.move(row["run_id"], FAILED, only_from=(QUEUED,), reason=WORKER_ERROR, **why)

    def _devices_for(self, row: dict) -> list[str] | None:
        """The GPUs for this run ([]: those that there are); None while it has to wait for others to end."""
        alive, most, there = self._table.alive(), self._settings.runs_at_once, gpus()
        if len(alive) >= at_once(self._settings, there):
            return None
        taken = [str(gpu) for each in alive for gpu in self._folder(each).process().get("devices") or []]
        return free_gpus(processes(self._config(row)), there, taken, share=most > 0)

    def _has_space(self, row: dict) -> bool:
        """Whether the run may start; if not, it waits, and says for what."""
        free, needed = free_bytes(self._home.root), self._settings.min_free_bytes
        message = "" if free >= needed else f"Waits for disk space: {_size(free)} are free, {_size(needed)} are needed."
        message = message or self._over_quota()
        if message != row["message"]:
            hint = "Delete runs or models that are not needed; the queue then goes on by itself." if message else ""
            self._table.set(row["run_id"], message=message, hint=hint)
        return not message

    def _over_quota(self) -> str:
        """What a waiting run waits for, if the home folder is full; looked at now and then, as counting takes a moment."""
        now = time.monotonic()
        if now >= self._next_quota:
            self._next_quota = now + _LIMITS_SECONDS
            full = reached(self._home, self._settings, 0.0)
            self._quota = f"Waits for room. {full}" if full else ""
        return self._quota

    def _launch(self, row: dict, devices: list[str]) -> None:
        run_id, folder, token = row["run_id"], self._folder(row), secrets.token_hex(16)
        row = self._table.move(run_id, STARTING, only_from=(QUEUED,), token=token, attempt=row["attempt"] + 1)
        self._watches[run_id] = _Watch()
        self._guarded(sweep, self._home.tmp)  # a checkpoint that was being written when its run was killed is large
        known = {"attempt": row["attempt"], "token": token, "devices": devices}
        try:
            # In this order, a crash at any point leaves a process that can be found by its token.
            folder.write_process(known)
            logfile.begin_attempt(folder.log, row["attempt"])
            folder.note("launch", attempt=row["attempt"])
            config = folder.config()
            env = worker_environment(self._home.root, config, devices=devices)
            pid, identity = process.launch(self._command(folder.path, config), folder.path, env, folder.log, token)
        except (OSError, UserError, ValueError, TypeError) as error:
            self._finish(row, _not_launched(error))
            return
        self._table.set(run_id, pid=pid, identity=identity)
        folder.write_process({**known, "pid": pid, "identity": identity})

    # -- one run

    def _look(self, row: dict) -> None:
        watch = self._watch(row)
        self._guarded(logfile.trim, self._folder(row).log, MOST_LOG_BYTES)
        if not row["pid"] and not self._adopt(row, watch):
            return
        alive = process.is_alive(row["pid"], row["identity"])  # before the events: the end event comes first
        with self._reader(row).digest() as digest:
            started, end, worker = digest.started, digest.end, digest.worker_pid
        if row["state"] == STARTING and started:
            row = self._table.move(row["run_id"], RUNNING, only_from=(STARTING,))
        if row["state"] == STOPPING:
            self._stop(row, watch, end)
        elif (alive or self._goes_on_without_launcher(row, watch, worker)) and not end:
            self._keep_family(row, watch)
            self._keep_limits(row, watch)
        elif self._all_gone(row, watch, at_once=not end):
            self._finish(row, end)

    def _watch(self, row: dict) -> _Watch:
        if row["run_id"] not in self._watches:  # launched by an app that was here before
            begun = [entry["t"] for entry in self._table.transitions(row["run_id"]) if entry["state"] == STARTING]
            before = max(0.0, time.time() - begun[-1]) if begun else 0.0
            members = self._folder(row).process().get("members", {})
            self._watches[row["run_id"]] = _Watch(members=members, before=before)
        return self._watches[row["run_id"]]

    def _adopt(self, row: dict, watch: _Watch) -> bool:
        """Finds the process of a run whose launcher (an app) died before it noted the pid; False: look again."""
        members = process.family(None, "", row["token"], watch.members)
        if members:
            pid = process.eldest(members)
            row |= {"pid": pid, "identity": members[pid]}
            self._table.set(row["run_id"], pid=pid, identity=members[pid])
            self._write_family(row, members)
            return True
        return time.monotonic() - watch.since > _ADOPT_SECONDS

    def _goes_on_without_launcher(self, row: dict, watch: _Watch, worker: int | None) -> bool:
        """True if only the launcher is gone: the worker, known from its start event, trains on and is watched itself."""
        members = self._family(row, watch) if worker and worker != row["pid"] else {}
        if worker not in members:
            return False
        log.warning("run %s: its launcher (%s) is gone, its worker (%s) goes on", row["run_id"], row["pid"], worker)
        process.forget(row["pid"])
        row |= {"pid": worker, "identity": members[worker]}
        self._table.set(row["run_id"], pid=worker, identity=members[worker])
        watch.members = members
        self._write_family(row, members)
        return True

    def _keep_family(self, row: dict, watch: _Watch) -> None:
        """Notes who belongs to the run, for the day when one of them hides."""
        now = time.monotonic()
        if now < watch.next_family:
            return
        members = self._family(row, watch)
        watch.next_family = now + max(_FAMILY_SECONDS, (time.monotonic() - now) / _FAMILY_SHARE)
        if members != watch.members:
            watch.members = members
            self._write_family(row, members)

    def _keep_limits(self, row: dict, watch: _Watch) -> None:
        """Stops a run, with a checkpoint, that takes longer or more room than is allowed."""
        now = time.monotonic()
        if row["state"] != RUNNING or now < watch.next_limits:
            return
        watch.next_limits = now + _LIMITS_SECONDS
        watch.limit = reached(self._home, self._settings, watch.before + now - watch.since)
        if watch.limit:
            self._table.move(row["run_id"], STOPPING, only_from=(RUNNING,), stop_phase=ASKING)

    def _write_family(self, row: dict, members: dict[int, str]) -> None:
        known = {"attempt": row["attempt"], "token": row["token"], "pid": row["pid"], "identity": row["identity"]}
        devices = self._folder(row).process().get("devices", [])
        self._folder(row).write_process({**known, "devices": devices, "members": members})

    def _family(self, row: dict, watch: _Watch) -> dict[int, str]:
        return process.family(row["pid"], row["identity"], row["token"], watch.members)

    def _all_gone(self, row: dict, watch: _Watch, at_once: bool) -> bool:
        """True when no process of the run is left; those that stay too long after the end are killed."""
        members = self._family(row, watch)
        if not members:
            return True
        now = time.monotonic()
        if watch.leave_by is None:
            launcher = row["pid"] in members
            grace = self._settings.term_grace_seconds if launcher else _LEFTOVER_SECONDS
            watch.leave_by = now + (0 if at_once else grace)
        if now >= watch.leave_by:
            process.send(members, signal.SIGKILL)
        return False

    # -- stop

    def _stop(self, row: dict, watch: _Watch, end: dict | None) -> None:
        """Asks, then terminates, then kills; each phase has its time, and the last goes on until nobody is left."""
        members = self._family(row, watch)
        watch.members |= members
        if not members:
            self._finish(row, end)
            return
        now = time.monotonic()
        if not watch.phase:
            phase = row["stop_phase"] if row["stop_phase"] in STOP_PHASES else ASKING
            self._enter(row, watch, phase, members)
        elif now >= watch.deadline and watch.phase != KILLING:
            self._enter(row, watch, STOP_PHASES[STOP_PHASES.index(watch.phase) + 1], members)
        elif watch.phase == KILLING:
            process.send(members, signal.SIGKILL)

    def _enter(self, row: dict, watch: _Watch, phase: str, members: dict[int, str]) -> None:
        grace = {
            ASKING: self._settings.stop_grace_seconds,
            TERMINATING: self._settings.term_grace_seconds,
            KILLING: 0.0,
        }
        watch.phase, watch.deadline = phase, time.monotonic() + grace[phase]
        if phase == ASKING:
            self._folder(row).stop.touch()
        else:
            process.send(members, signal.SIGTERM if phase == TERMINATING else signal.SIGKILL)
        self._table.set(row["run_id"], stop_phase=phase, stop_deadline=watch.deadline)

    # -- the end

    def _finish(self, row: dict, end: dict | Verdict | None) -> None:
        """No process is left: notes how it ended, in the folder and in the table."""
        folder, run_id = self._folder(row), row["run_id"]
        if end is None:
            end = self._last_word(row)
        if end is None or isinstance(end, Verdict):
            end = self._end_of_silent(row, end)
            self._note_end(folder, end)
        if end["state"] == STOPPED and (watch := self._watches.get(run_id)) and watch.limit:
            end = {**end, "message": f"Stopped by a limit. {watch.limit}", "hint": RESUME_HINT}
        folder.stop.unlink(missing_ok=True)
        with self._reader(row).digest() as digest:
            figures = digest.status()
        self._table.move(
            run_id, end["state"], **{key: end[key] for key in ("reason", "message", "hint")}, digest=figures
        )
        process.forget(row["pid"])
        self._watches.pop(run_id, None)

    def _note_end(self, folder: RunFolder, end: dict) -> None:
        """Adds the end event that the worker could not write; on a full disk the reserve makes room for it."""
        for last_try in (False, True):
            try:
                folder.note("end", **end)
                return
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    self._table.spend_reserve()
                if last_try:
                    log.warning("run %s: its end is not in its events: %s", folder.path.name, error)

    def _last_word(self, row: dict) -> dict | None:
        """The end event, if all that it lacks is the end of its line: the worker was killed just then."""
        try:
            self._folder(row).end_line()
        except OSError as error:
            log.warning("run %s: %s", row["run_id"], error)
        with self._reader(row).digest() as digest:
            return digest.end

    def _end_of_silent(self, row: dict, verdict: Verdict | None) -> dict:
        if verdict is None and row["state"] == STOPPING and (row["stop_phase"] != ASKING or not row["pid"]):
            message = "Stopped by force, as it did not end by itself." if row["pid"] else "Stopped before it began."
            return {"state": STOPPED, "reason": "", "message": message, "hint": RESUME_HINT}
        if verdict is None:
            kills = oom_kills_so_far() - self._watch(row).oom_kills
            status = process.exit_status(row["pid"]) if row["pid"] else None
            with self._reader(row).digest() as digest:
                known = {"peak": digest.figures["peak_memory_bytes"], "ledger": digest.ledger}
            last_words = logfile.last_attempt(self._folder(row).log)
            known["config"] = self._config(row)
            verdict = judge(status, last_words, kills, free_bytes(self._home.root), **known)
        return {"state": FAILED, "reason": verdict.reason, "message": verdict.message, "hint": verdict.hint}

    def _config(self, row: dict) -> dict:
        try:
            return self._folder(row).config()
        except UserError:
            return {}

    def _folder(self, row: dict) -> RunFolder:
        return RunFolder(self._home.runs / row["run_id"])

    def _reader(self, row: dict):
        return self._readers.of(self._home.runs / row["run_id"])


def _not_launched(error: Exception) -> Verdict:
    if isinstance(error, UserError):
        return Verdict(WORKER_ERROR, error.message, error.hint)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = (
        "Free some space, then resume the run."
        if full
        else "Check that the app may start programs, then resume the run."
    )
    return Verdict(
        DISK_FULL if full else WORKER_ERROR,
        f"The run could not be started ({getattr(error, 'strerror', None) or error}).",
        hint,
    )


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
