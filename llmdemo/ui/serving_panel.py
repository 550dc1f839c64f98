"""Beside a finished run: its model is served to other programs (assets/serving/panel.js). Knows no engine and no HTTP."""

import time
from collections.abc import Callable
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.models import catalog
from llmdemo.publish.adapter import has_adapter
from llmdemo.serving.examples import examples
from llmdemo.ui import bridge, circle_api, downloads, serving_api
from llmdemo.ui.circle_pages import CirclePages
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services

_MOST_ADDRESS = 300
_MOST_SECONDS = 10 * 366 * 86_400


def build(services: Services) -> None:
    """Builds the island inside the current Blocks context; it shows itself beside finished runs and what is served."""

    @for_owners
    def serving_state(request: dict) -> dict:
        """What is served with its commands for the page's own address, the keys, and figures of each model."""
        return _state(services, request)

    @for_owners
    def serving_monitor(request: dict) -> dict:
        """Figures over time of the last `seconds` (0: all), each version with its title, drift and training data."""
        return _monitored(services, request.get("seconds"))

    endpoints = [*serving_api.endpoints(services), *circle_api.endpoints(services)]
    functions = [serving_state, serving_monitor, *CirclePages(services).functions(), *of_endpoints(endpoints)]
    island = bridge.island("serving", functions, events=["submit"], elem_id="train-serving")
    note = bridge.island("notice", elem_id="train-serving-note")
    downloads.on_request(island.submit, _packed(services), note, "train-gguf")


def _packed(services: Services) -> Callable[[dict, Path], Path]:
    def packed(asked: dict, folder: Path) -> Path:
        """The .zip of a finished export, or of a LoRA run's adapters."""
        services.require_owner()
        if asked.get("adapter"):
            return services.pushes.adapter(str(asked["adapter"]), folder)
        return services.exports.packed(str(asked.get("export_id")), folder)

    return packed


def _state(services: Services, request: dict) -> dict:
    serving, base = services.serving, _text(request, "base").rstrip("/")[:_MOST_ADDRESS]
    told, figures = serving.overview(), serving.figures()
    for one in told["served"]:
        served = serving.registry.all().get(one["name"])
        one["examples"] = examples(served, base, one["task"] == "classify") if served else {}
        key = one["name"], one["model_id"]
        one["figures"] = next((each for each in figures if (each["name"], each["model_id"]) == key), None)
    model_id = _text(request, "model_id")
    exports = services.exports.of_model(model_id) if model_id else []
    told["adapter"] = has_adapter(services.home, model_id)
    told["watched"] = bool(serving.metrics.records())
    return {**told, "exports": exports, "writes": not model_id or _writes(services, model_id)}


def _monitored(services: Services, seconds: object) -> dict:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _MOST_SECONDS:
        raise UserError("err_page_value", key="seconds")
    monitor, slots, now = services.serving.monitor, services.serving.slots, time.time()
    versions = [
        {
            **one,
            "title": catalog.title_of(services.home, one["model_id"]) if one["model_id"] else "",
            **(monitor.told(one["name"], one["model_id"]) if one["name"] else {}),
        }
        for one in monitor.over_time(now - seconds if seconds else 0.0)
    ]
    return {"versions": versions, "now": round(now), "running": slots.running, "queued": slots.queued}


def _writes(services: Services, model_id: str) -> bool:
    """Whether the model goes on writing a text; a classifier has no strategy, and no place in GGUF."""
    try:
        return catalog.resolve(services.home, model_id).writes
    except UserError:
        return True  # it is gone: said where it is used


def _text(request: dict, key: str) -> str:
    value = request.get(key, "")
    if not isinstance(value, str):
        raise UserError("err_page_value", key=key)
    return value
