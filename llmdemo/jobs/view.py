"""The jobs of one kind under their own name: what Runs, Evaluations, Experiments and Pushes have in common."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from llmdemo.core.errors import UserError
from llmdemo.core.store import object_or_empty
from llmdemo.jobs.kinds import Kind
from llmdemo.jobs.service import Jobs
from llmdemo.jobs.status import JobStatus


class JobsOfKind:
    """Safe to use from any thread. Methods that take a job_id raise UserError for one that is not of this kind."""

    def __init__(self, jobs: Jobs, kind: Kind):
        self.jobs, self.kind = jobs, kind
        jobs.add_kind(kind)

    def shown(self, status: JobStatus) -> dict[str, Any]:
        """The status as endpoints and pages know it; ready for JSON."""
        return dict(status)

    def path_of(self, job_id: str) -> Path:
        """Where the job's folder is, or would be."""
        return self.kind.job_folder(self.jobs.home.root, job_id).path

    def told(self, status: JobStatus, progress: Sequence[str]) -> dict[str, Any]:
        """What every kind with a `spec` in its config shows: {job_id, name, state, message, hint, created, spec, model,
        progress}, of the progress these keys, None where they are not told yet."""
        config = object_or_empty(self.path_of(status["job_id"]) / "config.json")
        known = status["figures"].get("progress") or {}
        return {
            "job_id": status["job_id"],
            "name": status["name"],
            "state": status["state"],
            "message": status["message"],
            "hint": status["hint"],
            "created": status["created"],
            "spec": config.get("spec") or {},
            "model": str(config.get("model_title") or ""),
            "progress": {key: known.get(key) for key in progress},
        }

    @property
    def leads(self) -> bool:
        """Whether this app is the one that watches over the jobs of the home folder."""
        return self.jobs.leads

    @property
    def remade(self) -> bool:
        """Whether the list was damaged, and made again of the folders since this app started."""
        return self.jobs.remade

    @property
    def closed(self) -> bool:
        return self.jobs.closed

    def close(self) -> None:
        """Stops watching all jobs. They go on."""
        self.jobs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self, job_id: str) -> dict[str, Any]:
        """Asks the job to stop, or takes it out of the queue; harmless when pressed again. Returns status."""
        return self.shown(self.jobs.stop(self.own(job_id)))

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Takes a waiting job out of the queue; raises UserError if it does not wait. Returns status."""
        return self.shown(self.jobs.cancel(self.own(job_id)))

    def resume(self, job_id: str, secret: str = "") -> dict[str, Any]:
        """Puts a job that has ended at the end of the queue; raises UserError where that cannot be. Returns status."""
        return self.shown(self.jobs.resume(self.own(job_id), secret))

    def delete(self, job_id: str) -> None:
        """Removes the job and its files; raises UserError while it goes."""
        self.jobs.delete(self.own(job_id))

    def reorder(self, job_id: str, place: int) -> None:
        """Moves a waiting job to `place` in the queue, 1 being the next one; raises UserError if it does not wait."""
        self.jobs.reorder(self.own(job_id), place)

    def rename(self, job_id: str, name: str) -> None:
        """Gives the job another name, of 1 to 100 characters (else UserError)."""
        self.jobs.rename(self.own(job_id), name)

    def status(self, job_id: str) -> dict[str, Any]:
        """How the job is."""
        return self.shown(self.jobs.status(self.own(job_id)))

    def list(self) -> list[dict[str, Any]]:
        """The status of every job, the newest first."""
        return [self.shown(status) for status in self.jobs.all(self.kind)]

    def log_tail(self, job_id: str, lines: int = 200) -> str:
        """The last lines of what the job's processes printed."""
        return self.jobs.log_tail(self.own(job_id), lines)

    def own(self, job_id: str) -> str:
        """The id, if there is such a job and it is of this kind. Raises UserError."""
        self.jobs.folder(self.kind, job_id)
        if not self.kind.owns(job_id):
            raise UserError("err_no_job", noun=self.kind.noun, job_id=repr(job_id))
        self.jobs.must_exist(job_id)
        return job_id
