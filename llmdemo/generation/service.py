"""Making data sets with a model: what the page and the endpoints may ask. Imports no torch; each is a job of its own."""

from typing import Any

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.core.store import object_or_empty
from llmdemo.generation.worker import RESULT, RESUME
from llmdemo.jobs import Jobs, JobsOfKind, JobStatus, Kind, worker_of
from llmdemo.models import catalog
from llmdemo.settings.generation import GenerationSpec

_STOP_SECONDS = 30.0
_PROGRESS = ("kept", "made", "cut", "total", "reasons", "last", "eta_seconds")


class Generations(JobsOfKind):
    """All data sets of a home folder that models made or are making. Safe to use from any thread."""

    def __init__(self, jobs: Jobs):
        self._home = jobs.home
        kind = Kind(
            name="generation",
            noun="making of data",
            prefix="gen",
            folder="generations",
            command=worker_of("llmdemo.generation.worker"),
            grace=_STOP_SECONDS,
            resume_hint=RESUME,
        )
        super().__init__(jobs, kind)

    def start(self, values: dict) -> str:
        """Puts it in the queue and returns its job_id. values: the keys of GenerationSpec. Raises UserError."""
        spec = self.checked(values)
        entry = catalog.resolve(self._home, spec.model_id)
        return self.jobs.start(
            self.kind, {"spec": spec.to_dict(), "model_title": entry.title}, spec.name or entry.title
        )

    def checked(self, values: dict) -> GenerationSpec:
        """Raises UserError for settings, models and data that do not go together."""
        spec = GenerationSpec.from_dict(values)
        entry = catalog.resolve(self._home, spec.model_id)
        if not entry.writes:
            raise UserError("err_generation_writes", model=entry.title)
        if spec.kind == "answers":
            info = data.get_dataset(self._home, spec.dataset_id)
            if info.task not in ("chat", "preference"):
                raise UserError("err_generation_no_prompts", name=info.name, task=info.task)
        return spec

    def shown(self, status: JobStatus) -> dict[str, Any]:
        """{job_id, name, state, message, hint, spec, progress {kept, made, cut, total, reasons, last, eta_seconds}, dataset_id}."""
        result = object_or_empty(self.path_of(status["job_id"]) / RESULT)
        told = self.told(status, _PROGRESS)
        return {**told, "dataset_id": str(result.get("dataset_id") or "")}
