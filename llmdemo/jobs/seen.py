"""What can be seen of jobs: status, digest, log, history. Changes nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, child, folder_bytes
from llmdemo.jobs import log as logs
from llmdemo.jobs.digest import Digest
from llmdemo.jobs.folder import JobFolder
from llmdemo.jobs.kinds import Kind
from llmdemo.jobs.reader import Readers
from llmdemo.jobs.states import FINAL
from llmdemo.jobs.status import JobStatus, status_of
from llmdemo.jobs.supervisor import Supervisor
from llmdemo.jobs.table import Job, Table


class Mark(NamedTuple):
    """What tells that a job has changed: its row's columns, and how many bytes of events there are while it is not over."""

    kind: str
    state: str
    name: str
    attempt: int
    position: int | None
    stop_phase: str
    bytes: int


class JobsSeen:
    """The half of `Jobs` that only reads. Methods that take a job_id raise UserError for one that does not exist."""

    home: Home
    _table: Table
    _readers: Readers
    _supervisor: Supervisor
    _sizes: dict[str, tuple[float, str, int]]

    def must_exist(self, job_id: str) -> None:
        """Raises UserError where there is no such job."""
        self._job(job_id)

    def status(self, job_id: str) -> JobStatus:
        """How the job is; see status.JobStatus."""
        job, kind = self._job(job_id)
        return self._status(kind, job, [each.job_id for each in self._table.queue(kind.name)])

    def all(self, kind: Kind) -> list[JobStatus]:
        """The status of every job of a kind, the newest first."""
        queue = [job.job_id for job in self._table.queue(kind.name)]
        return [self._status(kind, job, queue) for job in self._table.all(kind.name)]

    def marks(self) -> dict[str, Mark]:
        """A mark of every job of the known kinds, by its id; another mark means that something of it has changed.

        Cheap: one query, and a look at the file of each job that is not over.
        """
        kinds = self._supervisor.kinds
        return {job.job_id: self._mark(kinds[job.kind], job) for job in self._table.all(*kinds)}

    def _mark(self, kind: Kind, job: Job) -> Mark:
        size = 0
        if job.state not in FINAL:
            with suppress(OSError):
                size = JobFolder(self.home.root / kind.folder / job.job_id).events.stat().st_size
        return Mark(job.kind, job.state, job.name, job.attempt, job.position, job.stop_phase, size)

    def size(self, status: JobStatus) -> int:
        """Bytes on disk; counted again when the state changed, and every 10 s while the job goes."""
        key, now, job_id = f"{status['state']} {status['attempt']}", time.monotonic(), status["job_id"]
        when, known_key, size = self._sizes.get(job_id, (0.0, "", 0))
        if known_key != key or (status["state"] not in FINAL and now - when > 10):
            size = folder_bytes(self.home.root / self._supervisor.kinds[status["kind"]].folder / job_id)
            self._sizes[job_id] = (now, key, size)
        return size

    def folder(self, kind: Kind, job_id: str) -> JobFolder:
        """Raises UserError for what is no id."""
        return JobFolder(child(self.home.root / kind.folder, job_id))

    @contextmanager
    def digest(self, job_id: str) -> Iterator[Digest]:
        """The digest of its events, up to date, for as long as the block lasts."""
        _, kind = self._job(job_id)
        with self._readers.of(self.folder(kind, job_id).path, kind.digest).digest() as digest:
            yield digest

    def log_tail(self, job_id: str, lines: int = 200) -> str:
        """The last lines of what the job's processes printed."""
        _, kind = self._job(job_id)
        return logs.tail(self.folder(kind, job_id).log, int(lines))

    def history(self, job_id: str) -> list[dict[str, object]]:
        """Every state the job was in: [{state, reason, t}] in order."""
        self._job(job_id)
        return self._table.transitions(job_id)

    def _job(self, job_id: str) -> tuple[Job, Kind]:
        child(self.home.root, job_id)
        job = self._table.get(job_id)
        kind = self._supervisor.kinds.get(job.kind) if job else None
        if job is None or kind is None:
            noun = next((kind.noun for kind in self._supervisor.kinds.values() if kind.owns(job_id)), say("noun_job"))
            raise UserError("err_no_job", noun=noun, job_id=repr(job_id))
        return job, kind

    def _status(self, kind: Kind, job: Job, queue: list[str]) -> JobStatus:
        folder = JobFolder(self.home.root / kind.folder / job.job_id)
        return status_of(kind, job, folder, lambda: self._readers.of(folder.path, kind.digest), queue)
