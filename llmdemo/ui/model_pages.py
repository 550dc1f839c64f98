"""What the page asks of models that may be chosen: presets with what they would take here, and a model's parts."""

from llmdemo import offered
from llmdemo.models import catalog, presets, scratch
from llmdemo.models.library import import_library
from llmdemo.settings.training import METHODS
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


class ModelPages:
    """The functions behind the choice of a model, over one installation."""

    def __init__(self, services: Services):
        self._services = services

    @for_owners
    def presets(self, _: dict) -> dict:
        """{"presets"}: the facts of each at once; what they would take is asked for one by one."""
        return {"presets": [offered.offer(self._services.home, each) for each in presets.list_presets()]}

    @for_owners
    def preset_costs(self, request: dict) -> dict:
        """{"methods"}: offered.costs of the preset `id` with the form's settings, `config`, for these `methods`."""
        config = request.get("config")
        config = {key: value for key, value in config.items() if key != "method"} if isinstance(config, dict) else {}
        if not str(config.get("dataset_id") or "").startswith("data"):
            config.pop("dataset_id", None)  # the sample that is not added yet
        preset = presets.preset(str(request.get("id")))
        methods = tuple(method for method in METHODS if method in (request.get("methods") or METHODS))
        return {"methods": offered.costs(self._services.home, self._services.runs.list(), preset, config, methods)}

    @for_owners
    def architecture(self, request: dict) -> dict:
        """models.architecture of a model that is here, or of a preset."""
        return describe_model(self._services, str(request.get("model_id") or ""))


def describe_model(services: Services, model_id: str) -> dict:
    """models.architecture.architecture of a model of the catalog, of the preset of this id, or of a new model, whose id is
    scratch:SIZE:VOCABULARY:LENGTH. Raises UserError."""
    import_library()
    from llmdemo.models.architecture import architecture

    if model_id.startswith(f"{scratch.KIND}:"):
        return architecture(scratch.entry_of_id(model_id))
    known = {each.id: each for each in presets.list_presets()}
    here = not known.get(model_id) or (catalog.hub_folder(services.home, model_id) / "config.json").is_file()
    return architecture(catalog.resolve(services.home, model_id) if here else known[model_id].entry())
