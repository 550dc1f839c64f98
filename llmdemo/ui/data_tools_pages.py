"""What the data panel's script asks for when data is mapped, selected from and mended, beside the endpoints for
it (data_tools_api.py). JSON in, JSON out; knows no widget.
"""

import base64

import numpy as np

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.models import catalog
from llmdemo.settings.maps import MapSpec
from llmdemo.settings.selection import SelectionSpec
from llmdemo.ui import data_tools_api
from llmdemo.ui.data_api import turns
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services

_MOST_TEXTS = 50
_CHARACTERS = 600


class DataToolsPages:
    """The functions behind the island "data-tools", over one installation's data sets and maps."""

    def __init__(self, services: Services):
        self._services, self._home = services, services.home

    def functions(self) -> list:
        """Those that the script may call."""
        endpoints = data_tools_api.endpoints(self._services)
        races = [self.races, self.start_race, self.stop_race, self.resume_race]
        return [self.choices, self.map, self.texts, self.search, *races, *of_endpoints(endpoints)]

    @for_owners
    def choices(self, _: dict) -> dict:
        """{"models": [{id, title, writes}], "runs": [{id, title}] for losses after, "map", "recipe": defaults}."""
        models = [entry for entry in catalog.list_models(self._home) if entry.task != "classify"]
        return {
            "models": [{"id": entry.id, "title": entry.title, "writes": entry.writes} for entry in models],
            "runs": [{"id": entry.id, "title": entry.title} for entry in models if entry.kind == "run"],
            "map": MapSpec().to_dict(),
            "recipe": SelectionSpec().to_dict(),
        }

    @for_owners
    def map(self, request: dict) -> dict:
        """Maps.points of `job_id`."""
        return self._services.maps.points(str(request.get("job_id")))

    @for_owners
    def texts(self, request: dict) -> dict:
        """{"texts": [{index, row, turns [{role, content}]}]} of kept records `indices`, 50 at most, each cut to a few lines."""
        records = data.open_records(self._home, _dataset(request))
        wanted = request.get("indices")
        if not isinstance(wanted, list) or not all(isinstance(n, int) and 0 <= n < len(records) for n in wanted):
            raise UserError("err_selection_no_indices")
        return {"texts": [_shown(index, records[index]) for index in wanted[:_MOST_TEXTS]]}

    @for_owners
    def search(self, request: dict) -> dict:
        """{"found": base64 of a byte a kept record, 1 where its text holds `text`, "total"}."""
        records = data.open_records(self._home, _dataset(request))
        hits = np.zeros(len(records), np.uint8)
        text = str(request.get("text") or "")[:200]
        hits[records.search(text) if text else []] = 1
        return {"found": base64.b64encode(hits.tobytes()).decode(), "total": int(hits.sum())}

    @for_owners
    def races(self, request: dict) -> dict:
        """{"races": those of this made data set, the newest first, each as DataRaces.shown, "people": [DatasetInfo.in_menu] that
        it can race against}."""
        dataset_id = _dataset(request)
        found = [each for each in self._services.data_races.list() if each["spec"].get("dataset_id") == dataset_id]
        sets = [each for each in data.list_datasets(self._home) if each.task == "chat"]
        people = [each.in_menu() for each in sets if not {"generated", "data_race"} & set(each.source)]
        return {"races": found, "people": people}

    @for_owners
    def start_race(self, request: dict) -> dict:
        """DataRaces.start with as many as `number` records."""
        number, people_id = request.get("number"), str(request.get("people_id") or "")
        return self._services.data_races.start(_dataset(request), people_id, number)  # type: ignore[arg-type]

    @for_owners
    def stop_race(self, request: dict) -> dict:
        """The race's status; its runs stop too."""
        return self._services.data_races.stop(str(request.get("job_id")))

    @for_owners
    def resume_race(self, request: dict) -> dict:
        """The race's status."""
        return self._services.data_races.resume(str(request.get("job_id")))


def _dataset(request: dict) -> str:
    dataset_id = request.get("dataset_id")
    if not isinstance(dataset_id, str):
        raise UserError("err_dataset_unnamed")
    return dataset_id


def _shown(index: int, record: dict) -> dict:
    shown = [{"role": turn["role"], "content": turn["content"][:_CHARACTERS]} for turn in turns(record)[:6]]
    return {"index": index, "row": record["row"], "turns": shown}
