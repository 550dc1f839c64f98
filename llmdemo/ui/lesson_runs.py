"""Runs that lessons start: the first result, and two runs raced. Made once and kept: asked for again, they are found by name. Knows no lesson."""

from collections.abc import Callable

from llmdemo import data, prepare
from llmdemo.core.assets import FOLDER
from llmdemo.core.errors import UserError
from llmdemo.jobs.states import ACTIVE
from llmdemo.learn.prepared import FIRST, FIRST_RUN, RACES
from llmdemo.models.catalog import STARTER_ID
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import add_sample, starter_tokenizer
from llmdemo.ui.services import Services

_KEYS = ("run_id", "state", "message", "hint", "step", "total_steps", "model_id", "eta_seconds")
_CURVES = ("loss", "eval_reward", "eval_held_out_check")
_POINTS = 200


def functions(services: Services) -> list[Callable]:
    """The island's functions, each over one JSON object."""

    @for_owners
    def begin(_: dict) -> dict:
        """{"run_id", "kept", "dataset_id"}: the first run, which is started unless it is there (kept)."""
        info = add_sample(services)
        run_id, kept = _run(services, FIRST_RUN, {**FIRST, "dataset_id": info.dataset_id, "model_id": STARTER_ID})
        return {"run_id": run_id, "kept": kept, "dataset_id": info.dataset_id}

    @for_owners
    def race(asked: dict) -> dict:
        """{"runs": [{run_id, part}]}: the runs of a race `kind`, on `dataset_id` (the sample without one), from `model_id`
        (the starter without one)."""
        kind = asked.get("kind")
        if not isinstance(kind, str) or kind not in RACES:
            raise UserError("err_lesson_choice", name="kind", value=repr(str(kind)[:40]), names=list(RACES))
        found = []
        for part, settings in RACES[kind].items():
            values = {key: value for key, value in settings.items() if key != "file"}
            values["dataset_id"] = _dataset(services, settings.get("file"), str(asked.get("dataset_id") or ""))
            values["model_id"] = str(asked.get("model_id") or STARTER_ID)
            run_id, _ = _run(services, f"Lesson: {kind}, {part}", values)
            found.append({"run_id": run_id, "part": part})
        return {"runs": found}

    @for_owners
    def progress(asked: dict) -> dict:
        """{"runs": [{state, step, …, curves: {name: {step, value}}, samples}]} of `run_ids`, at most four; see Runs.status,
        Runs.series and Runs.samples."""
        named = asked.get("run_ids")
        run_ids = [str(each) for each in named[:4]] if isinstance(named, list) else []
        return {"runs": [_progress(services, run_id) for run_id in run_ids]}

    @for_owners
    def pairs(_: dict) -> dict:
        """{"dataset_id"}: twelve pairs of a better and a worse answer, for who has none."""
        return {"dataset_id": _dataset(services, "pairs", "")}

    return [begin, race, progress, pairs]


def _progress(services: Services, run_id: str) -> dict:
    status, series = services.runs.status(run_id), services.runs.series(run_id, _POINTS)
    empty: dict[str, list] = {"step": [], "value": []}
    curves = {name: {key: series.get(name, empty)[key] for key in empty} for name in _CURVES}
    return {key: status.get(key) for key in _KEYS} | {"curves": curves, "samples": services.runs.samples(run_id)[:2]}


def _run(services: Services, name: str, values: dict) -> tuple[str, bool]:
    """(run_id, whether it was there): the run of this name on this data from this model, which goes on where somebody
    stopped it; started where none is usable."""
    stopped = ""
    for run in services.runs.list():
        goes_on = run["state"] == "stopped" and run["can_resume"]
        usable = goes_on or run["state"] in ACTIVE or (run["state"] == "completed" and run["model_id"])
        if run["name"] != name or not usable:
            continue
        known = services.runs.config(run["run_id"])
        if all(known.get(key) == values[key] for key in ("dataset_id", "model_id")):
            if not goes_on:
                return run["run_id"], True
            stopped = stopped or run["run_id"]
    if stopped:
        services.runs.resume(stopped)
        return stopped, True
    return prepare.started(services.home, services.runs, {**values, "name": name})["run_id"], False


def _dataset(services: Services, file: str | None, dataset_id: str) -> str:
    """The id of the data set that is named, or of one that ships with the app, which is added once."""
    if file is None:
        return dataset_id or add_sample(services).dataset_id
    path, name = FOLDER / "learn" / f"{file}.json", _name_of(file)
    for info in data.list_datasets(services.home):
        if _is_file(info, file):
            return info.dataset_id
    return data.add_dataset(
        services.home, services.settings, path, name, tokenizer=starter_tokenizer(services)
    ).dataset_id


def is_raced(info: data.DatasetInfo) -> bool:
    """Whether this is the data of one race alone: no visitor's own, and nothing for another lesson."""
    files = [settings["file"] for race in RACES.values() for settings in race.values() if "file" in settings]
    return any(_is_file(info, file) for file in files)


def _name_of(file: str) -> str:
    return f"Lesson: {file}"


def _is_file(info: data.DatasetInfo, file: str) -> bool:
    """By name and file: a visitor's own file may be called so too."""
    return (info.name, info.source.get("file")) == (_name_of(file), f"{file}.json")
