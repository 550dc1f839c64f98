"""What a model knows: what the page and the endpoints may ask. Imports no torch; each is a job of its own."""

from typing import Any

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import object_or_empty
from llmdemo.jobs import Jobs, JobsOfKind, JobStatus, model_kind
from llmdemo.knowledge.classes import changed
from llmdemo.knowledge.found import FOLDER, RESULT, finished
from llmdemo.models import catalog
from llmdemo.settings.knowledge import ProbeSpec

RESUME = say("probe_resume")


class Probes(JobsOfKind):
    """All probes of a home folder. Safe to use from any thread."""

    def __init__(self, jobs: Jobs):
        self._home = jobs.home
        super().__init__(
            jobs, model_kind("probe", say("noun_probe"), "probe", FOLDER, "llmdemo.knowledge.worker", RESUME)
        )

    def start(self, values: dict) -> str:
        """Puts it in the queue and returns its job_id. values: the keys of ProbeSpec. Raises UserError."""
        spec = ProbeSpec.from_dict(values)
        info = data.get_dataset(self._home, spec.dataset_id)
        entry = catalog.resolve(self._home, spec.model_id)
        if info.task != "chat":
            raise UserError("err_probe_task", name=info.name, task=info.task)
        if not entry.writes:
            raise UserError("err_generation_writes", model=entry.title)
        return self.jobs.start(self.kind, {"spec": spec.to_dict(), "model_title": entry.title}, info.name)

    def shown(self, status: JobStatus) -> dict[str, Any]:
        """{job_id, name, state, message, hint, created, spec, model, progress {done, total, counts, eta_seconds}, result}."""
        told = self.told(status, ("done", "total", "counts", "eta_seconds"))
        return {**told, "result": object_or_empty(self.path_of(status["job_id"]) / RESULT) or None}

    def result(self, job_id: str, before_id: str = "") -> dict[str, Any]:
        """The finished probe with "found" [{index, class, greedy, sampled, drawn, answer}]; with `before_id`, another probe of the
        same data, "lost" and "learned": records that were right and are wrong now, and the reverse. Raises UserError."""
        found, records = finished(self.path_of(self.own(job_id)))
        if not before_id:
            return {**found, "found": records}
        earlier, before = finished(self.path_of(self.own(before_id)))
        if earlier["content_hash"] != found["content_hash"]:
            raise UserError("err_probe_other_data")
        return {**found, "found": records, "before": earlier["counts"], **changed(before, records)}
