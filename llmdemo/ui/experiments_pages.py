"""What the experiments' script asks for: races and searches, started, watched, taken away. JSON in and out; knows no widget."""

from llmdemo.core.errors import UserError
from llmdemo.experiments.space import METHODS_OF
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import add_sample
from llmdemo.ui.services import Services
from llmdemo.ui.train_pages import SAMPLE_ID


class ExperimentsPages:
    """The functions behind the experiments' island."""

    def __init__(self, services: Services):
        self._services = services

    def functions(self) -> list:
        """Those that the script may call."""
        return [self.choices, self.overview, self.start_race, self.start_search, self.cancel, self.delete, self.table]

    @for_owners
    def choices(self, _: dict) -> dict:
        """{"space": {setting: [methods that have it]}, "most": runs that may wait at once}."""
        return {
            "space": {key: list(methods) for key, methods in METHODS_OF.items()},
            "most": self._services.settings.max_queued_runs,
        }

    @for_owners
    def overview(self, request: dict) -> dict:
        """All experiments in brief, and the chosen one: group_id, else the newest."""
        experiments = self._services.experiments
        brief = experiments.list()
        known = {each["group_id"] for each in brief}
        wanted = request.get("group_id")
        chosen = wanted if wanted in known else next(iter(each["group_id"] for each in brief), None)
        return {"groups": brief, "group": experiments.status(chosen) if chosen else None}

    @for_owners
    def start_race(self, request: dict) -> dict:
        self._services.require_owner()
        return {"group_id": self._services.experiments.start_race(self._config(request), request.get("race"))}

    @for_owners
    def start_search(self, request: dict) -> dict:
        self._services.require_owner()
        return {"group_id": self._services.experiments.start_search(self._config(request), request.get("search"))}

    @for_owners
    def cancel(self, request: dict) -> dict:
        self._services.require_owner()
        return self._services.experiments.cancel(_id(request))

    @for_owners
    def delete(self, request: dict) -> dict:
        self._services.require_owner()
        self._services.experiments.delete(_id(request))
        return {}

    @for_owners
    def table(self, request: dict) -> dict:
        """{"text"}: the rows as CSV."""
        return {"text": self._services.experiments.csv(_id(request))}

    def _config(self, request: dict) -> object:
        """The form's settings, unchecked; adds the sample first where that was chosen."""
        config = request.get("config")
        if isinstance(config, dict) and config.get("dataset_id") == SAMPLE_ID:
            return {**config, "dataset_id": add_sample(self._services).dataset_id}
        return config


def _id(request: dict) -> str:
    group_id = request.get("group_id")
    if not isinstance(group_id, str):
        raise UserError("err_experiment_unnamed")
    return group_id
