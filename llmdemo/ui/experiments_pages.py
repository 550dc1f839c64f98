"""What the experiments' script asks for beside the endpoints (experiments_api.py). JSON in and out; knows no widget."""

from llmdemo.experiments.space import METHODS_OF
from llmdemo.ui import experiments_api
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


class ExperimentsPages:
    """The functions behind the experiments' island."""

    def __init__(self, services: Services):
        self._services = services

    def functions(self) -> list:
        """Those that the script may call."""
        return [self.choices, self.overview, *of_endpoints(experiments_api.endpoints(self._services))]

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
