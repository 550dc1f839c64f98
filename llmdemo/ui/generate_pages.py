"""What the data panel's script asks for when a model makes data. JSON in, JSON out; knows no widget."""

from llmdemo import data, pace
from llmdemo.evaluation.rubrics import rubrics
from llmdemo.generation.forecast import forecast
from llmdemo.generation.kinds import KINDS
from llmdemo.models import catalog
from llmdemo.settings.evaluation_decoding import CheckerSpec
from llmdemo.settings.generation import GenerationSpec
from llmdemo.settings.judge import CRITERIA, SCORES
from llmdemo.settings.schema import fields_of
from llmdemo.ui.evaluate_pages import EvaluatePages
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services

_SHOWN = 5
"""Jobs that the panel lists, the newest; records that were left out, the first."""
_CHECKERS = ("normalised", "exact", "number", "contains", "expression")
"""Those that need no further setting."""


class GeneratePages:
    """The functions behind the island "generate", over one installation's jobs."""

    def __init__(self, services: Services):
        self._services, self._jobs = services, services.generations

    def functions(self) -> list:
        """Those that the script may call."""
        evaluate = EvaluatePages(self._services)
        return [
            self.choices, self.forecast, self.start, self.jobs, self.stop, self.resume, self.remove, self.records,
            evaluate.keep_rubric, evaluate.drop_rubric,
        ]  # fmt: skip

    @for_owners
    def choices(self, _: dict) -> dict:
        """{"models": [{id, title, ready, writes, task}], "data_sets": [DatasetInfo.in_menu], "kinds": {name: {reads,
        invents, judged}}, "most": records at most, "templates", "checkers", "defaults": a GenerationSpec's, "criteria", "scores",
        "rubrics": of judges}."""
        home = self._services.home
        return {
            "models": [
                {"id": each.id, "title": each.title, "ready": each.ready, "writes": each.writes, "task": each.task}
                for each in catalog.list_models(home)
            ],
            "data_sets": [each.in_menu() for each in data.list_datasets(home)],
            "kinds": {
                name: {"reads": list(kind.reads), "invents": kind.invents, "judged": kind.judged}
                for name, kind in KINDS.items()
            },
            "most": fields_of(GenerationSpec)["number"].high,
            "templates": list(fields_of(GenerationSpec)["template"].choices),
            "checkers": [kind for kind in fields_of(CheckerSpec)["kind"].choices if kind in _CHECKERS],
            "defaults": GenerationSpec().to_dict(),
            "criteria": CRITERIA,
            "scores": list(SCORES),
            "rubrics": rubrics(home),
        }

    @for_owners
    def forecast(self, request: dict) -> dict:
        """How long making data by `spec` will take here: generation.forecast's {"seconds", …}, {} where nobody can know."""
        spec = GenerationSpec.from_dict(request.get("spec") or {})
        if spec.url.strip():
            return {}
        home = self._services.home
        info = data.get_dataset(home, spec.dataset_id) if spec.dataset_id else None
        prompts = info.kept if info and info.task != "text" else None  # a document has many passages
        speed = pace.likely_speed(home, self._services.runs.list(), spec.model_id)[0]
        return forecast(spec, prompts, self._jobs.list(), speed)

    @for_owners
    def start(self, request: dict) -> dict:
        """Puts `spec` in the queue, with `key` and `judge_key` for the endpoints; {"job_id"}."""
        key, judge_key = _keys(request)
        return {"job_id": self._jobs.start(request.get("spec") or {}, key, judge_key)}

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
        return self._jobs.resume(str(request.get("job_id")), *_keys(request))

    @for_owners
    def records(self, request: dict) -> dict:
        """Some of the records that were left out for `reason`, as Generations.records."""
        return self._jobs.records(str(request.get("job_id")), str(request.get("reason") or ""), 0, _SHOWN)

    @for_owners
    def remove(self, request: dict) -> dict:
        """Deletes the job; its data set stays."""
        self._jobs.delete(str(request.get("job_id")))
        return {}


def _keys(request: dict) -> tuple[str, str]:
    return str(request.get("key") or ""), str(request.get("judge_key") or "")
