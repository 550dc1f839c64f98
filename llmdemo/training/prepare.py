"""Before the first step: the run's config, its records as token ids, its model. Writes data.safetensors into the run's folder.

The run's folder keeps the token ids, so that a run can be resumed after its data set is gone.
"""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import pack, say, together, unpack
from llmdemo.data.records import Records, open_records
from llmdemo.data.split import in_order, split, why_none
from llmdemo.models import catalog
from llmdemo.settings.training import TrainConfig, data_tasks
from llmdemo.training import new_model, objectives
from llmdemo.training.batches import RunData, load_rows, save_rows
from llmdemo.training.checks import check_task
from llmdemo.training.objectives.tally import LEFT_OUT


def read_config(run_dir: Path) -> TrainConfig:
    """The checked config of the run; keys that describe the run rather than the training are left out."""
    values = store.read_json(run_dir / "config.json")
    known = {field.name for field in fields(TrainConfig)}
    # runs from before the draw had versions do not say which one they have
    own = {"split_version": 1} | {key: value for key, value in values.items() if key in known}
    return TrainConfig.from_dict(own).resolved()


def prepare_data(run_dir: Path, home: store.Home, config: TrainConfig, tokenizer) -> RunData:
    """Reads the data set, encodes it and keeps it in the run's folder; a second call only reads it back.

    Raises UserError when no record is left, or no token of any is trained.
    """
    path, notes = run_dir / "data.safetensors", run_dir / "data.json"
    if not (path.is_file() and notes.is_file()):
        made = _encode(home, config, tokenizer)
        save_rows(path, train=made.train, held_out=made.held_out, **made.more)
        store.write_json(notes, {"samples": made.samples, "about": made.about, "facts": pack(made.facts)})
    parts, kept = load_rows(path), store.read_json(notes)
    train, held_out = parts.pop("train"), parts.pop("held_out")
    return RunData(train, held_out, kept["samples"], kept["about"], parts, unpack(kept.get("facts", {})))


def _encode(home: store.Home, config: TrainConfig, tokenizer) -> RunData:
    records = open_records(home, config.dataset_id, despite=("undesired",) if config.task == "kto" else ())
    if records.task not in data_tasks(config.task):
        raise UserError("err_task_of_data", task=repr(records.task), asked=repr(config.task))
    train, held_out = split(records, config.seed, config.eval_share, config.fold, config.folds, config.split_version)
    if config.split_version > 1:
        held_out = in_order(records, held_out, config.seed)
    elif config.task == "classify":
        held_out = np.random.default_rng(config.seed).permutation(held_out)
    made = objectives.of(config.task).encode(objectives.Source(home, records, train, held_out), config, tokenizer)
    facts = {"notes": [], "left_out": {}, "train_records": len(train), **made.facts}
    if not len(made.train):
        raise _nothing_left(len(train), config, facts)
    if not len(made.held_out):
        facts["notes"] = [_nothing_held_out(records, held_out, config), *facts["notes"]]
    about = {
        "name": records.info.name,
        "content_hash": records.info.content_hash,
        "train_records": facts["train_records"],
        "held_out_records": len(held_out),
        "train_tokens": int(made.train.offsets[-1]),
    }
    return replace(made, about=about, facts=facts)


def _nothing_left(count: int, config: TrainConfig, facts: dict) -> UserError:
    why = {code: number for code, number in facts["left_out"].items() if code in LEFT_OUT}
    if set(why) == {"refused"}:
        said = together(say("template_refuses_all", n=why["refused"]), *facts["notes"])
        return UserError(said, say("template_refuses_all_hint"))
    return UserError("err_no_trained_token", count=count, max_length=config.max_length)


def _nothing_held_out(records: Records, held_out: np.ndarray, config: TrainConfig) -> str:
    if not len(held_out):
        return why_none(records, config.eval_share)
    return say("note_none_judged", n=len(held_out))


def model_entry(home: store.Home, run_dir: Path, config: TrainConfig) -> catalog.ModelEntry:
    """The model that the run starts from; of the task pretrain, after new_model.make."""
    if config.task == "pretrain":
        return new_model.entry_here(run_dir, config)
    if config.model_id == run_dir.name:
        raise UserError("err_own_model")
    entry = catalog.resolve(home, config.model_id)
    check_task(config, entry)
    return entry
