"""What the train panel's scripts ask for: choices, a prediction, runs as they go. JSON in, JSON out; knows no widget."""

from collections.abc import Callable
from pathlib import Path

from llmdemo import data, pace, prepare
from llmdemo.core.errors import UserError
from llmdemo.data import get_dataset
from llmdemo.models import catalog
from llmdemo.settings.schema import describe
from llmdemo.settings.training import DEFAULTS_BY_LOSS, METHODS, TASKS, TrainConfig, data_tasks
from llmdemo.settings.training_defaults import PRETRAIN_RATES
from llmdemo.ui import models_api, runs_api
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.interpret_api import run_changes
from llmdemo.ui.lesson_runs import is_raced
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import SAMPLE_ID
from llmdemo.ui.services import Services

_PLOT_POINTS = 400
_MOST_COMPARED, _COMPARED_POINTS = 12, 200
_BRIEF = (
    "run_id", "name", "state", "reason", "step", "total_steps", "loss", "loss_smoothed", "eval_loss", "scores", "created",
    "queue_position", "size_bytes",
)  # fmt: skip


class TrainPages:
    """The functions behind the panel's islands, over one installation's runs."""

    def __init__(self, services: Services):
        self._services = services
        self._changes = run_changes(services)

    def of_form(self) -> list[Callable]:
        """Those that the form's script may call."""
        return [
            self.choices,
            self.predict,
            *of_endpoints([*runs_api.endpoints(self._services)[:1], *models_api.endpoints(self._services)]),
        ]

    def of_runs(self) -> list[Callable]:
        """Those that the script of the runs may call."""
        endpoints = of_endpoints(runs_api.endpoints(self._services))
        return [self.overview, self.compare, self.changes, self.open_bundle, *endpoints]

    # ---- the form

    @for_owners
    def choices(self, _: dict) -> dict:
        """What can be chosen, and the settings that each task and method starts from."""
        # The first is what the form begins with: a lesson's facts only where there is nothing else.
        sets = sorted(data.list_datasets(self._services.home), key=is_raced)
        return {
            "data_sets": [each.in_menu() for each in sets],
            "models": [
                {"id": model.id, "title": model.title, "ready": model.ready, "writes": model.writes, "task": model.task}
                for model in catalog.list_models(self._services.home)
            ],
            "methods": list(METHODS),
            "tasks": {own: [task for task in TASKS if own in data_tasks(task) and task != "pretrain"] for own in TASKS},
            "settings": {key: each for key, each in describe(TrainConfig).items() if each["form"]},
            "defaults": {task: {method: prepare.defaults(method, task) for method in METHODS} for task in TASKS},
            "defaults_by_loss": DEFAULTS_BY_LOSS,
            "pretrain_rates": PRETRAIN_RATES,
        }

    @for_owners
    def predict(self, config: dict) -> dict:
        """{"ledger", "seconds", "seconds_low", "seconds_high", "rough", "asked", "notes"}: what these settings will take, see
        pace.seconds and prepare.predict, and what people should know before they start."""
        if config.get("dataset_id") == SAMPLE_ID:
            config = {**config, "dataset_id": None}
        predicted = prepare.predict(self._services.home, config)
        self._services.get_ready()
        how = (predicted["parameters"], config.get("method"), predicted["task"], predicted["work"])
        told = pace.seconds_of_size(self._services.runs.list(), *how)
        return told | {key: predicted[key] for key in ("ledger", "asked", "notes")}

    # ---- runs

    @for_owners
    def overview(self, request: dict) -> dict:
        """All runs in brief, and the chosen one: run_id, else one that is going, else the newest.

        `seen` is what the page has of its figures; they come along only when there are others.
        """
        self._services.elsewhere.collect()
        runs = self._services.runs.list()
        chosen = _choose(runs, request.get("run_id"))
        brief = [{key: run.get(key) for key in _BRIEF} for run in runs]
        if chosen is None:
            return {"runs": brief, "run_id": None, "run": None}
        seen = f"{chosen['run_id']} {chosen['attempt']} {chosen['step']} {chosen['eval_loss']} {chosen['state']}"
        run = {"status": chosen, "seen": seen, "figures": seen != request.get("seen")}
        if run["figures"]:
            run |= self._figures(chosen["run_id"])
        return {"runs": brief, "run_id": chosen["run_id"], "run": run}

    def _figures(self, run_id: str) -> dict:
        runs = self._services.runs
        try:
            config = runs.config(run_id)
        except UserError:
            config = {}  # damaged, as its notes say: the rest of the run can be seen, and the run deleted
        return {
            "config": config,
            "title": self._title(config) | {"tracker": self._tracker(run_id, config)},
            "series": runs.series(run_id, _PLOT_POINTS),
            "samples": runs.samples(run_id),
            "rounds": runs.rounds(run_id),
            "knowledge": runs.knowledge(run_id),
            "refreshes": runs.refreshes(run_id),
        }

    def _title(self, config: dict) -> dict:
        """The names of a run's data and model, as a person reads them."""
        dataset, model = config.get("dataset") or {}, config.get("model") or {}
        try:
            info = get_dataset(self._services.home, str(dataset.get("id")))
            kept = f"{info.name}, {info.kept:,} / {info.rows:,}"
        except UserError:
            kept = str(dataset.get("name") or "")
        return {
            "data": kept,
            "model": str(model.get("title") or model.get("id") or ""),
            "hash": str(dataset.get("content_hash", ""))[:12],
        }

    def _tracker(self, run_id: str, config: dict) -> str:
        """The command that shows the run in the tracker that was chosen; "" without one."""
        home = self._services.home
        commands = {
            "tensorboard": f"tensorboard --logdir {home.runs / run_id / 'tracker'}",
            "trackio": f"TRACKIO_DIR={home.root / 'trackio'} trackio show --project llmdemo",
        }
        return commands.get(str(config.get("log_with")), "")

    @for_owners
    def compare(self, request: dict) -> dict:
        """{"runs": [{run_id, name, state, created, series}], "settings"}: all figures of several runs, for one plot, and the settings
        in which they differ, see Runs.differences."""
        runs, found = self._services.runs, []
        chosen = [str(run_id) for run_id in (request.get("run_ids") or [])][:_MOST_COMPARED]
        for run_id in chosen:
            status = runs.status(run_id)
            brief = {key: status[key] for key in ("run_id", "name", "state", "created")}
            found.append({**brief, "series": runs.series(run_id, _COMPARED_POINTS)})
        return {"runs": found, "settings": runs.differences(chosen)}

    @for_owners
    def changes(self, request: dict) -> dict:
        """A part of how far training moved each matrix of the run, see RunChanges.part."""
        return self._changes(run_id_of(request), request.get("start", 0))

    @for_owners
    def open_bundle(self, request: dict) -> dict:
        """{"run_id"} of a run from the bundle at `path` on this computer, however large it is."""
        text = str(request.get("path") or "").strip()
        path = catalog.as_path(text)
        if path is not None and not catalog.is_open(self._services.home, path):
            raise UserError("err_files_not_open")
        if path is None or not _is_file(path):
            raise UserError("err_no_file_here", text=repr(text[:200]))
        return {"run_id": self._services.runs.import_bundle(path)}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, say
        return False


def run_id_of(request: dict) -> str:
    """Its run_id. Raises UserError where that is no text."""
    run_id = request.get("run_id")
    if not isinstance(run_id, str):
        raise UserError("err_run_unnamed")
    return run_id


def _choose(runs: list[dict], run_id) -> dict | None:
    """The run with this id, else one that is going, else the newest; None without runs."""
    for run in runs:
        if run["run_id"] == run_id:
            return run
    going = [run for run in runs if run["state"] in ("starting", "running", "stopping")]
    return next(iter(going or runs), None)
