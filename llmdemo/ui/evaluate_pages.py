"""What the evaluate panel's scripts ask for: choices, evaluations as they go, records, one text. Knows no widget."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmdemo import data, prepare
from llmdemo.core.errors import UserError
from llmdemo.core.store import parse_json
from llmdemo.evaluation import benchmark_files, heldout, run_lm_eval
from llmdemo.evaluation.export import differs
from llmdemo.evaluation.folds import start_folds
from llmdemo.evaluation.rubrics import drop, keep, rubrics
from llmdemo.jobs.states import COMPLETED, FAILED
from llmdemo.models import catalog
from llmdemo.models.steps import steps_of
from llmdemo.settings.evaluation import KIND_OF_TASK, LIMITS
from llmdemo.settings.judge import CRITERIA, SCORES
from llmdemo.settings.training import METHODS
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services

_TASK = "lm-eval:"
"""Before the name of a task of that package, in the place of a folder or a data set."""
_MOST_ROWS = 2000
_EXCERPT = 140
_ALTERNATIVES = 10
_NOT_IN_THE_TABLE = ("answers", "instruction", "messages", "sum", "bytes", "labels")
_MOST_CLASSIFIERS = 20
_MOST_VOTES = 50
_MOST_OPENED = 4 * 2**20
"""Bytes that are read of a vote's first event, which holds its prompts."""
_OWN_TO_A_RUN = ("dataset_id", "name", "task", "folds", "fold")
_FOLD_KEYS = ("dataset_id", "model_id", "method", "max_steps", "seed")


class EvaluatePages:
    """The functions behind the panel's islands, over one installation's evaluations."""

    def __init__(self, services: Services):
        self._services = services
        self._evaluations = services.evaluations

    # ---- the form

    @for_owners
    def choices(self, _: dict) -> dict:
        """What can be chosen: data sets with the kind of their evaluation, models with what they can do, the data set of
        their own run (None without one) and the steps that it kept, defaults."""
        sets = data.list_datasets(self._services.home)
        models = catalog.list_models(self._services.home)
        return {
            "data_sets": [each.in_menu() | {"kind": KIND_OF_TASK[each.task]} for each in sets],
            "models": [
                {
                    "id": model.id,
                    "title": model.title,
                    "ready": model.ready,
                    "task": model.task,
                    "writes": model.writes,
                    "dataset_id": heldout.own_dataset(self._services.home, (model.id,), sets),
                    "steps": steps_of(self._services.home.runs / model.id) if model.kind == "run" else [],
                }
                for model in models
            ],
            "limits": LIMITS,
            "criteria": CRITERIA,
            "scores": list(SCORES),
            "rubrics": rubrics(self._services.home),
            "votes": self._votes(),
            "methods": list(METHODS),
            "fold_steps": prepare.defaults("galore", "classify")["max_steps"],
            "classifiers": self._classifiers(),
        }

    def _votes(self) -> list[dict]:
        """[{session_id, title, opened}] of the newest votes, from the first event of each: no other is read."""
        folder, found = self._services.home.votes, []
        names = (
            sorted((each.name for each in folder.iterdir() if each.is_dir()), reverse=True) if folder.is_dir() else []
        )
        for name in names[:_MOST_VOTES]:
            try:
                with open(folder / name / "events.jsonl", "rb") as file:
                    opened = parse_json(file.readline(_MOST_OPENED))
                title, time = str(opened["config"]["title"])[:120], float(opened["t"])
            except (OSError, ValueError, LookupError, TypeError):
                continue  # no vote, or one that is just being opened
            found.append({"session_id": name, "title": title, "opened": time})
        return found

    @for_owners
    def keep_rubric(self, request: dict) -> dict:
        """Keeps criteria and what each grade means under a name; {"rubrics"}: all that are kept."""
        scores = request.get("rubric")
        texts = tuple(map(str, scores)) if isinstance(scores, list) else ()
        name, criteria = str(request.get("name") or ""), str(request.get("criteria") or "")
        return {"rubrics": keep(self._services.home, name, criteria, texts)}

    @for_owners
    def drop_rubric(self, request: dict) -> dict:
        """Forgets kept criteria; {"rubrics"}: those that are left."""
        return {"rubrics": drop(self._services.home, str(request.get("name") or ""))}

    def _classifiers(self) -> list[dict]:
        """[{run_id, name, max_steps}] of the newest finished runs whose settings a cross-validation can take over."""
        runs, found = self._services.runs, []
        for status in runs.list():
            done = status["state"] == COMPLETED and not status["imported"]
            if done and (status["worker"] or {}).get("task") == "classify":
                try:
                    config = runs.config(status["run_id"])
                except UserError:
                    continue  # it was just deleted, or its folder is damaged
                if not config.get("folds"):
                    steps = config.get("max_steps")
                    found.append({"run_id": status["run_id"], "name": status["name"], "max_steps": steps})
            if len(found) == _MOST_CLASSIFIERS:
                break
        return found

    @for_owners
    def benchmark(self, request: dict) -> dict:
        """What was read of a folder or a data set of the hub: {key, name, shape, count} of BenchmarkSpec."""
        source = str(request.get("source") or "")
        if source.startswith(_TASK):
            return asdict(run_lm_eval.task_spec(source.removeprefix(_TASK)))
        return asdict(benchmark_files.add_source(self._services.home, self._services.settings, source))

    def benchmark_file(self, path: Path) -> dict:
        """The same of an uploaded file."""
        self._services.require_owner()
        return asdict(benchmark_files.add_file(self._services.home, self._services.settings, path))

    @for_owners
    def folds(self, config: dict) -> dict:
        """{"evaluation_id"} of a K-fold cross-validation: its runs are in the queue.

        What `config` does not say is as in the run `like`, else the default.
        """
        values = {key: config[key] for key in _FOLD_KEYS if config.get(key) is not None}
        if config.get("like"):
            like = self._services.runs.config(str(config["like"]))
            values = {key: like[key] for key in prepare.SETTINGS if key in like and key not in _OWN_TO_A_RUN} | values
        count = int(config.get("folds") or 5)
        started = start_folds(self._services.home, self._services.runs, self._evaluations, values, count)
        return {"evaluation_id": started}

    # ---- evaluations

    @for_owners
    def overview(self, request: dict) -> dict:
        """All evaluations in brief and the chosen one, else one that goes, else the newest; its result when it is new.

        `seen` is what the page has already; with `differ` its records are those where the two models differ.
        """
        known = self._evaluations.list()
        chosen = _choose(known, request.get("evaluation_id"))
        brief = [
            {key: each[key] for key in ("evaluation_id", "state", "kind", "created", "titles")} for each in known[:50]
        ]
        if chosen is None:
            return {"evaluations": brief, "evaluation": None}
        differ = bool(request.get("differ"))
        seen = f"{chosen['evaluation_id']} {chosen['state']} {chosen['progress'].get('number', 0)} {differ}"
        shown: dict[str, Any] = {"status": _public(chosen), "seen": seen, "fresh": seen != request.get("seen")}
        if shown["fresh"]:
            try:
                shown |= self._result(chosen["evaluation_id"], differ)
            except UserError as error:  # damaged: it is said, and the evaluation can be deleted
                shown |= {"result": {}, "records": [], "of": 0}
                shown["status"] |= {"state": FAILED, "message": error.message, "hint": error.hint}
        return {"evaluations": brief, "evaluation": shown}

    def _result(self, evaluation_id: str, differ: bool) -> dict:
        """{"result", "records", "of"}: the first records of the `of` that are asked for, with texts cut short."""
        result, records = self._evaluations.result_with_records(evaluation_id)
        if result.get("kind") == "classify":
            for model in result["models"]:
                model["mistakes"] = [_mistake(records[place], model, result) for place in model["mistakes"]]
            return {"result": result, "records": [], "of": 0}
        asked = [record for record in records if differs(record)] if differ else records
        return {"result": result, "records": [_row(record) for record in asked[:_MOST_ROWS]], "of": len(asked)}

    @for_owners
    def record(self, request: dict) -> dict:
        """One record of an evaluation, whole."""
        index = request.get("index")
        for record in self._evaluations.records(_id(request)):
            if record["index"] == index:
                return record
        raise UserError("err_no_such_record")

    def table(self, request: dict, folder: Path) -> Path:
        """All records of an evaluation as a .csv in `folder`."""
        self._services.require_owner()
        return self._evaluations.export(_id(request), folder)


def _row(record: dict) -> dict:
    """What the table shows of a record: excerpts, and whether the whole texts differ."""
    kept = {key: value for key, value in record.items() if key not in _NOT_IN_THE_TABLE}
    kept["differs"] = differs(record)
    for key in ("prompt", "reference"):
        if key in kept:
            kept[key] = kept[key][:_EXCERPT]
    if "alternatives" in record:
        kept["alternatives"] = [answer[:_EXCERPT] for answer in record["alternatives"][:_ALTERNATIVES]]
    if "cells" in record:
        kept["cells"] = [{"correct": cell["correct"]} for cell in record["cells"]]
    if "said" in record:
        kept["said"] = [text[:_EXCERPT] for text in record["said"]]
    for key in ("opinions", "chosen", "rejected"):
        kept.pop(key, None)
    if "answers" in record:
        kept["answers"] = [answer[:_EXCERPT] for answer in record["answers"]]
    return kept


def _mistake(record: dict, model: dict, result: dict) -> dict:
    side = [each["id"] for each in result["models"]].index(model["id"])
    return {
        "row": record["row"],
        "text": record["text"],
        "label": record["label"],
        "predicted": record["predicted"][side],
        "probability": record["probability"][side],
    }


def _public(status: dict) -> dict:
    return {key: value for key, value in status.items() if key != "spec"} | {
        "judged_by_endpoint": (status["spec"].get("judge") or {}).get("kind") == "endpoint",
        "limit": status["spec"].get("limit"),
    }


def _id(request: dict) -> str:
    evaluation_id = request.get("evaluation_id")
    if not isinstance(evaluation_id, str):
        raise UserError("err_evaluation_unnamed")
    return evaluation_id


def _choose(known: list[dict], evaluation_id) -> dict | None:
    for each in known:
        if each["evaluation_id"] == evaluation_id:
            return each
    going = [each for each in known if each["state"] in ("running", "stopping")]
    return next(iter(going or known), None)
