"""What the data panel's script asks for when a model makes data. JSON in, JSON out; knows no widget."""

from llmdemo.models import catalog
from llmdemo.settings.generation import GenerationSpec
from llmdemo.settings.schema import fields_of
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services

_SHOWN = 5
"""Jobs that the panel lists, the newest."""


class GeneratePages:
    """The functions behind the island "generate", over one installation's jobs."""

    def __init__(self, services: Services):
        self._services, self._jobs = services, services.generations

    def functions(self) -> list:
        """Those that the script may call."""
        return [self.choices, self.start, self.jobs, self.stop, self.resume, self.remove]

    @for_owners
    def choices(self, _: dict) -> dict:
        """{"models": [{id, title}] that write, "most": records at most, "defaults": a GenerationSpec's}."""
        models = [entry for entry in catalog.list_models(self._services.home) if entry.writes]
        return {
            "models": [{"id": entry.id, "title": entry.title} for entry in models],
            "most": fields_of(GenerationSpec)["number"].high,
            "defaults": GenerationSpec().to_dict(),
        }

    @for_owners
    def start(self, request: dict) -> dict:
        """Puts it in the queue; {"job_id"}."""
        return {"job_id": self._jobs.start(request)}

    @for_owners
    def jobs(self, _: dict) -> dict:
        """{"jobs": the newest, each as Generations.shown}."""
        return {"jobs": self._jobs.list()[:_SHOWN]}

    @for_owners
    def stop(self, request: dict) -> dict:
        """The job's status; what was kept becomes a data set."""
        return self._jobs.stop(str(request.get("job_id")))

    @for_owners
    def resume(self, request: dict) -> dict:
        """The job's status."""
        return self._jobs.resume(str(request.get("job_id")))

    @for_owners
    def remove(self, request: dict) -> dict:
        """Deletes the job; its data set stays."""
        self._jobs.delete(str(request.get("job_id")))
        return {}
