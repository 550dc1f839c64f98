"""Jobs: a queue for each kind of long work, and what can be asked of any job. Knows no torch, no gradio, no worker's inside."""

import json
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llmdemo.access.disk_quota import check_quota
from llmdemo.core.errors import NotNow, UserError
from llmdemo.core.sentences import readable_size, say
from llmdemo.core.store import Home, free_bytes, new_id, whole_folder, write_json
from llmdemo.jobs import process
from llmdemo.jobs.damage import Damaged, translated
from llmdemo.jobs.digest import End
from llmdemo.jobs.folder import Config, JobFolder, checked_config, checked_name, soft_delete
from llmdemo.jobs.kinds import Kind
from llmdemo.jobs.lock import LeaderLock
from llmdemo.jobs.reader import Readers
from llmdemo.jobs.recovery import open_table, recover, recovered_row, remake, tidy
from llmdemo.jobs.seen import JobsSeen
from llmdemo.jobs.states import ALIVE, ASKING, COMPLETED, FAILED, FINAL, QUEUED, RUNNING, STOPPED, STOPPING
from llmdemo.jobs.status import JobStatus
from llmdemo.jobs.supervisor import Launcher, Supervisor
from llmdemo.jobs.table import IllegalTransition
from llmdemo.settings import Settings

_BUSY_SECONDS = 0.25
_IDLE_SECONDS = 1.0
log = logging.getLogger(__name__)


class Jobs(JobsSeen):
    """All jobs of a home folder. Safe to use from any thread, and from several apps on one home folder.

    One of the apps watches over the jobs (`leads`); when it ends, however it ends, another one goes on.
    `remade`: the table was damaged, and was made again of the job folders since this app started.
    `launch` starts a process; tests replace it. Methods that take a job_id raise UserError for one that does not exist.
    """

    def __init__(self, home: Home, settings: Settings, launch: Launcher = process.launch):
        self.home, self.settings = home, settings
        self._lock = LeaderLock(home.root / "runs.lock")
        with self._opening():
            self._lock.acquire()
            self._table, self.remade = open_table(home, repair=self._lock.held)
            if self.leads:
                tidy(home, self._table)
        self._readers = Readers()
        self._sizes: dict[str, tuple[float, str, int]] = {}
        self._supervisor = Supervisor(home, settings, self._table, self._readers, launch)
        self._closed, self._wake = threading.Event(), threading.Event()
        self._wake.set()
        self._thread = threading.Thread(target=self._watch, name="jobs", daemon=True)
        self._thread.start()

    def add_kind(self, kind: Kind) -> None:
        """From now on jobs of this kind are found, watched and started. Raises UserError when the disk does not let it."""
        try:
            with self._opening():
                (self.home.root / kind.folder).mkdir(parents=True, exist_ok=True)
                recover(self.home, self._table, kind)
        except BaseException:
            self.close()
            raise
        self._supervisor.kinds = {**self._supervisor.kinds, kind.name: kind}
        self._wake.set()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            self._lock.release()
            raise UserError("err_list_of_runs", folder=self.home.root, error=error) from error

    @property
    def leads(self) -> bool:
        """Whether this app is the one that watches over the jobs of the home folder."""
        return self._lock.held

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Stops watching; harmless when done again. The jobs go on."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._wake.set()
        self._thread.join()
        self._table.close()
        self._lock.release()

    def wake(self) -> None:
        """Has the watching thread look at once: what a job waits for may have come."""
        self._wake.set()

    # -- what can be done

    def start(
        self,
        kind: Kind,
        config: Config,
        name: str,
        *,
        named: bool = False,
        secret: str = "",
        fill: Callable[[Path], None] = lambda folder: None,
        job_id: str = "",
    ) -> str:
        """Puts a new job at the end of its kind's queue and returns its id; one without a process begins at once.

        `config` is written to config.json as it is, plus the key kind.name {id, name, named (by somebody), created}.
        `secret` is for the worker, and kept nowhere. `fill(folder)` writes the artefacts that it begins with.
        Raises UserError when the queue or the disk is full, or when `config` is no JSON object.
        """
        self._check_room(kind)
        job_id, created = job_id or new_id(kind.prefix), time.time()
        about = {"id": job_id, "name": checked_name(name, kind.noun), "named": named, "created": created}
        whole = {**checked_config(config, kind.noun), kind.name: about}
        if secret:
            self._supervisor.secrets[job_id] = secret  # before anybody can see the job
        with translated(kind.noun, "err_cannot_keep"), self._or_no_folder(kind, job_id), self._table.transaction():
            most = kind.most_queued(self.settings)
            if len(self._table.queue(kind.name)) >= most:
                raise NotNow("err_queue_full", kind.most_queued_hint, most=most, noun=kind.noun)
            self._table.add(job_id, kind.name, str(about["name"]), created, RUNNING if kind.advance else QUEUED)
            with whole_folder(self.home.root / kind.folder / job_id, self.home.tmp) as folder:
                write_json(folder / "config.json", whole)
                fill(folder)
                for event in ("launch", "start") if kind.advance else ():
                    JobFolder(folder).note(event)
        self._wake.set()
        return job_id

    def add_folder(self, kind: Kind, job_id: str, make: Callable[[Path], None]) -> None:
        """Takes in a job from elsewhere, whose folder `make(path)` makes, whole or not at all. Raises UserError."""
        folder = self.folder(kind, job_id)
        make(folder.path)
        with translated(kind.noun, "err_cannot_open"), self._or_no_folder(kind, job_id):
            row = recovered_row(kind, folder)
            with self._table.transaction():
                if self._table.get(job_id) is None:  # an app that opens just now may have found the folder first
                    self._table.add(**row)

    def stop(self, job_id: str) -> JobStatus:
        """Asks the job to stop, or takes it out of the queue; harmless when pressed again. Returns status."""
        job, kind = self._job(job_id)
        with translated(kind.noun, "err_cannot_stop"):
            if job.state == QUEUED and self._cancel(kind, job_id):
                return self.status(job_id)
            try:
                deadline = time.monotonic() + min(self.settings.stop_grace_seconds, kind.grace)
                self._table.move(job_id, STOPPING, stop_phase=ASKING, stop_deadline=deadline)
                self.folder(kind, job_id).stop.touch()
            except IllegalTransition:
                pass  # it stops already, or has ended
            except OSError as error:
                log.warning("%s: %s", job_id, error)  # the supervisor tries again, and has other means
        self._wake.set()
        return self.status(job_id)

    def cancel(self, job_id: str) -> JobStatus:
        """Takes a waiting job out of the queue; raises UserError if it does not wait. Returns status."""
        _, kind = self._job(job_id)
        with translated(kind.noun, "err_cannot_cancel"):
            waited = self._cancel(kind, job_id)
        if not waited:
            raise UserError("err_not_waiting", noun=kind.noun)
        return self.status(job_id)

    def resume(self, job_id: str, secret: str = "") -> JobStatus:
        """Puts a stopped or failed job at the end of the queue. What a resume means its kind says. Returns status.

        Raises UserError for a job in another state, for one that cannot go on, or without space.
        """
        job, kind = self._job(job_id)
        if secret:
            self._supervisor.secrets[job_id] = secret
        if job.state in (QUEUED, *ALIVE):
            return self.status(job_id)  # pressed twice
        folder = self.folder(kind, job_id)
        kind.check_resume(folder, bool(job.imported))
        self._check_room(kind)
        try:
            with translated(kind.noun, "err_cannot_resume"), self._table.transaction():
                self._table.move(job_id, QUEUED, only_from=(STOPPED, FAILED, *(COMPLETED,) * kind.repeats))
                folder.stop.unlink(missing_ok=True)
                folder.note("queued")
        except IllegalTransition as error:
            raise UserError("err_completed_not_resumed", kind.repeats_hint, noun=kind.noun) from error
        self._wake.set()
        return self.status(job_id)

    def delete(self, job_id: str) -> None:
        """Removes the job and its files; raises UserError while it has a process."""
        _, kind = self._job(job_id)
        folder, deleted = self.folder(kind, job_id), None
        try:
            with translated(kind.noun, "err_cannot_delete"), self._table.transaction():
                self._table.remove(job_id)
                deleted = soft_delete(self.home, folder.path, job_id)
        except IllegalTransition as error:
            raise UserError("err_going_delete", noun=kind.noun) from error
        except BaseException:
            if deleted is not None:  # the table still has the job
                deleted.rename(folder.path)
            raise
        self._readers.drop(folder.path)
        self._sizes.pop(job_id, None)
        self._supervisor.secrets.pop(job_id, None)
        if deleted is not None:
            shutil.rmtree(deleted, ignore_errors=True)

    def prune(self, job_id: str, why: str, hint: str, **figures: object) -> None:
        """Removes the kind's `large` folders of a job that has ended, and notes `why` where its end is told.

        `figures` replace those that are kept of it. Raises UserError for one that has not ended.
        """
        _, kind = self._job(job_id)
        folder, deleted = self.folder(kind, job_id), []
        with translated(kind.noun, "err_cannot_prune"), self._table.transaction():
            job = self._table.get(job_id)
            if job is None or job.state not in FINAL:
                raise UserError("err_going", noun=kind.noun)
            # The folder alone must tell it too: the table can be lost.
            folder.note_end(End(job.state, job.reason, why, hint))
            kept = {**json.loads(job.digest), **figures} if job.digest else None
            self._table.set(job_id, message=why, hint=hint, digest=kept)
            for name in kind.large:
                deleted.append(soft_delete(self.home, folder.path / name, f"{job_id}-{name}"))
        for path in filter(None, deleted):
            shutil.rmtree(path, ignore_errors=True)
        self._sizes.pop(job_id, None)

    def reorder(self, job_id: str, place: int) -> None:
        """Moves a waiting job to `place` in its queue, 1 being the next one; raises UserError if it does not wait."""
        _, kind = self._job(job_id)
        try:
            with translated(kind.noun, "err_cannot_move"):
                self._table.reorder(job_id, int(place) - 1)
        except IllegalTransition as error:
            raise UserError("err_not_waiting_move", noun=kind.noun) from error

    def rename(self, job_id: str, name: str) -> None:
        """Gives the job another name, of 1 to 100 characters (else UserError)."""
        _, kind = self._job(job_id)
        name = checked_name(name, kind.noun)
        with translated(kind.noun, "err_cannot_rename"):
            self.folder(kind, job_id).rename(kind.name, name)
            self._table.set(job_id, name=name)

    # -- inside

    @contextmanager
    def _or_no_folder(self, kind: Kind, job_id: str) -> Iterator[None]:
        """Without its row, a new job's folder goes too: it would be found, and queued, at the next start of the app."""
        try:
            yield
        except BaseException:
            self._supervisor.secrets.pop(job_id, None)
            if (deleted := soft_delete(self.home, self.folder(kind, job_id).path, job_id)) is not None:
                shutil.rmtree(deleted, ignore_errors=True)
            raise

    def _check_room(self, kind: Kind) -> None:
        if not kind.disk_need:
            return
        check_quota(self.home, self.settings)
        free, needed = free_bytes(self.home.root), kind.disk_need(self.settings)
        if free < needed:
            raise NotNow("err_little_disk", free=readable_size(free), needed=readable_size(needed))

    def _cancel(self, kind: Kind, job_id: str) -> bool:
        end = End(STOPPED, "", say("end_cancelled"), say("end_cancelled_hint"))
        said = {"message": end.message, "hint": end.hint}
        try:
            with self._table.transaction():
                self._table.move(job_id, STOPPED, only_from=(QUEUED,), **said)
                self.folder(kind, job_id).note_end(end)
        except IllegalTransition:
            return False
        except OSError as error:
            log.warning("%s: %s", job_id, error)
            self._table.move(job_id, STOPPED, only_from=(QUEUED,), **said)
        return True

    # -- the thread that watches

    def _watch(self) -> None:
        seen, busy = -1, True
        while not self._closed.is_set():
            woken = self._wake.wait(_BUSY_SECONDS if busy else _IDLE_SECONDS)
            self._wake.clear()
            try:
                if self._table.damaged and self._lock.held:
                    remake(self.home, self._table, self._supervisor.kinds.values())
                    self.remade = True
                changed, seen = seen != (now := self._table.version()), now
                if not self._lock.held and self._lock.acquire():  # whoever led before is gone
                    for kind in self._supervisor.kinds.values():
                        recover(self.home, self._table, kind)
                    tidy(self.home, self._table)
                    changed = True
                if self._lock.held and (changed or woken or busy) and not self._closed.is_set():
                    busy = self._supervisor.tick()
            except Damaged as error:
                log.warning("%s", error)  # it is made again at the next turn, by the app that leads
                busy = True
            except Exception:  # whatever it is, the jobs must not go unwatched because of it
                log.exception("watching over the jobs")
                busy = True
