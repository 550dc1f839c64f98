"""Runs that lessons start: the first result, and two runs raced. Made once and kept: asked for again, they are found by name. Knows no lesson."""

from collections.abc import Callable

from llmdemo import data, prepare
from llmdemo.core.assets import FOLDER
from llmdemo.core.errors import UserError
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import add_sample, starter_tokenizer
from llmdemo.ui.services import Services

FIRST_RUN = "Start here"
FIRST = {
    "max_steps": 12,
    "batch_size": 4,
    "learning_rate": 1e-4,
    "warmup_steps": 2,
    "max_length": 128,
    "eval_records": 4,
    "eval_steps": 12,
}
"""Short, yet the answer's form changes: some 4,000 tokens, held-out loss 2.6 → 0.2."""
_GOING = ("queued", "starting", "running", "stopping")
_KEYS = ("run_id", "state", "message", "hint", "step", "total_steps", "model_id", "eta_seconds")
_SHORT = {"batch_size": 4, "max_length": 128, "eval_records": 8, "warmup_steps": 2, "learning_rate": 1e-4}
_FACTS = {**_SHORT, "max_steps": 32, "eval_share": 0.0, "schedule": "constant"}
_ANSWERS = {**_SHORT, "max_steps": 16, "eval_steps": 8}
RACES: dict[str, dict[str, dict]] = {
    "instructions": {"response": {**_ANSWERS, "loss_on": "response"}, "all": {**_ANSWERS, "loss_on": "all"}},
    "facts": {"known": {**_FACTS, "file": "facts-known"}, "new": {**_FACTS, "file": "facts-new"}},
}
"""Settings of each run of a race, by its name; "file": data of assets/learn instead of the visitor's."""


def functions(services: Services) -> list[Callable]:
    """The island's functions, each over one JSON object."""

    @for_owners
    def begin(_: dict) -> dict:
        """{"run_id", "kept", "dataset_id"}: the first run, which is started unless it is there (kept)."""
        services.require_owner()
        info = add_sample(services)
        run_id, kept = _run(services, FIRST_RUN, {**FIRST, "dataset_id": info.dataset_id})
        return {"run_id": run_id, "kept": kept, "dataset_id": info.dataset_id}

    @for_owners
    def race(asked: dict) -> dict:
        """{"runs": [{run_id, part, name}]}: the runs of a race `kind`, on `dataset_id` (the sample without one)."""
        services.require_owner()
        kind = asked.get("kind")
        if not isinstance(kind, str) or kind not in RACES:
            raise UserError("err_lesson_choice", name="kind", value=repr(str(kind)[:40]), names=list(RACES))
        found = []
        for part, settings in RACES[kind].items():
            values = {key: value for key, value in settings.items() if key != "file"}
            values["dataset_id"] = _dataset(services, settings.get("file"), str(asked.get("dataset_id") or ""))
            run_id, _ = _run(services, f"Lesson: {kind}, {part}", values)
            found.append({"run_id": run_id, "part": part})
        return {"runs": found}

    @for_owners
    def progress(asked: dict) -> dict:
        """{"runs": [{state, step, …, curve: {step, value}}]} of `run_ids`, at most four; see Runs.status."""
        services.require_owner()
        named = asked.get("run_ids")
        run_ids = [str(each) for each in named[:4]] if isinstance(named, list) else []
        curves = services.runs.compare(run_ids, "loss", 200)
        return {
            "runs": [
                {key: status.get(key) for key in _KEYS} | {"curve": {key: curve[key] for key in ("step", "value")}}
                for status, curve in zip(map(services.runs.status, run_ids), curves, strict=True)
            ]
        }

    @for_owners
    def pairs(_: dict) -> dict:
        """{"dataset_id"}: twelve pairs of a better and a worse answer, for who has none."""
        services.require_owner()
        return {"dataset_id": _dataset(services, "pairs", "")}

    return [begin, race, progress, pairs]


def _run(services: Services, name: str, values: dict) -> tuple[str, bool]:
    """(run_id, whether it was there): the run of this name on this data, which is started where none is usable."""
    for run in services.runs.list():
        usable = run["state"] in _GOING or (run["state"] == "completed" and run["model_id"])
        if run["name"] != name or not usable:
            continue
        if services.runs.config(run["run_id"]).get("dataset_id") == values["dataset_id"]:
            return run["run_id"], True
    return prepare.started(services.home, services.runs, {**values, "name": name})["run_id"], False


def _dataset(services: Services, file: str | None, dataset_id: str) -> str:
    """The id of the data set that is named, or of one that ships with the app, which is added once."""
    if file is None:
        return dataset_id or add_sample(services).dataset_id
    path = FOLDER / "learn" / f"{file}.json"
    for info in data.list_datasets(services.home):
        if info.source.get("file") == path.name:
            return info.dataset_id
    name = f"Lesson: {file}"
    return data.add_dataset(
        services.home, services.settings, path, name, tokenizer=starter_tokenizer(services)
    ).dataset_id
