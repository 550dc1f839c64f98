"""Before the first step: the run's config, its records as token ids, its model. Writes data.safetensors into the run's folder.

The run's folder keeps the token ids, so that a run can be resumed after its data set is gone.
"""

import itertools
from dataclasses import dataclass, fields
from pathlib import Path

from llmdemo import store
from llmdemo.data.encode import encode_many, encode_prompt
from llmdemo.data.records import open_records, split
from llmdemo.errors import UserError
from llmdemo.models import catalog
from llmdemo.training.batches import TokenRows, load_rows, save_rows
from llmdemo.training.config import TrainConfig

SAMPLES = 2
"""Held-out prompts that the model answers at each evaluation."""


@dataclass(frozen=True)
class RunData:
    """What a run trains on and is judged by."""

    train: TokenRows
    held_out: TokenRows
    samples: list[dict]
    """{"prompt", "expected", "ids"}: shown text, the right answer, and the prompt's token ids."""
    about: dict
    """Counts and hashes for the model card."""


def read_config(run_dir: Path) -> TrainConfig:
    """The checked config of the run; keys that describe the run rather than the training are left out."""
    values = store.read_json(run_dir / "config.json")
    known = {field.name for field in fields(TrainConfig)}
    return TrainConfig.from_dict({key: value for key, value in values.items() if key in known}).resolved()


def prepare_data(run_dir: Path, home: store.Home, config: TrainConfig, tokenizer) -> RunData:
    """Reads the data set, encodes it and keeps it in the run's folder; a second call only reads it back.

    Raises UserError when no record is left, or no token of any is trained.
    """
    path, notes = run_dir / "data.safetensors", run_dir / "data.json"
    if not (path.is_file() and notes.is_file()):
        made = _encode(home, config, tokenizer)
        save_rows(path, train=made.train, held_out=made.held_out)
        store.write_json(notes, {"samples": made.samples, "about": made.about})
    parts, kept = load_rows(path), store.read_json(notes)
    return RunData(parts["train"], parts["held_out"], kept["samples"], kept["about"])


def _encode(home: store.Home, config: TrainConfig, tokenizer) -> RunData:
    records = open_records(home, config.dataset_id)
    if records.task != config.task:
        raise UserError(
            f"The data set is of the task {records.task!r}, the run of {config.task!r}.",
            f"Set task to {records.task!r}, or choose another data set.",
        )
    train, held_out = split(records, config.seed, config.eval_share, config.fold, config.folds)
    rows = {
        "train": _rows((records[int(i)] for i in train), config, tokenizer),
        "held_out": _rows((records[int(i)] for i in held_out[: config.eval_records]), config, tokenizer),
    }
    if not len(rows["train"]):
        raise UserError(
            f"None of the {len(train):,} records has a trained token within max_length {config.max_length}.",
            "Raise max_length, or look at the report of the data set.",
        )
    samples = [_sample(records[int(i)], tokenizer) for i in held_out[:SAMPLES]] if config.task == "chat" else []
    about = {
        "name": records.info.name,
        "content_hash": records.info.content_hash,
        "train_records": len(train),
        "held_out_records": len(held_out),
        "train_tokens": int(rows["train"].offsets[-1]),
    }
    return RunData(rows["train"], rows["held_out"], samples, about)


def _rows(records, config: TrainConfig, tokenizer) -> TokenRows:
    """Encoded rows with at least one trained token: one without would only cost time."""
    first = next(records, None)
    if first is None:
        return TokenRows.from_lists([])
    encoded = encode_many(itertools.chain([first], records), tokenizer, config.max_length, config.loss_on)
    return TokenRows.from_lists([(row.input_ids, row.labels) for row in encoded if row.trained])


def _sample(record: dict, tokenizer) -> dict:
    """The record up to its last answer, as a prompt, and that answer."""
    messages = record["messages"]
    last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    return {
        "prompt": messages[last - 1]["content"][:400] if last else "",
        "expected": messages[last]["content"][:400],
        "ids": encode_prompt(messages[:last], tokenizer)[-1024:],
    }


def model_entry(home: store.Home, run_dir: Path, config: TrainConfig) -> catalog.ModelEntry:
    """The model that the run starts from."""
    if config.model_id == run_dir.name:
        raise UserError("A run cannot start from its own model.", "Choose another model.")
    return catalog.resolve(home, config.model_id)
