"""What the serving box asks for on the way back from requests to data, beside the endpoints (circle_api.py): lists, a run.
JSON in, JSON out; knows no widget.
"""

from collections.abc import Callable

from llmdemo import data, prepare
from llmdemo.core.errors import UserError
from llmdemo.models import catalog
from llmdemo.serving.kept import STATES
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services

_PAGE = 5


class CirclePages:
    """The functions, over one installation's served models."""

    def __init__(self, services: Services):
        self._services, self._serving = services, services.serving

    def functions(self) -> list[Callable]:
        """Those that the script may call."""
        return [self.circle, self.circle_train]

    @for_owners
    def circle(self, request: dict) -> dict:
        """What one served model's box shows: keeping, counts and a page of one list of requests, data sets that they may go
        into, models that may stand beside it, the one on trial with its figures."""
        kept, name, home = self._serving.kept, str(request.get("name")), self._services.home
        served = self._serving.registry.one(name)
        state = request.get("state") if request.get("state") in STATES else "new"
        offset = max(0, int(request.get("offset") or 0))
        texts, total = kept.page(name, str(state), offset, _PAGE)
        keeping, models = kept.keeping(), catalog.list_models(home)
        now = next((model for model in models if model.id == served.model_id), None)
        alike = [model for model in models if now and model.writes == now.writes and model.task != "encode"]
        return {
            "name": name,
            "keeping": {"on": keeping.on, "most": keeping.most, "days": keeping.days},
            "state": state,
            "offset": offset,
            "size": _PAGE,
            "total": total,
            "counts": kept.counts(name),
            "texts": [text.to_dict() for text in texts],
            "writes": now.writes if now else True,
            "sets": [info.in_menu() for info in data.list_datasets(home)],
            "own_set": self._data_of(served.model_id),
            "models": [{"id": model.id, "title": model.title} for model in alike if model.id != served.model_id],
            "trial": self._serving.comparison(served, self._serving.figures()),
            "before": served.before and catalog.title_of(home, served.before),
        }

    @for_owners
    def circle_train(self, request: dict) -> dict:
        """{"run_id"} of a run on a data set, with the settings of the run behind the served model where there is one."""
        served = self._serving.registry.all().get(str(request.get("name")))
        dataset_id, runs = str(request.get("dataset_id")), self._services.runs
        values: dict = {}
        if served is not None and served.model_id.startswith("run-"):
            config = runs.config(served.model_id.partition("@")[0])
            values = {key: value for key, value in config.items() if key in prepare.SETTINGS}
            values.pop("name", None)
        return prepare.started(self._services.home, runs, {**values, "dataset_id": dataset_id})

    def _data_of(self, model_id: str) -> str:
        """The newest version of the data that the served model's run was on; "" for another model."""
        try:
            config = self._services.runs.config(model_id.partition("@")[0]) if model_id.startswith("run-") else {}
            known = data.get_dataset(self._services.home, str(config.get("dataset_id")))
        except UserError:
            return ""
        family = known.family or known.dataset_id
        alike = [each for each in data.list_datasets(self._services.home) if (each.family or each.dataset_id) == family]
        return max(alike, key=lambda info: info.version).dataset_id
