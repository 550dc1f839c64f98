"""Settings as a person gives them become a run: checked, joined with the data set and the model, put in the queue.

Joins data, models, training and runs for the page and the endpoints alike. Imports torch only to predict; knows no widget.
"""

from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from llmdemo import data, pace
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import percent, say
from llmdemo.core.store import Home, new_id
from llmdemo.jobs.environment import gpus, has_accelerator
from llmdemo.knowledge.found import asked_again, longest_answer, probe_for
from llmdemo.models import catalog, scratch
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.library import import_library
from llmdemo.runs.machines import checked_machines, script
from llmdemo.settings import Settings
from llmdemo.settings.training import TrainConfig, by_loss, data_tasks, defaults_of, rows_of
from llmdemo.training.checks import check_gpus, check_task
from llmdemo.training.trackers import require_installed

SETTINGS = tuple(field.name for field in fields(TrainConfig))
"""The names of all settings; a run's config.json has more: the data set, the model, who started it."""
_LIKELY_LENGTH = 128
_ANSWERED = 0.5
"""Share of the longest answer allowed that a probe's questions are answered with, in the mean: most answers end before
(tests/benchmarks/knowledge_cost.py)."""
_MUCH = 0.05
"""Share of a run's time from which on it is told what takes it beside the run."""


def defaults(method: str, task: str = "chat") -> dict:
    """The settings that a run of this task with this method has unless told otherwise."""
    config = defaults_of(task, method).to_dict()
    return {
        key: value for key, value in config.items() if key not in ("dataset_id", "model_id", "method", "task", "name")
    }


def checked(
    home: Home, values: dict, entry: ModelEntry | None = None, there: int | None = None
) -> tuple[TrainConfig, data.DatasetInfo, ModelEntry]:
    """(config, DatasetInfo, ModelEntry) for settings by the contract's keys; the task follows the data set's.

    For a run on another machine: `entry`, a model that need not be here, instead of the settings' model_id; `there`, the GPUs
    of that machine. Raises UserError for a setting, a data set or a model that cannot be used.
    """
    if not isinstance(values, dict):
        raise UserError("err_config_no_object")
    given = by_loss({key: value for key, value in values.items() if value is not None})
    config = TrainConfig.from_dict(given)
    info = data.get_dataset(home, config.dataset_id)
    task = _task_of(given, info)
    if task == "pretrain" and info.task != "text":
        raise UserError("err_task_of_data_pretrain", name=info.name, task=info.task)
    if info.task not in data_tasks(task):
        raise UserError("err_task_differs", asked=repr(config.task), name=info.name, own=repr(info.task))
    if not info.kept:
        raise UserError("err_no_record_to_train", name=info.name)
    for other in (config.replay_dataset_id, config.forgetting_dataset_id) if task == "text" else ():
        if other not in ("", "none"):
            data.get_dataset(home, other)
    if task == "chat":
        probe_for(home, info.content_hash, config.model_id, config.probe_id)
    require_installed(config.log_with)
    check_gpus(config, len(gpus()) if there is None else there)
    config = TrainConfig.from_dict({**given, "task": task}).resolved()
    entry = entry or _starts_from(home, config)
    check_task(config, entry)
    return config, info, entry


def _task_of(values: dict, info: data.DatasetInfo) -> str:
    """The task that was asked for, else that of the data set."""
    return values.get("task") or info.task


def _starts_from(home: Home, config: TrainConfig) -> ModelEntry:
    """The model that a run starts from; of the task pretrain, one that is yet to be made. Raises UserError."""
    if config.task != "pretrain":
        return catalog.resolve(home, config.model_id)
    if config.tokenizer_from:
        catalog.resolve(home, config.tokenizer_from)
    return scratch.entry_of(config.model_size, config.vocabulary_size, config.max_length)


def start(home: Home, runs, values: dict, extra: dict | None = None) -> str:
    """Puts a run with these settings in the queue; returns its run_id. Raises UserError.

    `extra` is kept in the run's config.json beside the settings, for whoever started it.
    """
    config, info, entry = checked(home, values)
    return runs.start({**whole_config(config, info, entry), **(extra or {})}, name=config.name or None)


def whole_config(config: TrainConfig, info: data.DatasetInfo, entry: ModelEntry) -> dict:
    """What a run's config.json holds of checked settings: they, the data set and the model."""
    return config.to_dict() | {
        "dataset": {"id": info.dataset_id, "name": info.name, "content_hash": info.content_hash},
        "model": {"id": entry.id, "title": entry.title, "path": str(entry.path or ""), "revision": entry.revision},
    }


def started(home: Home, runs, values: dict) -> dict:
    """{"run_id", "notes"}: as `start`, with what people should know of the run at once."""
    notes = notes_before(home, checked(home, values)[0])
    return {"run_id": start(home, runs, values), "notes": notes}


def clone(home: Home, runs, run_id: str) -> str:
    """Queues a new run with the settings of this one, on the same data; returns its run_id.

    Raises UserError as a start does, and where the data is not here, as may be for a run from elsewhere.
    """
    name = f"{runs.status(run_id)['name'][:90]} (copy)"
    return start(home, runs, {**values_of(home, runs, run_id), "name": name})


def values_of(home: Home, runs, run_id: str) -> dict:
    """The settings of a run, on the same data. Raises UserError where that is not here."""
    config = runs.config(run_id)
    values = {key: value for key, value in config.items() if key in SETTINGS}
    return {**values, "dataset_id": _same_data(home, config)}


def on_machines(home: Home, values: dict, machines: int, processes: int) -> dict:
    """{"run_id", "text"}: a run with these settings on several machines, as text for their shells, see runs/machines.py.

    It is in the list as soon as its folder is there and the app is started again. Raises UserError as a start does.
    """
    machines, processes = checked_machines(machines, processes)
    values = {**values, "num_processes": machines * processes}
    config, info, entry = checked(home, values, there=machines * processes)
    run_id = new_id("run")
    whole = whole_config(config, info, entry) | {"run": {"id": run_id, "name": config.name or run_id}}
    text = script(home.runs / run_id, whole, machines, processes, cpu=not has_accelerator())
    return {"run_id": run_id, "text": text}


def _same_data(home: Home, config: dict) -> str:
    """The id of the data set that a run was on, or of another with the same content. Raises UserError."""
    dataset = config.get("dataset") or {}
    content = dataset.get("content_hash")
    same = [each.dataset_id for each in data.list_datasets(home) if each.content_hash == content]
    if not same and content:
        raise UserError("err_data_not_here", name=repr(str(dataset.get("name"))[:80]))
    asked = str(config.get("dataset_id"))
    return asked if asked in same or not same else same[0]


def predict(home: Home, values: dict, entry: ModelEntry | None = None) -> dict:
    """{"ledger", "task", "parameters", "step_tokens", "steps", "batch", "asked", "work", "notes"}: the memory these settings
    will take; weights of the model; tokens and records of a step; questions of a probe that each evaluation asks again; the
    work as pace.seconds takes it; sentences that people should know before the run.

    The memory estimate is training.memory_estimate.report's, for a batch of the data set's longest records; without a data set, for
    records of a likely length. `entry`: a model that need not be here, instead of the settings' model_id. Imports torch at
    the first call. Raises UserError as a start would.
    """
    tokens, kept, dataset_id, task = None, 1, values.get("dataset_id") or "none", values.get("task")
    info: data.DatasetInfo | None = None
    if dataset_id != "none":
        info = data.get_dataset(home, dataset_id)
        task = task if task and info.task in data_tasks(task) else info.task
        tokens, kept = info.tokens, info.kept
    config = TrainConfig.from_dict({**values, "dataset_id": dataset_id, "task": task}).resolved()
    entry = entry or _starts_from(home, config)
    rows, longest, trained, mean = _batch(config, tokens, kept)
    if info and config.task == "classify":
        draw = TrainConfig(**{key: getattr(config, key) for key in _DRAW})
        longest = _length_of_texts(home, info.measured, draw) or longest
    ledger = _ledger(entry, replace(config, dataset_id="any", name=""), rows, longest, rows * max(1, trained))
    step_tokens = config.global_batch * mean
    size = {"step_tokens": step_tokens, "steps": config.max_steps, "batch": config.global_batch}
    whole = min(tokens["mean"] if tokens else mean, config.max_length)
    asked, cost = _asked_again(home, config, info, whole) if info else (0, 0.0)
    plain, todo = (pace.work(config, kept, whole, step_tokens, each) for each in (0.0, cost))
    notes = notes_before(home, config) if info else []
    share = 1 - plain.tokens / todo.tokens if cost else 0.0
    if share > _MUCH:
        notes.append(say("note_probe_cost", n=asked, share=percent(share)))
    about = {"ledger": ledger, "task": config.task, "parameters": entry.parameters, "asked": asked}
    return {**about, **size, "work": todo, "notes": notes}


def _asked_again(home: Home, config: TrainConfig, info: data.DatasetInfo, mean: float) -> tuple[int, float]:
    """(records of a probe that a run asks again at each evaluation, at most; the tokens learned that would take as long)."""
    probe = probe_for(home, info.content_hash, config.model_id, config.probe_id) if config.task == "chat" else None
    if probe is None:
        return 0, 0.0
    asked = asked_again(probe, config.probe_records)
    written = _ANSWERED * longest_answer(probe) * pace.WRITTEN_TOGETHER
    return asked, asked * (written + 2 * mean * pace.READ_SHARE)


def notes_before(home: Home, config: TrainConfig) -> list[str]:
    """What people should know of a run before it starts: that nothing can be held out, that max_length leaves records out.

    Raises UserError.
    """
    if config.task in ("text", "pretrain") and config.eval_share:  # of too few texts the end is held out
        return []
    return _held_out_notes(home, config) + _length_notes(home, config)


def _held_out_notes(home: Home, config: TrainConfig) -> list[str]:
    kept = data.get_dataset(home, config.dataset_id).kept
    note = _held_out_note(home, config.dataset_id, kept, *_drawn_by(config))
    return [note] if note else []


def _length_notes(home: Home, config: TrainConfig) -> list[str]:
    """How many conversations keep no token of their answer within max_length, by the tokens counted when the data came."""
    measured = data.get_dataset(home, config.dataset_id).measured
    count = _too_long(home, config.dataset_id, config.max_length, measured) if config.task == "chat" else 0
    if not count:
        return []
    return [say("note_prompt_too_long", n=count, max_length=config.max_length)]


@lru_cache(maxsize=256)
def _too_long(home: Home, dataset_id: str, max_length: int, measured: str | None) -> int:
    return data.without_answer(home, dataset_id, max_length)


@lru_cache(maxsize=256)
def _held_out_note(home: Home, dataset_id: str, kept: int, *how) -> str:
    """Remembered: the records of a data set never change, and the form asks at every key."""
    records = data.open_records(home, dataset_id)
    return "" if len(data.split(records, *how)[1]) else data.why_none(records, how[1])


def _drawn_by(config: TrainConfig) -> tuple:
    """What data.split takes beside the records."""
    return config.seed, config.eval_share, config.fold, config.folds, config.split_version


def step_tokens(config: TrainConfig, info) -> float:
    """Tokens that a step of a run with this config is likely to see of a data set (DatasetInfo) that was measured."""
    return config.global_batch * _batch(config, info.tokens, info.kept)[3]


def _batch(config: TrainConfig, tokens: dict | None, kept: int) -> tuple[int, int, int, float]:
    """(rows of a forward pass, tokens of the longest, trained tokens of one, mean tokens of a record)."""
    limit = config.max_length
    mean, most = (tokens["mean"], tokens["longest"]) if tokens else (_LIKELY_LENGTH, 2 * _LIKELY_LENGTH)
    trained = -(-tokens["trained"] // max(1, kept)) if tokens else most // 2
    if config.packing:
        return config.batch_size, limit, limit, limit
    if config.task == "classify":  # long texts are computed apart from short ones
        return config.batch_size, min(limit, most, 2 * round(mean)), 0, min(mean, limit)
    if config.task in ("preference", "reward", "kto"):  # two rows a record, measured together
        each = trained if config.task == "kto" else -(-trained // 2)  # kto's record may be one answer
        return rows_of(config), min(limit, most), min(limit, each), min(mean, 2 * limit)
    longest = min(limit, most)
    if config.task == "grpo":
        rows, new = rows_of(config), config.max_new_tokens
        return rows, longest + new, new, min(mean, limit)
    return config.batch_size, longest, min(longest, trained), min(mean, limit)


def epoch(home: Home, dataset_id: str, runs: list[dict]) -> dict:
    """What one pass over the data set costs here with the default settings and the starter model.

    {"seconds", "seconds_low", "seconds_high", "rough", "steps", "tokens", "memory_bytes"}; `runs`: statuses that may
    tell this machine's speed. Raises UserError where the data set's tokens or the model are not known.
    """
    info = data.get_dataset(home, dataset_id)
    if info.tokens is None:
        raise UserError("err_tokens_not_counted_yet")
    predicted = predict(home, {"dataset_id": dataset_id})
    cost = data.epoch_cost(info.tokens, info.kept, 1.0, batch_size=predicted["batch"], packed=info.task == "text")
    config = TrainConfig.from_dict({"dataset_id": dataset_id, "task": info.task, "max_steps": max(1, cost["steps"])})
    todo = pace.work(config, info.kept, info.tokens["mean"], cost["tokens"] / max(1, cost["steps"]))
    told = pace.seconds(home, runs, "starter", None, info.task, todo)
    return told | {
        "steps": cost["steps"],
        "tokens": cost["tokens"],
        "memory_bytes": predicted["ledger"]["predicted"]["total"],
    }


def _ledger(entry: ModelEntry, config: TrainConfig, rows: int, longest: int, trained: int) -> dict:
    import_library()
    import torch

    from llmdemo.training import memory_estimate

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = memory_estimate.Batch(rows, longest, trained)
    return memory_estimate.report(entry, config, batch, device, predicting=_predicted)


_DRAW = (
    *("dataset_id", "seed", "eval_share", "fold", "folds", "split_version", "max_length", "max_steps"),
    *("batch_size", "gradient_accumulation_steps", "num_processes"),
)
"""Settings that say which records a run's batches hold."""


@lru_cache(maxsize=256)
def _length_of_texts(home: Home, measured: str | None, config: TrainConfig) -> int:
    """Tokens of a text, padding included, in the largest batch that a run of the task classify draws; 0 where tokens are
    not counted. Remembered, as `_held_out_note`."""
    import_library()
    import torch

    from llmdemo.training.objectives.classify import largest_batch

    lengths = np.minimum(data.kept_lengths(home, config.dataset_id), config.max_length)
    if not len(lengths):
        return 0
    train = data.split(data.open_records(home, config.dataset_id), *_drawn_by(config))[0]
    return largest_batch(lengths[train], config, is_cpu=not torch.cuda.is_available()).length


@lru_cache(maxsize=256)
def _predicted(*asked):
    """memory_estimate.predict, remembered; what is free at the moment is asked for each time."""
    from llmdemo.training import memory_estimate

    return memory_estimate.predict(*asked)


def add_model(home: Home, model_id: str, settings: Settings | None = None) -> ModelEntry:
    """A model folder or a hub model, put on the menu; a hub model is fetched first. Raises UserError."""
    from llmdemo.models import hub

    model_id = model_id.strip()
    if "/" in model_id and not Path(model_id).expanduser().is_absolute():
        return hub.fetch(home, model_id, settings=settings)
    return catalog.add_model(home, model_id)
