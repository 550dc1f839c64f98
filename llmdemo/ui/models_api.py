"""The endpoints about models that may be chosen: presets with what they would take here, a model's parts, one to add."""

from collections.abc import Callable

from llmdemo import offered, prepare
from llmdemo.ui import model_pages
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> tuple[Callable, ...]:
    """The functions; ui.api registers them."""

    @for_owners
    def list_presets() -> list[dict]:
        """Models of the hub that people use, each with its id first, as published, and what it would take here.

        licence, gated (whether the hub wants its licence accepted), parameters, layers, heads, kv_heads, width, context,
        vocabulary, tokens and data of its pretraining, source (who says so), ready (fetched before); methods: for galore,
        adamw and lora, with the default settings of the task chat and records of a likely length, bytes (predicted peak),
        available, fits, short_by (bytes that are missing), seconds, seconds_low, seconds_high and rough (whether no run
        here has shown the speed yet). Nothing is downloaded. The first call takes a minute or two.
        """
        return offered.list_presets(services.home, services.runs.list())

    @for_owners
    def describe_model(model_id: str) -> dict:
        """What a model, or a preset that is not fetched, is made of: parameters, layers, tied (the head is the embedding),
        and parts: {name, block, shape, count, parameters, in_layers}, tensors of alike layers counted together.
        """
        return model_pages.describe_model(services, model_id)

    @for_owners
    def add_model(model_id: str) -> dict:
        """Puts a model on the menu: a folder of this computer, or a name on the hub, whose files are fetched first. Returns its
        id."""
        return {"id": prepare.add_model(services.home, model_id, services.settings).id}

    return list_presets, describe_model, add_model
