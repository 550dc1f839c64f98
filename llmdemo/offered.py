"""What each preset would take to train here, before a byte of it is fetched: memory by the memory estimate, time by the pace.

Joins presets, prediction and this machine's runs for the page and the endpoint. Imports torch only to predict.
"""

from pathlib import Path

from llmdemo import pace, prepare
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.models import catalog, presets
from llmdemo.models.presets import Preset
from llmdemo.settings.training import METHODS

_TASK = "chat"


def list_presets(home: Home, runs: list[dict]) -> list[dict]:
    """Preset.facts of each, with `ready` and `methods`: by method, see `cost`, for a default run of the task chat."""
    return [offer(home, each) | {"methods": costs(home, runs, each)} for each in presets.list_presets()]


def offer(home: Home, preset: Preset) -> dict:
    """Preset.facts, and whether it is `ready`: fetched before."""
    return preset.facts() | {"ready": _is_here(catalog.hub_folder(home, preset.id))}


def costs(
    home: Home, runs: list[dict], preset: Preset, values: dict | None = None, methods: tuple[str, ...] = METHODS
) -> dict[str, dict]:
    """`cost` by method."""
    return {method: cost(home, runs, preset, {**(values or {}), "method": method}) for method in methods}


def cost(home: Home, runs: list[dict], preset: Preset, values: dict) -> dict:
    """{"bytes", "available", "fits", "short_by", "rough_bytes", "seconds", "seconds_low", "seconds_high", "rough"} of a run
    with these settings on the preset; the dataset_id may be missing, then records of a likely length are assumed.

    bytes: predicted peak of all processes that share this machine's memory; short_by: what is missing, 0 where it fits.
    Settings that this method or data cannot have give {"error"}: the sentence.
    """
    known = {key: value for key, value in values.items() if key in prepare.SETTINGS and key != "model_id"}
    try:
        predicted = prepare.predict(home, {"task": _TASK, **known}, preset.entry())
    except UserError as error:
        return {"error": str(error)}
    ledger = predicted["ledger"]
    todo = pace.seconds_of_size(runs, preset.parameters, known.get("method"), predicted["task"], predicted["work"])
    return {
        "bytes": ledger["needed"],
        "available": ledger["available"],
        "fits": ledger["fits"],
        "short_by": max(0, ledger["needed"] - ledger["available"]),
        "rough_bytes": ledger["rough"],
        **todo,
    }


def _is_here(folder: Path) -> bool:
    return (folder / "config.json").is_file()
